#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <vector>

#include "engine/stored_task.h"
#include "store/database.h"

namespace digdag::store {

/// The tasks of attempts that are not done, by attempt, ascending by id, with what only our engine reads (StoredTask::native, barriers).
std::map<std::int64_t, std::vector<engine::StoredTask>> live_tasks(Transaction& transaction, const std::vector<std::int64_t>& attempt_ids);

/// The tasks of an attempt, ascending by id: live ones, else those of its archive; none where it has neither (a delayed attempt). As
/// the original's tables tell: without StoredTask::native, every upstream by its name.
std::vector<engine::StoredTask> tasks_of_attempt(Transaction& transaction, std::int64_t attempt_id);

/// Whether an attempt that is not done has no task any more that is not done and whose full name begins so; false while it has no tasks.
bool has_ended(Transaction& transaction, std::int64_t attempt_id, std::string_view name_prefix);

}  // namespace digdag::store
