#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "base/time.h"

namespace digdag::schedule {

/// A time in a request: an instant, or a local time in the zone of the workflow that it is about (spec/rest-api.md 1.5).
class RequestedTime {
 public:
  /// `2031-01-10T00:00:00Z`, `2031-01-10T12:00`; nothing for what is no such time (a bare date is none).
  static std::optional<RequestedTime> parse(std::string_view text);
  static RequestedTime of(Instant instant) { return RequestedTime(instant, 0); }
  /// Local times by java.time's rules: a gap moves forward, an overlap is its first time.
  Instant in(const TimeZone& zone) const;

 private:
  RequestedTime(std::variant<Instant, LocalTime> time, int millis) : time_(time), millis_(millis) {}
  std::variant<Instant, LocalTime> time_;
  int millis_;  ///< after the second of a local time
};

/// `mode` of truncated_session_time (spec/scheduling.md 11, decisions.md R-16).
enum class Truncation : std::uint8_t { none, second, minute, hour, day, schedule, next_schedule };
std::optional<Truncation> parse_truncation(std::string_view mode);

class Scheduler;
/// The session time that a time stands for. `scheduler`: of the workflow, nullptr without a schedule: then the modes that need one
/// throw Error(config) `session_time_truncate=schedule is set but …`.
Instant truncated_session_time(Instant time, Truncation mode, const TimeZone& zone, const Scheduler* scheduler);

}  // namespace digdag::schedule
