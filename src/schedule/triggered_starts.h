#pragma once

#include <cstdint>
#include <span>

#include "base/log.h"
#include "base/time.h"
#include "executor/session_starter.h"
#include "store/database.h"
#include "store/site_selection.h"

namespace digdag::schedule {

/// Starts workflows with `trigger:` after each success of the one that they name (spec/decisions.md S-40). That a start is owed was
/// committed with the success; it is made in the commit that forgets this, so exactly once, whatever crashes, and by however many
/// servers on one database. Not thread-safe.
class TriggeredStarts {
 public:
  TriggeredStarts(store::Database& database, executor::SessionStarter& starter, Log& log, store::SiteSelection sites)
      : database_(database), starter_(starter), log_(log), sites_(std::move(sites)) {}

  /// Starts all that can be, and gives their number. Those of a site whose attempt limit is reached wait for the next call; one that
  /// never can be started is told in the log and forgotten. Throws DatabaseError(unavailable).
  std::int64_t start_ready(Instant now);

 private:
  struct Start;
  struct Round;

  void read(Round& round) const;
  void run(std::span<Start> starts, Round& round);
  void run_in(store::Transaction& transaction, std::span<Start> starts);
  void run_one(store::Transaction& transaction, Start& start);
  void report(std::span<Start> starts, Round& round);

  store::Database& database_;
  executor::SessionStarter& starter_;
  Log& log_;
  const store::SiteSelection sites_;
};

}  // namespace digdag::schedule
