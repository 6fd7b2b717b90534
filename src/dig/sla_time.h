#pragma once

#include <cstdint>
#include <string>

#include "base/value.h"

namespace digdag::dig {

/// When `sla:` is due: its `time` or its `duration` (spec/execution.md 18.1).
struct SlaTime {
  bool at_time_of_day = false;  ///< else `seconds` counts from the start
  std::int64_t seconds = 0;
  std::string text;  ///< as written

  /// A part outside of its clock: it counts all the same, so `25:00` is one o'clock of the next day.
  bool is_off_the_clock() const;
};

/// Throws Error(config), with the place of the key where that is known: `SLA must be specified using …`,
/// `SLA duration option needs to be …`.
SlaTime sla_time_of(const Value& sla);

}  // namespace digdag::dig
