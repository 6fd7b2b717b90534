#include "executor/strays.h"

#include <algorithm>
#include <iterator>

namespace digdag::executor {

void Strays::add(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease) { runs_[attempt].insert({task, lease}); }

void Strays::take_ends(std::vector<QueuedEvent>& events) {
  if (runs_.empty()) return;
  std::erase_if(events, [&](const QueuedEvent& queued) {
    const auto runs = runs_.find(queued.attempt_id);
    const auto run = ended_run(queued.event);
    if (runs == runs_.end() || !run || runs->second.erase(*run) == 0) return false;
    if (runs->second.empty()) runs_.erase(runs);
    return true;
  });
}

void Strays::give_back(std::vector<Added>& added) {
  added.insert(added.end(), std::make_move_iterator(kept_back_.begin()), std::make_move_iterator(kept_back_.end()));
  kept_back_.clear();
}

void Strays::keep_back(std::vector<Added>& added, const std::function<bool(std::int64_t)>& is_busy) {
  const auto waits = std::stable_partition(added.begin(), added.end(), [&](const Added& one) {
    const std::int64_t attempt = one.identity.attempt_id;
    return !runs_.contains(attempt) && !is_busy(attempt);
  });
  kept_back_.assign(std::make_move_iterator(waits), std::make_move_iterator(added.end()));
  added.erase(waits, added.end());
}

}  // namespace digdag::executor
