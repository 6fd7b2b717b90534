#include "server/database_clock.h"

#include <algorithm>
#include <utility>

namespace digdag::server {

DatabaseClock::DatabaseClock(std::function<Instant()> stored, std::function<Instant()> steady)
    : stored_(std::move(stored)), steady_(std::move(steady)) {
  measure();
  shown_then_ = measured_at_.plus_millis(ahead_);
}

Instant DatabaseClock::now() const {
  const std::lock_guard lock(mutex_);
  return now(steady_());
}

Instant DatabaseClock::now(Instant steady) const {
  const std::int64_t slowly = shown_then_.millis + (steady.millis - measured_at_.millis) / 2;
  return {std::max(steady.millis + ahead_, slowly)};
}

void DatabaseClock::measure() {
  const Instant before = steady_();
  const Instant stored = stored_();
  const Instant after = steady_();
  const std::lock_guard lock(mutex_);
  const Instant shown = now(after);
  ahead_ = stored.millis - (before.millis + after.millis) / 2;
  measured_at_ = after;
  shown_then_ = shown;
}

}  // namespace digdag::server
