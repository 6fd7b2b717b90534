#include "schedule/requested_time.h"

#include <array>
#include <string>
#include <utility>

#include "base/error.h"
#include "schedule/scheduler.h"

namespace digdag::schedule {

namespace {

constexpr std::array<std::pair<std::string_view, Truncation>, 6> modes{{{"second", Truncation::second},
                                                                        {"minute", Truncation::minute},
                                                                        {"hour", Truncation::hour},
                                                                        {"day", Truncation::day},
                                                                        {"schedule", Truncation::schedule},
                                                                        {"next_schedule", Truncation::next_schedule}}};

}  // namespace

std::optional<RequestedTime> RequestedTime::parse(std::string_view text) {
  if (const auto instant = parse_instant(text)) return of(*instant);
  const auto as_utc = parse_instant(std::string(text) + "Z");
  if (!as_utc) return std::nullopt;
  return RequestedTime(TimeZone().local(*as_utc), static_cast<int>(as_utc->millis - as_utc->seconds() * 1000));
}

Instant RequestedTime::in(const TimeZone& zone) const {
  if (const auto* instant = std::get_if<Instant>(&time_)) return *instant;
  return zone.instant(std::get<LocalTime>(time_)).plus_millis(millis_);
}

std::optional<Truncation> parse_truncation(std::string_view mode) {
  for (const auto& [name, truncation] : modes) {
    if (name == mode) return truncation;
  }
  return std::nullopt;
}

Instant truncated_session_time(Instant time, Truncation mode, const TimeZone& zone, const Scheduler* scheduler) {
  const Instant second = Instant::of_seconds(time.seconds());
  if (mode == Truncation::none || mode == Truncation::second) return second;
  if (mode == Truncation::schedule || mode == Truncation::next_schedule) {
    if (scheduler == nullptr) {
      const std::string name = mode == Truncation::schedule ? "schedule" : "next_schedule";
      throw config_error("session_time_truncate=" + name + " is set but schedule is not set to this workflow");
    }
    return mode == Truncation::schedule ? scheduler->first(time).session : scheduler->session_after(time);
  }
  const LocalTime local = zone.local(second);
  if (mode == Truncation::day) return zone.instant({local.year, local.month, local.day});
  // Back by what is shown after the hour, not to a local time, which may be there twice.
  return second.plus_seconds(-local.second - (mode == Truncation::hour ? 60 * local.minute : 0));
}

}  // namespace digdag::schedule
