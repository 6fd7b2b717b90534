#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "engine/stored_task.h"
#include "store/database.h"

namespace digdag::store {

/// What is kept of attempts beside their tasks: their monitors, and results of earlier attempts for tasks that were not made yet. By id,
/// one for each of `attempt_ids`. `killed` is left as it is.
std::map<std::int64_t, engine::StoredAttempt> stored_attempts(Transaction& transaction, const std::vector<std::int64_t>& attempt_ids);
/// Writes those results (spec/execution.md 16.6).
void insert_resuming_tasks(Transaction& transaction, std::int64_t attempt_id, const engine::ResumedTasks& resumed);

}  // namespace digdag::store
