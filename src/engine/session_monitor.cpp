#include "engine/session_monitor.h"

#include <string_view>

#include "base/config.h"
#include "base/error.h"
#include "dig/sla_time.h"

namespace digdag::engine {

namespace {
constexpr std::int64_t seconds_per_day = 86400;

bool flag_of(const Config& sla, std::string_view key, bool fallback) {
  try {
    return sla.boolean_or(key, fallback);
  } catch (const Error&) {
    return fallback;  // as the original: another kind of value is as good as none
  }
}
}  // namespace

SessionMonitor SessionMonitor::parse(const Value& value) {
  const Config sla(value);
  const dig::SlaTime time = dig::sla_time_of(value);
  SessionMonitor monitor;
  monitor.at_time_of_day = time.at_time_of_day;
  monitor.seconds = time.seconds;
  monitor.alert = flag_of(sla, "alert", true);
  monitor.fail = flag_of(sla, "fail", false);
  monitor.config = monitor.tasks = value;
  for (const char* own : {"time", "duration", "alert", "fail"}) monitor.tasks.mutable_object().erase(own);
  return monitor;
}

Instant SessionMonitor::due(Instant start, const TimeZone& zone) const {
  if (!at_time_of_day) return Instant::of_seconds(start.plus_seconds(seconds).seconds());
  LocalTime day = zone.local(start);
  day.hour = day.minute = day.second = 0;
  std::int64_t days = seconds / seconds_per_day;
  std::int64_t rest = seconds % seconds_per_day;
  if (rest < 0) {
    rest += seconds_per_day;
    --days;
  }
  day = plus_days(day, days);
  day.hour = static_cast<int>(rest / 3600);
  day.minute = static_cast<int>(rest / 60 % 60);
  day.second = static_cast<int>(rest % 60);
  const Instant due = zone.instant(day);
  return due < start ? due.plus_seconds(seconds_per_day) : due;
}

}  // namespace digdag::engine
