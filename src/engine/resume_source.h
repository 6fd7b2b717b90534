#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dig/workflow.h"
#include "engine/stored_task.h"

namespace digdag::engine {

/// What a new attempt takes over from an earlier one (spec/decisions.md 3.2, execution.md 16). `source`: the tasks of the earlier
/// attempt, live or archived, ascending by id.

/// Mode `failed`: all that succeeded; of several rows of one name the newest decides. Throws Error(illegal argument) where the root
/// succeeded.
ResumedTasks resume_failed(const std::vector<StoredTask>& source);

/// Mode `from`: all that stands before the one task whose full name ends with `pattern`. Throws what dig::match_task throws, and
/// Error(illegal resume) where a task before it did not succeed.
ResumedTasks resume_from(std::string_view pattern, const std::vector<StoredTask>& source);

/// Without what a changed definition invalidates (spec/decisions.md E-26): tasks whose own config or an ancestor's `_export` is another
/// one than in `source`, and all that comes after a task that runs for that.
ResumedTasks without_changed(ResumedTasks resumed, const std::vector<StoredTask>& source, const dig::TaskTree& tree);

/// Those that the table resuming_tasks keeps for the time when tasks are generated: names with a `^` (16.6).
ResumedTasks for_generated_tasks(const ResumedTasks& resumed);

/// What Java wants in resuming_tasks.report; reading ignores it.
constexpr std::string_view resuming_report = R"({"in":[],"out":[]})";

}  // namespace digdag::engine
