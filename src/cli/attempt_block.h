#pragma once

#include <string>

#include "base/value.h"
#include "cli/arguments.h"
#include "cli/times.h"

namespace digdag::cli {

/// What --status of sessions and attempts knows.
Option status_option();
/// The status that --status wants; empty where all are wanted. `failed` is a word for error. UsageError for an unknown one.
std::string status_wanted(const Arguments& arguments);

/// `running`, `success`, `error` or `killed`, also of a server that does not send it.
std::string status_of_attempt(const Value& attempt);

/// `session id:` … `params:` of an attempt, a line each.
std::string attempt_lines(const Value& attempt, TimeStyle times);

/// Upstream's block of `start` and `retry` after its first line, and the hints on standard error.
void print_started(const Value& attempt, TimeStyle times);

}  // namespace digdag::cli
