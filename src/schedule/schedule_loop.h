#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"
#include "executor/session_starter.h"
#include "store/database.h"
#include "store/schedules.h"

namespace digdag::schedule {

/// Starts the sessions that are due, the delayed attempts of backfills whose turn has come (spec/scheduling.md 5 to 8), and what is
/// triggered by the success of an attempt (decisions.md S-40).
///
/// A session is started in the commit that moves its schedule on, so exactly once, whatever crashes, and by however many servers on
/// one database. Sessions are started in the order of their run times over all schedules (S-19). One that cannot be started keeps no
/// other from it. Sleeps until something is due.
class ScheduleLoop {
 public:
  struct Options {
    std::function<Instant()> clock;          ///< the database's time (E-50)
    store::SiteSelection sites;              ///< scheduler.account_routing.*
    std::int64_t max_starts_per_second = 0;  ///< schedule.max_starts_per_second; 0: no limit
    std::int64_t attempt_limit = 100;        ///< executor.attempt_max_run, as the Starter has it; 0: none

    /// Reads the keys above. Throws Error(config).
    static Options of(const SystemConfig& system, std::function<Instant()> clock);
  };
  /// schedule.enabled
  static bool enabled(const SystemConfig& system) { return system.boolean_or("schedule.enabled", true); }

  ScheduleLoop(Options options, store::Database& database, executor::SessionStarter& starter, Log& log);
  /// Stops.
  ~ScheduleLoop();

  // ---- With a thread of its own ----

  /// May be called again after `stop`.
  void start();
  /// Waits for the round under way.
  void stop();
  /// A schedule has changed: a push, skip, enable, backfill. From any thread, never blocks.
  void wake();
  /// An attempt of the site has ended, its end is committed: what it triggers is to be started, and what waits for the session or for
  /// the attempt limit may go on (E-63).
  /// From any thread, never blocks.
  void attempt_ended(std::int64_t site_id);

  // ---- The heart, for the thread above or for a test ----

  struct Round {
    std::int64_t started = 0, skipped = 0, delayed_started = 0, triggered_started = 0;
    std::optional<Instant> next;  ///< when something is due next; nothing: not before something changes
  };
  /// Does what is due at `now`; where that is very much, a part of it, and `next` is not after `now`. Throws
  /// DatabaseError(unavailable): nothing is lost, it is to be called again.
  Round run_once(Instant now);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::schedule
