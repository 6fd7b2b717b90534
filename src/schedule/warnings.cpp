#include "schedule/warnings.h"

#include <algorithm>
#include <optional>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "schedule/cron.h"
#include "schedule/cron_field.h"
#include "schedule/session_rule.h"

namespace digdag::schedule {

namespace {

/// Collects the warnings of one mapping.
class Inspection {
 public:
  Inspection(const Value& config, std::vector<ScheduleWarning>& found)
      : config_(config), type_(find_schedule_type(config)), found_(found) {}

  void run() {
    const std::string text = type_.command.is_null() ? Config(config_).string("at") : convert_to_string(type_.command, type_.key);
    if (type_.name == "cron") {
      inspect_pattern(text);
    } else if (type_.name == "minutes_interval") {
      inspect_minutes(convert_to_int(type_.command, type_.key));
    } else if (type_.name == "seconds_interval") {
      inspect_seconds(convert_to_int(type_.command, type_.key));
    } else if (type_.name == "hourly" || type_.name == "daily") {
      inspect_clock(text);
    } else {
      const auto comma = text.find(',');
      if (comma == std::string::npos) return;
      inspect_day(text.substr(0, comma));
      inspect_clock(trim(std::string_view(text).substr(comma + 1)));
    }
    inspect_skips();
  }

 private:
  void warn(std::string_view key, std::string id, std::string message) {
    const auto* member = config_.as_object().find_member(key);
    found_.push_back({std::move(id), std::move(message), member != nullptr ? member->position : Position{}});
  }
  void warn(std::string id, std::string message) { warn(type_.key, std::move(id), std::move(message)); }

  void inspect_pattern(std::string_view pattern) {
    CronPattern::parse(pattern);  // a wrong one is an error, not a warning
    for (const std::string_view alternative : tokens(pattern, "|")) {
      const auto fields = tokens(alternative, " \t");
      if (fields[2] != "*" && fields[4] != "*") {
        warn("W-cron-and", "cron pattern \"" + std::string(alternative) +
                               "\": the day of month and the day of week must both match; for either write \"" + without(fields, 4) + "|" +
                               without(fields, 2) + "\"");
      }
      for (std::size_t i = 0; i < fields.size(); ++i) {
        for (const std::string_view element : tokens(fields[i], ",")) inspect_element(cron_fields()[i], element);
      }
      for (const std::string_view element : tokens(fields[4], ",")) inspect_weekdays(element);
    }
  }

  static std::string without(const std::vector<std::string_view>& fields, std::size_t starred) {
    std::vector<std::string> words(fields.begin(), fields.end());
    words[starred] = "*";
    return join(words, " ");
  }

  void inspect_element(const CronField& field, std::string_view element) {
    const std::string shown = '"' + std::string(element) + '"';
    const auto slash = element.find('/');
    const std::string_view range = element.substr(0, slash);
    if (slash != std::string_view::npos && (range.empty() || slash + 1 == element.size())) {
      warn("W-cron-range", shown + ": one side of the slash is empty; the slash is ignored");
    } else if (slash != std::string_view::npos && range != "*" && range.find('-') == std::string_view::npos) {
      warn("W-cron-step", shown + " is the single value " + std::string(range) + "; for steps from there on write " + std::string(range) +
                              "-" + std::to_string(field.most) + std::string(element.substr(slash)));
    }
    if (range.starts_with('-') || range.ends_with('-')) {
      warn("W-cron-range", shown + ": one side of the dash is empty; it is the single value " + std::string(tokens(range, "-").front()));
    } else if (field.has_last_day && lower(range).starts_with("l-")) {
      warn("W-cron-range", shown + " does not count back from the last day; it is the days from 1 to " + std::string(range.substr(2)));
    }
  }

  /// `0-7`, `7-0`, `sun-7`: both ends are Sunday.
  void inspect_weekdays(std::string_view element) {
    const auto ends = tokens(element.substr(0, element.find('/')), "-");
    const auto is_sunday = [](std::string_view day) { return day == "0" || day == "7" || lower(day) == "sun"; };
    if (ends.size() == 2 && is_sunday(ends[0]) && is_sunday(ends[1])) {
      warn("W-cron-0-7", '"' + std::string(element) + "\" is Sunday alone; for every day write *");
    }
  }

  void inspect_minutes(std::int64_t minutes) {
    if (minutes > 59) {
      warn("W-schedule-interval", type_.key + ": " + std::to_string(minutes) +
                                      " runs once an hour, at minute 0; for longer intervals use cron> or seconds_interval>");
    } else if (minutes > 0 && 60 % minutes != 0) {
      warn("W-schedule-interval",
           type_.key + ": " + std::to_string(minutes) + " starts anew at minute 0 of every hour; the last interval of an hour is shorter");
    }
  }

  void inspect_seconds(std::int64_t seconds) {
    if (seconds < 10)
      warn("W-schedule-interval", type_.key + ": " + std::to_string(seconds) + " starts a session more often than every 10 seconds");
  }

  void inspect_day(std::string_view day) {
    if (type_.name == "monthly" && day.starts_with('-')) {
      warn("W-schedule-clock", type_.key + ": day " + std::string(day) + " is day " + std::string(day.substr(1)) +
                                   "; the last day of a month is cron> \"0 0 L * *\"");
    }
  }

  /// `MM:SS` or `HH:MM:SS`: whether each part is in its range.
  void inspect_clock(std::string_view text) {
    const std::size_t parts = type_.name == "hourly" ? 2 : 3;
    const auto seconds = parse_clock(text, parts);
    if (!seconds) return;
    const auto fields = split(text, ':');
    for (std::size_t i = 0; i < parts; ++i) {
      const std::int32_t value = parse_java_int(fields[i]).value();
      if (value >= 0 && value <= (parts == 3 && i == 0 ? 23 : 59)) continue;
      const std::string size = format_duration(std::abs(*seconds));
      return warn("W-schedule-clock", type_.key + ": in " + std::string(text) + ", " + fields[i] +
                                          " is outside of its range; sessions run " + size + (*seconds < 0 ? " before" : " after") +
                                          " their session time");
    }
  }

  void inspect_skips() {
    if (const Value* value = config_.find("skip_on_overtime"); value != nullptr && !value->is_null()) {
      try {
        convert_to_boolean(*value, "skip_on_overtime");
      } catch (const Error& error) {
        warn("skip_on_overtime", "W-schedule-skip", error.message() + "; a server would defer every session by an hour");
      }
    }
    if (const Value* value = config_.find("skip_delayed_by"); value != nullptr && !value->is_null()) {
      if (!value->is_string() || !parse_duration(value->as_string())) {
        warn("skip_delayed_by", "W-schedule-skip",
             "skip_delayed_by is no duration such as 1h 30m; a server would defer every session by an hour");
      }
    }
  }

  const Value& config_;
  ScheduleType type_;
  std::vector<ScheduleWarning>& found_;
};

}  // namespace

std::vector<ScheduleWarning> schedule_warnings(const Value& config) {
  std::vector<ScheduleWarning> found;
  const auto inspect = [&](const Value& mapping) {
    if (!mapping.is_object()) return;
    try {
      Inspection(mapping, found).run();
    } catch (const Error&) {
      // Making the scheduler gives this error.
    }
  };
  if (config.is_array()) {
    std::for_each(config.as_array().begin(), config.as_array().end(), inspect);
  } else {
    inspect(config);
  }
  return found;
}

}  // namespace digdag::schedule
