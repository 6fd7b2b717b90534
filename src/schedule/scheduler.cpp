#include "schedule/scheduler.h"

#include <algorithm>
#include <array>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "schedule/session_rule.h"

namespace digdag::schedule {

namespace {

/// More than any difference between a delay on the clock and one in seconds.
constexpr std::int64_t most_clock_shift_millis = 26LL * 3600 * 1000;

/// The sessions of one mapping: the rule of its type between `start` and `end`.
class SingleScheduler : public Scheduler {
 public:
  struct Options {
    std::optional<Instant> start, end;  ///< end is exclusive
    bool wall_clock = false;            ///< the delay is a time of day (S-12)
  };
  SingleScheduler(SessionRule rule, Options options, TimeZone zone, Value config)
      : rule_(std::move(rule)), options_(options), zone_(std::move(zone)), config_(std::move(config)) {}

  ScheduleTime first(Instant now) const override {
    const std::int64_t before = now.millis - rule_.delay_seconds * 1000 - 1;
    if (!options_.wall_clock) return next({before});
    ScheduleTime time = next({before - most_clock_shift_millis});
    while (time.run < now && time != finished_schedule()) time = next(time.session);
    return time;
  }

  ScheduleTime next(Instant t) const override {
    const auto time = due(rule_.times->next(t));
    if (!time || (options_.end && time->run >= *options_.end)) return finished_schedule();
    if (!options_.start || time->run >= *options_.start) return *time;
    // The original starts over at the session time and does not look at `end` again (spec/scheduling.md 3.16).
    return due(rule_.times->next(options_.start->plus_seconds(-1))).value_or(finished_schedule());
  }

  ScheduleTime last(Instant t) const override { return due(rule_.times->previous(t)).value_or(finished_schedule()); }

  const Scheduler& entry_of(Instant) const override { return *this; }
  const Value& config() const override { return config_; }

 private:
  std::optional<ScheduleTime> due(std::optional<Instant> session) const {
    if (!session) return std::nullopt;
    if (!options_.wall_clock) return ScheduleTime{*session, session->plus_seconds(rule_.delay_seconds)};
    const LocalTime date = zone_.local(*session);
    const TimeZone without_changes;
    const Instant clock = without_changes.instant({date.year, date.month, date.day}).plus_seconds(rule_.delay_seconds);
    return ScheduleTime{*session, zone_.instant(without_changes.local(clock))};
  }

  SessionRule rule_;
  Options options_;
  TimeZone zone_;
  Value config_;
};

bool runs_before(const ScheduleTime& a, const ScheduleTime& b) { return a.run != b.run ? a.run < b.run : a.session < b.session; }

/// The sessions of several mappings, in the order in which they run. A session time that several give belongs to the one
/// that runs it first (S-10).
class UnionScheduler : public Scheduler {
 public:
  explicit UnionScheduler(std::vector<std::unique_ptr<Scheduler>> entries) : entries_(std::move(entries)) {}

  ScheduleTime first(Instant now) const override {
    return earliest([&](const Scheduler& entry) { return entry.first(now); });
  }

  ScheduleTime next(Instant t) const override {
    const auto started = run_of(t);
    if (!started) {
      return earliest([&](const Scheduler& entry) { return entry.next(t); });
    }
    const ScheduleTime before{t, *started};
    return earliest([&](const Scheduler& entry) {
      ScheduleTime time = entry.first(before.run);
      while (!runs_before(before, time)) time = entry.next(time.session);
      return time;
    });
  }

  ScheduleTime last(Instant t) const override {
    ScheduleTime latest = entries_.front()->last(t);
    for (const auto& entry : entries_) {
      const ScheduleTime time = entry->last(t);
      if (time.session > latest.session || (time.session == latest.session && time.run < latest.run)) latest = time;
    }
    return latest;
  }

  Instant session_after(Instant t) const override {
    Instant earliest_session = finished_schedule().session;
    for (const auto& entry : entries_) earliest_session = std::min(earliest_session, entry->session_after(t));
    return earliest_session;
  }

  const Scheduler& entry_of(Instant session) const override {
    const Scheduler* found = entries_.front().get();
    std::optional<Instant> run;
    for (const auto& entry : entries_) {
      const ScheduleTime time = entry->next(session.plus_millis(-1));
      if (time.session != session || (run && time.run >= *run)) continue;
      run = time.run;
      found = entry.get();
    }
    return *found;
  }
  const Value& config() const override { return entries_.front()->config(); }

 private:
  /// The next session to run, where each entry's next one is `time_of(entry)`. Those that another entry has run earlier
  /// are passed over.
  template <typename Of>
  ScheduleTime earliest(Of&& time_of) const {
    std::vector<ScheduleTime> times;
    times.reserve(entries_.size());
    for (const auto& entry : entries_) times.push_back(time_of(*entry));
    for (;;) {
      const auto best = std::min_element(times.begin(), times.end(), runs_before);
      if (*best == finished_schedule() || run_of(best->session) >= best->run) return *best;
      *best = entries_[static_cast<std::size_t>(best - times.begin())]->next(best->session);
    }
  }

