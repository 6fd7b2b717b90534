#include "executor/handouts.h"

#include <algorithm>

namespace digdag::executor {

void Handouts::wait(std::int64_t attempt, const engine::Run& run) {
  runs_.push(attempt, run);
  count();
}

std::optional<std::pair<std::int64_t, engine::Run>> Handouts::next() {
  if (runs_.empty() || take(1) == 0) return std::nullopt;
  auto next = runs_.pop();
  count();
  return next;
}

bool Handouts::remove(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease) {
  const bool removed = runs_.remove(attempt, [&](const engine::Run& run) { return run.task == task && run.lease == lease; }).has_value();
  count();
  return removed;
}

std::deque<engine::Run> Handouts::take_out(std::int64_t attempt) {
  auto runs = runs_.take_line(attempt);
  count();
  return runs;
}

std::int64_t Handouts::take(std::int64_t wanted) {
  if (closed_ || held_) return 0;
  std::int64_t free = free_;
  std::int64_t given = 0;
  do {
    given = std::min(wanted, free);
    if (given <= 0) return 0;
  } while (!free_.compare_exchange_weak(free, free - given));
  taken_ += given;
  return given;
}

}  // namespace digdag::executor
