#pragma once

#include <cstdint>

#include "base/time.h"
#include "base/value.h"

namespace digdag::engine {

/// The session monitor of a workflow: `sla:` at the top of its file (spec/execution.md 18).
struct SessionMonitor {
  bool at_time_of_day = false;  ///< else `seconds` counts from the start
  std::int64_t seconds = 0;
  bool alert = true;
  bool fail = false;
  Value config;  ///< as written
  Value tasks;   ///< what is left of the config: compiled as `^sla`

  /// Throws Error(config) as dig::sla_time_of.
  static SessionMonitor parse(const Value& sla);
  /// When it is due, in whole seconds as the database keeps it, for an attempt that starts at `start`.
  Instant due(Instant start, const TimeZone& zone) const;
};

}  // namespace digdag::engine
