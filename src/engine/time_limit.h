#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"
#include "base/value.h"

namespace digdag::engine {

/// `_timeout` of a task or group: integer seconds, a duration (`30m`), or `{limit: 30m, grace: 60s}` (spec/decisions.md E-33).
struct TimeLimit {
  std::int64_t seconds = 0;
  std::optional<std::int64_t> grace_seconds;

  /// Throws Error(config) for anything else, also for a limit that is not positive.
  static TimeLimit parse(const Value& timeout);
  /// `Task timed out after 30m (task timeout)`.
  std::string message() const;
};

/// `_kill_grace`: a duration or integer seconds, or `never` (-1). Throws Error(config).
std::int64_t parse_kill_grace(const Value& grace);

/// The session monitor of a workflow: `sla:` at the top of its file (spec/execution.md 18).
struct SessionMonitor {
  bool at_time_of_day = false;  ///< else `seconds` counts from the start
  std::int64_t seconds = 0;
  bool alert = true;
  bool fail = false;
  Value tasks;  ///< what is left of the config: compiled as `^sla`

  /// Throws Error(config): `SLA must be specified using …`, `SLA duration option needs to be …`.
  static SessionMonitor parse(const Value& sla);
  /// When it is due for an attempt that starts at `start`.
  Instant due(Instant start, const TimeZone& zone) const;
};

}  // namespace digdag::engine
