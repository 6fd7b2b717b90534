#pragma once

#include <functional>
#include <mutex>

#include "base/time.h"
#include "executor/executor.h"

namespace digdag::server {

/// The time of the database (spec/decisions.md E-50): what passes here, and how far the database is ahead, which is measured again and
/// again. Never goes back: where it turns out to be ahead itself it goes at half its pace until it is right. Thread-safe.
class DatabaseClock {
 public:
  /// `stored`: asks the database; `steady`: what passes here, never going back.
  explicit DatabaseClock(std::function<Instant()> stored, std::function<Instant()> steady = executor::steady_clock());

  Instant now() const;
  /// Asks the database again; throws what `stored` throws, and goes on as before then.
  void measure();

 private:
  Instant now(Instant steady) const;

  const std::function<Instant()> stored_, steady_;
  mutable std::mutex mutex_;  ///< of what follows
  std::int64_t ahead_ = 0;    ///< of `steady_`, as measured
  Instant measured_at_ = {}, shown_then_ = {};
};

}  // namespace digdag::server
