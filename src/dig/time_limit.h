#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/value.h"

namespace digdag::dig {

/// `_timeout` of a task or group: integer seconds, a duration (`30m`), or `{limit: 30m, grace: 60s}` (spec/decisions.md E-33).
/// Seconds may be a text, which is what templates give.
struct TimeLimit {
  std::int64_t seconds = 0;
  std::optional<std::int64_t> grace_seconds;

  /// Throws Error(config) for anything else, also for other keys and for a limit that is not positive.
  static TimeLimit parse(const Value& timeout);
  /// `Task timed out after 30m (task timeout)`.
  std::string message() const;
};

/// `_kill_grace`, and `grace` of `_timeout`: a duration or integer seconds, or `never` (-1). Throws Error(config).
std::int64_t parse_kill_grace(const Value& grace);

/// What is wrong with the value of `_timeout`, `_kill_grace` or `_error_on_cancel`, at that key; nothing for another key.
/// A template that was not evaluated is wrong, too.
std::optional<Error> fault_of_time_limit(const Object::Member& member);

}  // namespace digdag::dig
