#pragma once

#include <cstdint>
#include <vector>

#include "engine/stored_task.h"
#include "store/database.h"

namespace digdag::store {

/// What is kept of an attempt beside its tasks: its monitor and the results of an earlier attempt for tasks to be generated. `killed` is
/// left as it is.
engine::StoredAttempt stored_attempt(Transaction& transaction, std::int64_t attempt_id);
/// Writes those results (spec/execution.md 16.6).
void insert_resuming_tasks(Transaction& transaction, std::int64_t attempt_id, const engine::ResumedTasks& resumed);

}  // namespace digdag::store
