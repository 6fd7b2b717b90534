#include "schedule/session_rule.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::schedule {

namespace {

/// A hundred years.
constexpr std::int64_t most_delay = 100LL * 366 * 86'400;

class CronTimes : public SessionTimes {
 public:
  CronTimes(CronPattern pattern, TimeZone zone, OverlapSessions overlap)
      : pattern_(std::move(pattern)), zone_(std::move(zone)), overlap_(overlap) {}
  std::optional<Instant> next(Instant t) const override { return pattern_.next(t, zone_, overlap_); }
  std::optional<Instant> previous(Instant t) const override { return pattern_.previous(t, zone_, overlap_); }

 private:
  CronPattern pattern_;
  TimeZone zone_;
  OverlapSessions overlap_;
};

/// Multiples of N seconds since the epoch, in whatever zone.
class IntervalTimes : public SessionTimes {
 public:
  explicit IntervalTimes(std::int64_t seconds) : seconds_(seconds) {}
  std::optional<Instant> next(Instant t) const override { return multiple_at_or_before(t).plus_seconds(seconds_); }
  std::optional<Instant> previous(Instant t) const override { return multiple_at_or_before(t.plus_millis(-1)); }

 private:
  Instant multiple_at_or_before(Instant t) const {
    const std::int64_t rest = t.seconds() % seconds_;
    return Instant::of_seconds(t.seconds() - (rest < 0 ? rest + seconds_ : rest));
  }
  std::int64_t seconds_;
};

/// `text` split at its first comma.
std::optional<std::pair<std::string_view, std::string_view>> day_and_time(std::string_view text) {
  const auto comma = text.find(',');
  if (comma == std::string_view::npos) return std::nullopt;
  return std::pair{text.substr(0, comma), text.substr(comma + 1)};
}

/// Makes the rules of all types: what they share stands in the members.
class RuleMaker {
 public:
  RuleMaker(const ScheduleType& type, const Config& config, const TimeZone& zone) : type_(type), config_(config), zone_(zone) {}

  SessionRule make() const {
    if (type_.name == "hourly") return hourly();
    if (type_.name == "daily") return daily();
    if (type_.name == "weekly") return weekly();
    if (type_.name == "monthly") return monthly();
    if (type_.name == "minutes_interval") return minutes_interval();
    if (type_.name == "seconds_interval") return seconds_interval();
    return cron(command_text(), delay_option());
  }

 private:
  SessionRule hourly() const {
    const std::string at = at_text();
    const auto delay = parse_clock(at, 2);
    if (!delay) fail("hourly>: scheduler requires mm:ss format: " + at, "for half past every hour write hourly>: 30:00");
    return cron("0 * * * *", *delay);
  }

  SessionRule daily() const { return cron("0 0 * * *", clock(at_text())); }

  SessionRule weekly() const {
    const std::string description = at_text();
    const std::string hint = "for Mondays at 9 write weekly>: Mon,09:00:00";
    const auto parts = day_and_time(description);
    if (!parts) fail("weekly>: scheduler requires day,hh:mm:ss format: " + description, hint);
    const std::string day(trim(parts->first));
    if (const auto number = parse_java_int(day); number && *number < 0) fail("weekly>: invalid day: " + day, hint);
    const std::int64_t delay = clock(std::string(trim(parts->second)));
    const std::string pattern = "0 0 * * " + day;
    try {
      CronPattern::parse(pattern);
    } catch (const Error&) {
      fail("weekly>: scheduler requires day,hh:mm:ss format: " + description, "a day is 0 (Sunday) to 7, or sun, mon, … sat");
    }
    return cron(pattern, delay);
  }

  SessionRule monthly() const {
    const std::string description = at_text();
    const auto parts = day_and_time(description);
    const auto day = parts ? parse_java_int(parts->first) : std::nullopt;
    if (!day)
      fail("monthly>: scheduler requires day,hh:mm:ss format: " + description,
           "for the first of each month at 9 write monthly>: 1,09:00:00");
    const std::int64_t delay = clock(std::string(trim(parts->second)));
    return cron("0 0 " + std::to_string(*day) + " * *", delay);
  }

  SessionRule minutes_interval() const {
    const std::int64_t minutes = convert_to_int(type_.command, type_.key);
    return cron("*/" + std::to_string(minutes) + " * * * *", delay_option());
  }

