#pragma once

#include <cstdint>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "executor/session_starter.h"
#include "store/database.h"
#include "store/site_selection.h"

namespace digdag::schedule {

/// Starts the delayed attempts of backfills whose turn has come, each in a transaction of its own (spec/scheduling.md 8.7;
/// decisions.md S-22): one that never can be started is ended as failed, and those after it go on. Not thread-safe.
class DelayedAttempts {
 public:
  DelayedAttempts(store::Database& database, executor::SessionStarter& starter, Log& log, store::SiteSelection sites)
      : database_(database), starter_(starter), log_(log), sites_(std::move(sites)) {}

  /// Starts all that can be, and gives their number. Those of a site whose attempt limit is reached wait for the next call. Throws
  /// DatabaseError(unavailable).
  std::int64_t start_ready(Instant now);

 private:
  /// `left`: somebody else has it in hand; `passed`: it lets another one go first.
  enum class Became : std::uint8_t { started, ended, put_off, left, passed, limited };
  Became start(std::int64_t attempt_id, Instant now);
  Became fail(std::int64_t attempt_id, const std::string& why);

  store::Database& database_;
  executor::SessionStarter& starter_;
  Log& log_;
  const store::SiteSelection sites_;
};

}  // namespace digdag::schedule
