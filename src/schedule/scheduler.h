#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"

namespace digdag::schedule {

/// A session and when its attempt is to be created (spec/scheduling.md 1).
struct ScheduleTime {
  Instant session;
  Instant run;
  friend bool operator==(const ScheduleTime&, const ScheduleTime&) = default;
};
/// Both times of a finished schedule: 9999-01-01T00:00:00Z.
ScheduleTime finished_schedule();

/// When sessions of a workflow are due: `schedule:` of its file (spec/scheduling.md 2, 3; decisions.md 4, S-10 to S-14).
/// Pure and immutable; thread-safe.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  /// The earliest session whose run time is >= now.
  virtual ScheduleTime first(Instant now) const = 0;
  /// The earliest session with session time > t. Of a list: the one that runs next when session t has been started; sessions
  /// of its entries come in the order of their run times.
  virtual ScheduleTime next(Instant t) const = 0;
  /// The latest session with session time < t, the true previous one (S-06).
  virtual ScheduleTime last(Instant t) const = 0;
  /// The earliest session time > t, in whatever order sessions run.
  virtual Instant session_after(Instant t) const { return next(t).session; }
  /// The mapping that gives this session, and with it its `skip_on_overtime` and so on; of a list the one that runs it (S-10).
  virtual const Scheduler& entry_of(Instant session) const = 0;
  /// The options of a mapping as they are written; asked of `entry_of` only.
  virtual const Value& config() const = 0;
};

/// A key that means nothing to its type of schedule: `Parameter 'x' is not used at schedule. …`. A push with one is refused
/// (spec/scheduling.md 2.3).
struct UnusedKey {
  std::string text;
  Position position;
};

/// Makes the scheduler of a `schedule:` value (a mapping, or a list of mappings). Throws Error(config) with the original's texts.
/// `unused_keys` gets the keys that mean nothing.
std::unique_ptr<Scheduler> make_scheduler(const Value& config, const TimeZone& zone, std::vector<UnusedKey>* unused_keys = nullptr);

/// The scheduler of a workflow, given its whole config; nullptr where that has no `schedule:`. Errors name the place of the key.
std::unique_ptr<Scheduler> scheduler_of(const Value& workflow_config, const TimeZone& zone, std::vector<UnusedKey>* unused_keys = nullptr);

/// Session params of a workflow with a schedule: `last_session_time`, `next_session_time` (spec/scheduling.md 6.7).
Value schedule_params(const Scheduler& scheduler, Instant session_time, const TimeZone& zone);

}  // namespace digdag::schedule
