#include "executor/handouts.h"

#include <algorithm>

namespace digdag::executor {

void Handouts::wait(std::int64_t attempt, const engine::Run& run) {
  std::deque<engine::Run>& runs = waiting_[attempt];
  if (runs.empty()) turns_.push_back(attempt);
  runs.push_back(run);
  ++waiting_count_;
}

std::optional<std::pair<std::int64_t, engine::Run>> Handouts::next() {
  if (turns_.empty() || try_take(1, true) == 0) return std::nullopt;
  const std::int64_t attempt = turns_.front();
  turns_.pop_front();
  const auto place = waiting_.find(attempt);
  const engine::Run run = place->second.front();
  place->second.pop_front();
  --waiting_count_;
  if (place->second.empty())
    waiting_.erase(place);
  else
    turns_.push_back(attempt);
  return std::pair(attempt, run);
}

bool Handouts::remove(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease) {
  const auto place = waiting_.find(attempt);
  if (place == waiting_.end()) return false;
  std::deque<engine::Run>& runs = place->second;
  const auto run = std::find_if(runs.begin(), runs.end(), [&](const engine::Run& r) { return r.task == task && r.lease == lease; });
  if (run == runs.end()) return false;
  runs.erase(run);
  --waiting_count_;
  if (runs.empty()) {
    waiting_.erase(place);
    turns_.erase(std::find(turns_.begin(), turns_.end(), attempt));
  }
  return true;
}

void Handouts::forget(std::int64_t attempt) {
  const auto place = waiting_.find(attempt);
  if (place == waiting_.end()) return;
  waiting_count_ -= place->second.size();
  waiting_.erase(place);
  turns_.erase(std::find(turns_.begin(), turns_.end(), attempt));
}

std::int64_t Handouts::try_take(std::int64_t wanted, bool in_line) {
  if (closed_ || (!in_line && waiting_count_ > 0)) return 0;
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
