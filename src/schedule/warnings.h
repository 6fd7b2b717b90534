#pragma once

#include <string>
#include <vector>

#include "base/value.h"

namespace digdag::schedule {

/// Something in a schedule that is allowed and probably not meant.
struct ScheduleWarning {
  std::string id;  ///< `W-cron-and`, …
  std::string message;
  Position position;  ///< of the key, where it is known
};

/// What `check` says about a `schedule:` value, a mapping or a list (spec/decisions.md S-01, S-09, S-14, S-15):
///
/// - `W-cron-and`: both day fields are given, both must match
/// - `W-cron-step`: a step on a single value, `5/10`
/// - `W-cron-0-7`: a range of weekdays that is Sunday alone
/// - `W-cron-range`: `L-2`, a dash or slash with one side empty
/// - `W-schedule-clock`: a part of a time, or a day, outside of its range
/// - `W-schedule-interval`: minutes that do not divide an hour; less than 10 seconds
/// - `W-schedule-skip`: `skip_on_overtime`, `skip_delayed_by` of a wrong type
///
/// Says nothing about what is an error.
std::vector<ScheduleWarning> schedule_warnings(const Value& config);

}  // namespace digdag::schedule
