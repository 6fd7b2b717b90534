#pragma once

#include <cstdint>

#include "store/database.h"

namespace digdag::store {

/// Asks whoever owns the attempt to kill it: an event that the owner applies and deletes in one commit (design "Whoever is not the
/// owner never changes a task row").
void insert_kill(Transaction& transaction, std::int64_t attempt_id);

}  // namespace digdag::store
