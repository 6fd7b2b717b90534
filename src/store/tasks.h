#pragma once

#include <cstdint>
#include <vector>

#include "engine/stored_task.h"
#include "store/database.h"

namespace digdag::store {

/// The tasks of an attempt that is not done, ascending by id, with what only our engine reads (StoredTask::native, barriers).
std::vector<engine::StoredTask> live_tasks(Transaction& transaction, std::int64_t attempt_id);

/// The tasks of an attempt, ascending by id: live ones, else those of its archive; none where it has neither (a delayed attempt). As
/// the original's tables tell: without StoredTask::native, every upstream by its name.
std::vector<engine::StoredTask> tasks_of_attempt(Transaction& transaction, std::int64_t attempt_id);

}  // namespace digdag::store
