#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "base/time.h"
#include "base/value.h"
#include "schedule/cron.h"

namespace digdag::schedule {

/// The session times of one schedule type, without start, end and delay (spec/scheduling.md 2.6).
class SessionTimes {
 public:
  virtual ~SessionTimes() = default;
  /// The first one after t.
  virtual std::optional<Instant> next(Instant t) const = 0;
  /// The last one before t.
  virtual std::optional<Instant> previous(Instant t) const = 0;
};

/// What a schedule type makes of its value: when sessions are, and how long after them they run.
struct SessionRule {
  std::unique_ptr<const SessionTimes> times;
  std::int64_t delay_seconds = 0;  ///< may be negative
};

/// The parts of `schedule: {type>: command, …}` that say when.
struct ScheduleType {
  std::string name;                       ///< without `>`
  std::string key;                        ///< the key that holds the command: `daily>`, or `_command` with `_type`
  Value command;                          ///< may be null: hourly, daily, weekly, monthly then read `at`
  bool uses(std::string_view key) const;  ///< whether a key means something to this type
};

/// The keys that mean something to some type, besides the one that names it.
const std::vector<std::string_view>& schedule_options();

/// Finds the type of a mapping. Throws Error(config).
ScheduleType find_schedule_type(const Value& config);
/// Throws Error(config) with the original's texts.
SessionRule make_session_rule(const ScheduleType& type, const Config& config, const TimeZone& zone);

}  // namespace digdag::schedule
