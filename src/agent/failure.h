#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/value.h"

namespace digdag::agent {

/// The line(s) that the log shows for a failed task (spec/cli.md 6.2 item 7), by the kind of its error.
std::string failure_message(const Error& error, std::string_view task_name);

/// The error object of a failure (spec/execution.md 10.5), cut at 64 KiB (E-66).
Value error_object(const Error& error);

/// A task's name as people see it: of a very long one, generated below generated tasks, its beginning and its end.
std::string shown_task_name(std::string_view full_name);

/// The same error with every text of its chain passed through `change` (secrets replaced).
Error with_texts(const Error& error, const std::function<std::string(std::string_view)>& change);

/// The exception that is being handled, as an Error: whatever it is, a task ends with it.
Error current_error();

}  // namespace digdag::agent
