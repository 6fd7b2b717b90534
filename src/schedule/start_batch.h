#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "executor/session_starter.h"
#include "schedule/scheduler.h"
#include "store/database.h"
#include "store/schedules.h"

namespace digdag::schedule {

/// Some due schedules and the sessions of theirs that are started together: planned and compiled first, then put into one
/// transaction, in the order of their run times.
///
/// Each schedule goes its own way in it: one that was changed meanwhile, or that another server has locked, drops out; one that
/// cannot be started is put off (spec/scheduling.md 6.3, 6.4; decisions.md S-21). Where the transaction fails, the batch is split until
/// the one that is to blame stands alone, and that is put off.
class StartBatch {
 public:
  struct Result {
    std::int64_t started = 0, skipped = 0;
    bool moved = false;                    ///< some schedule was: else others have them all
    std::vector<std::int64_t> full_sites;  ///< whose attempt limit was reached
  };

  /// Plans what is due at `now`, at most `most_starts` sessions. Reads; compiles.
  StartBatch(store::Database& database, executor::SessionStarter& starter, Log& log, const store::SiteSelection& sites, Instant now,
             std::int64_t most_starts);
  ~StartBatch();

  /// No schedule is due.
  bool empty() const { return lines_.empty(); }
  /// Throws DatabaseError(unavailable): then nothing more was done.
  Result run();

 private:
  struct Line;
  struct Step;
  struct Outcome;

  void read_due(const store::SiteSelection& sites, std::int64_t most_starts);
  void plan(std::int64_t most_starts);
  bool plan_next(Line& line);
  void run_lines(const std::vector<Line*>& lines);
  std::vector<Outcome> run_in(store::Transaction& transaction, const std::vector<Line*>& lines);
  void run_step(store::Transaction& transaction, Step& step, Outcome& outcome);
  void skip_while_active(Outcome& outcome);
  void report(const std::vector<Outcome>& outcomes);

  store::Database& database_;
  executor::SessionStarter& starter_;
  Log& log_;
  const Instant now_;
  Instant horizon_;  ///< of schedules that are due later than this not all have been read
  std::vector<std::unique_ptr<Line>> lines_;
  std::vector<Step> steps_;  ///< of all lines, by run time
  Result result_;
};

}  // namespace digdag::schedule
