#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "executor/session_starter.h"
#include "schedule/requested_time.h"
#include "store/database.h"
#include "store/schedules.h"
#include "store/sessions.h"

namespace digdag::schedule {

/// Why a request changed nothing; `message` is the answer's.
struct ScheduleRefused {
  enum class Why : std::uint8_t { not_found, conflict, invalid } why;  ///< 404, 409, 400
  std::string message;
};
using ScheduleAnswer = std::variant<store::Schedule, ScheduleRefused>;

/// Where a schedule is to go on: at a time (spec/scheduling.md 9.1), or so many sessions after a time (9.2).
struct SkipTarget {
  RequestedTime time;
  std::optional<std::int64_t> count;  ///< set: `count` sessions after the first one of `time`; 1,000,000 at most
  std::optional<Instant> run_time;    ///< instead of the session's own
};

struct BackfillRequest {
  Instant from;
  std::string attempt_name;
  std::optional<std::int64_t> count;
  bool dry_run = false;
  std::int64_t parallel = 1;  ///< so many sessions may run at once (S-23)

  static constexpr std::int64_t most = 100'000;  ///< sessions
};
struct Backfill {
  store::Schedule schedule;
  std::vector<store::SessionAttempt> attempts;  ///< by session time; of a dry run with id 0
};
using BackfillAnswer = std::variant<Backfill, ScheduleRefused>;

/// The schedules that people ask about, and what they ask of one: skip, disable, enable, backfill (spec/scheduling.md 8 to 10). Each is one
/// transaction. Throws Error(config) where a schedule's workflow is wrong. Thread-safe.
class ScheduleControl {
 public:
  struct Options {
    std::function<Instant()> clock;  ///< the database's time (E-50)
    std::function<void()> changed;   ///< called when a schedule may be due: wakes the ScheduleLoop
  };
  ScheduleControl(Options options, store::Database& database, executor::SessionStarter& starter);

  /// `dry_run`: the row as it would be.
  ScheduleAnswer skip(std::int64_t site_id, std::int64_t id, const SkipTarget& target, bool dry_run);
  ScheduleAnswer disable(std::int64_t site_id, std::int64_t id);
  /// `skip_to`: goes on there (10.2), else every session missed meanwhile is started.
  ScheduleAnswer enable(std::int64_t site_id, std::int64_t id, std::optional<RequestedTime> skip_to);
  BackfillAnswer backfill(std::int64_t site_id, std::int64_t id, const BackfillRequest& request);

 private:
  ScheduleAnswer change(std::int64_t site_id, std::int64_t id, const std::function<void(store::Transaction&, store::Schedule&)>& work);

  Options options_;
  store::Database& database_;
  executor::SessionStarter& starter_;
};

}  // namespace digdag::schedule