  SessionRule seconds_interval() const {
    const std::int64_t seconds = convert_to_int(type_.command, type_.key);
    if (seconds < 1) fail("seconds_interval>: scheduler requires an interval of 1 or more seconds: " + std::to_string(seconds), "");
    return {std::make_unique<IntervalTimes>(seconds), delay_option()};
  }

  SessionRule cron(const std::string& pattern, std::int64_t delay) const {
    return {std::make_unique<CronTimes>(CronPattern::parse(pattern), zone_, overlap()), delay};
  }

  OverlapSessions overlap() const {
    const std::string name = config_.string_or("overlap", "second");
    if (name == "second") return OverlapSessions::second;
    if (name == "first") return OverlapSessions::first;
    if (name == "both") return OverlapSessions::both;
    throw config_error("Invalid overlap: " + name).hint("second, first or both");
  }

  std::int64_t clock(const std::string& text) const {
    const auto seconds = parse_clock(text, 3);
    if (!seconds) fail(type_.name + "> scheduler requires hh:mm:ss format: " + text, "for 7 o'clock write 07:00:00");
    return *seconds;
  }

  std::int64_t delay_option() const {
    const std::int64_t delay = config_.long_integer_or("delay", 0);
    if (delay < -most_delay || delay > most_delay) fail("Invalid delay: " + std::to_string(delay), "a delay is given in seconds");
    return delay;
  }

  std::string command_text() const { return convert_to_string(type_.command, type_.key); }
  std::string at_text() const { return type_.command.is_null() ? config_.string("at") : command_text(); }

  [[noreturn]] static void fail(std::string message, std::string hint) {
    if (hint.empty()) throw config_error(std::move(message));
    throw config_error(std::move(message)).hint(std::move(hint));
  }

  const ScheduleType& type_;
  const Config& config_;
  const TimeZone& zone_;
};

constexpr std::array<std::string_view, 7> types = {"hourly", "daily", "weekly", "monthly", "minutes_interval", "cron", "seconds_interval"};

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

}  // namespace

bool ScheduleType::uses(std::string_view option) const {
  if (is_one_of(option, {"_type", "_command", "skip_on_overtime", "skip_delayed_by", "start", "end", "catch_up"}) || option == key)
    return true;
  const bool by_clock = is_one_of(name, {"daily", "weekly", "monthly"});
  if (option == "at") return by_clock || name == "hourly";
  if (option == "wall_clock") return by_clock;
  if (option == "delay") return is_one_of(name, {"cron", "minutes_interval", "seconds_interval"});
  if (option == "overlap") return name != "seconds_interval";
  return false;
}

const std::vector<std::string_view>& schedule_options() {
  static const std::vector<std::string_view> options = {"_type",    "_command", "skip_on_overtime", "skip_delayed_by", "start", "end", "at",
                                                        "catch_up", "delay",    "overlap",          "wall_clock"};
  return options;
}

ScheduleType find_schedule_type(const Value& config) {
  ScheduleType type;
  const Config options(config);
  if (options.has("_type")) {
    type.name = options.string("_type");
    type.key = "_command";
  } else {
    for (const auto& member : config.as_object()) {
      if (!member.key.ends_with('>')) continue;
      type.key = member.key;
      type.name = member.key.substr(0, member.key.size() - 1);
      break;
    }
    if (type.key.empty()) {
      throw config_error("Schedule config requires 'type>: at' parameter: " + to_json(config)).hint("for example: daily>: 07:00:00");
    }
  }
  if (std::find(types.begin(), types.end(), type.name) == types.end()) {
    const auto similar = similar_words(type.name, {types.begin(), types.end()});
    const std::string known = "known ones: " + join({types.begin(), types.end()}, ">, ") + ">";
    throw config_error("Unknown scheduler type: " + type.name)
        .at(options.position_of(options.has("_type") ? "_type" : type.key))
        .hint(similar.empty() ? known : "did you mean '" + similar.front() + ">'?");
  }
  const Value* command = options.find(type.key);
  if (command != nullptr) type.command = *command;
  // `at` stands in for an empty command, where the type knows it.
  if (type.command.is_null() && !(type.uses("at") && options.has("at"))) type.command = options.any(type.key);
  return type;
}

SessionRule make_session_rule(const ScheduleType& type, const Config& config, const TimeZone& zone) {
  return RuleMaker(type, config, zone).make();
}

}  // namespace digdag::schedule
