#include "dig/sla_time.h"

#include <optional>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"

namespace digdag::dig {

namespace {

/// `HH:MM` or `HH:MM:SS`; numbers of any size count (a lenient calendar).
std::optional<std::int64_t> seconds_of(std::string_view text) {
  if (const auto minutes = parse_clock(text, 2)) return *minutes * 60;
  return parse_clock(text, 3);
}

}  // namespace

bool SlaTime::is_off_the_clock() const {
  const std::vector<std::string> fields = split(text, ':');
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const auto value = parse_java_int(fields[i]);
    if (!value || *value < 0) return true;
    if (*value > 59 && i > 0) return true;
    if (*value > 23 && i == 0 && at_time_of_day) return true;
  }
  return false;
}

SlaTime sla_time_of(const Value& value) {
  const Config sla(value);
  const auto given = [&](std::string_view key) { return sla.has(key) && !value.find(key)->is_null(); };
  if (given("time") == given("duration"))
    throw config_error("SLA must be specified using either the 'time' or 'duration' option").hint("for an hour write duration: 01:00");
  const std::string option = given("time") ? "time" : "duration";
  SlaTime time{.at_time_of_day = option == "time", .text = sla.string(option)};
  const auto seconds = seconds_of(time.text);
  if (!seconds)
    throw config_error("SLA " + option + " option needs to be HH:MM or HH:MM:SS format: " + time.text)
        .at(sla.position_of(option))
        .hint(time.at_time_of_day ? "for 7 o'clock write 07:00" : "for an hour write 01:00");
  time.seconds = *seconds;
  return time;
}

}  // namespace digdag::dig
