#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/stored_task.h"

namespace digdag::engine {

/// The text of task_archives.tasks (spec/execution.md 15.4): the original's keys in its order, times in whole seconds. A `native`
/// with `origins` follows at the end of its element: what is data stays data when the attempt is resumed (L-21).
/// `tasks`: all of an attempt, ascending by id.
std::string to_archive(std::int64_t attempt_id, const std::vector<StoredTask>& tasks);

/// Reads it back; what older releases did not write is empty, unknown keys are ignored. Throws Error.
std::vector<StoredTask> from_archive(std::string_view json);

}  // namespace digdag::engine