  /// When session t runs; nothing where no entry has it.
  std::optional<Instant> run_of(Instant t) const {
    std::optional<Instant> run;
    for (const auto& entry : entries_) {
      const ScheduleTime time = entry->next(t.plus_millis(-1));
      if (time.session == t && (!run || time.run < *run)) run = time.run;
    }
    return run;
  }

  std::vector<std::unique_ptr<Scheduler>> entries_;
};

/// The midnight that begins a day of the form `uuuu-MM-dd`, plus days.
std::optional<Instant> midnight_of(const Config& config, std::string_view key, const TimeZone& zone, int days) {
  const auto text = config.optional_string(key);
  if (!text) return std::nullopt;
  const auto date = parse_local_time(*text);
  // A day that its month does not have would have been clipped.
  if (!date || format_date(TimeZone().instant(*date), TimeZone()) != *text) {
    throw config_error("Invalid " + std::string(key) + ": " + *text + " (not a date of the form 2022-01-31)");
  }
  return zone.instant(plus_days(*date, days));
}

SingleScheduler::Options make_options(const ScheduleType& type, const Config& config, const TimeZone& zone) {
  SingleScheduler::Options options;
  options.start = midnight_of(config, "start", zone, 0);
  options.end = midnight_of(config, "end", zone, 1);
  if (options.start && options.end && *options.start >= *options.end) {
    throw config_error("The schedule of end is earlier than start").hint("end is the last day; it may be the day of start");
  }
  options.wall_clock = type.uses("wall_clock") && config.boolean_or("wall_clock", false);
  const std::string catch_up = config.string_or("catch_up", "all");
  static constexpr std::array<std::string_view, 3> known = {"all", "latest", "none"};
  if (std::find(known.begin(), known.end(), catch_up) == known.end()) {
    throw config_error("Invalid catch_up: " + catch_up).hint("all, latest or none");
  }
  return options;
}

void find_unused_keys(const Object& config, const ScheduleType& type, std::vector<UnusedKey>& unused) {
  std::vector<std::string> used = {type.key};
  for (const std::string_view key : schedule_options()) {
    if (type.uses(key)) used.emplace_back(key);
  }
  for (const auto& member : config) {
    if (type.uses(member.key)) continue;
    std::string text = "Parameter '" + member.key + "' is not used at schedule. ";
    if (const auto similar = similar_words(member.key, used); !similar.empty()) text += "> Did you mean '[" + join(similar, ", ") + "]'?";
    unused.push_back({std::move(text), member.position});
  }
}

std::unique_ptr<Scheduler> make_single(const Value& config, const TimeZone& zone, std::vector<UnusedKey>* unused_keys) {
  Position place;
  try {
    const ScheduleType type = find_schedule_type(config);
    const auto* member = config.as_object().find_member(type.key);
    if (member != nullptr) place = member->position;
    if (unused_keys) find_unused_keys(config.as_object(), type, *unused_keys);
    const Config options(config);
    SessionRule rule = make_session_rule(type, options, zone);
    return std::make_unique<SingleScheduler>(std::move(rule), make_options(type, options, zone), zone, config);
  } catch (const Error& error) {
    if (error.position().known() || !place.known()) throw;
    throw Error(error).at(place);
  }
}

}  // namespace

ScheduleTime finished_schedule() {
  const Instant never = Instant::of_seconds(253'370'764'800);
  return {never, never};
}

std::unique_ptr<Scheduler> make_scheduler(const Value& config, const TimeZone& zone, std::vector<UnusedKey>* unused_keys) {
  if (config.is_object()) return make_single(config, zone, unused_keys);
  if (!config.is_array()) throw config_error("Parameter 'schedule' must be an object").hint("for example: schedule: {daily>: 07:00:00}");
  if (config.as_array().empty()) throw config_error("Parameter 'schedule' is a list without a schedule");
  std::vector<std::unique_ptr<Scheduler>> entries;
  for (const Value& entry : config.as_array()) {
    if (!entry.is_object()) throw config_error("Parameter 'schedule' must be an object or a list of objects");
    entries.push_back(make_single(entry, zone, unused_keys));
  }
  return std::make_unique<UnionScheduler>(std::move(entries));
}

std::unique_ptr<Scheduler> scheduler_of(const Value& workflow_config, const TimeZone& zone, std::vector<UnusedKey>* unused_keys) {
  const Object::Member* schedule = workflow_config.as_object().find_member("schedule");
  if (schedule == nullptr) return nullptr;
  try {
    return make_scheduler(schedule->value, zone, unused_keys);
  } catch (const Error& error) {
    if (error.position().known()) throw;
    throw Error(error).at(schedule->position);
  }
}

Value schedule_params(const Scheduler& scheduler, Instant session_time, const TimeZone& zone) {
  return Value::object({{"last_session_time", format_session_time(scheduler.last(session_time).session, zone)},
                        {"next_session_time", format_session_time(scheduler.session_after(session_time), zone)}});
}

}  // namespace digdag::schedule
