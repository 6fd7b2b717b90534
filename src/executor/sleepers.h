#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <unordered_map>
#include <utility>

#include "engine/task.h"

namespace digdag::executor {

/// The polls that wait for the end of another attempt, each for one.
class Sleepers {
 public:
  using Poll = std::pair<std::int64_t, engine::TaskIndex>;  ///< attempt and task

  void add(Poll poll, engine::Lease lease, std::int64_t awaited) {
    const auto [place, is_new] = awaited_by_.try_emplace(poll, awaited);
    if (!is_new) remove(poll, std::exchange(place->second, awaited));
    polls_of_[awaited].insert_or_assign(poll, lease);
  }
  /// Those that wait for this attempt, taken out.
  std::map<Poll, engine::Lease> take(std::int64_t awaited) {
    auto polls = polls_of_.extract(awaited);
    if (polls.empty()) return {};
    for (const auto& [poll, lease] : polls.mapped()) awaited_by_.erase(poll);
    return std::move(polls.mapped());
  }
  /// Those of this attempt wait no longer: it has ended, or is not ours any more.
  void forget(std::int64_t attempt) {
    auto own = awaited_by_.lower_bound({attempt, std::numeric_limits<engine::TaskIndex>::min()});
    while (own != awaited_by_.end() && own->first.first == attempt) {
      remove(own->first, own->second);
      own = awaited_by_.erase(own);
    }
  }
  /// Attempts whose end is waited for.
  std::size_t awaited() const { return polls_of_.size(); }

 private:
  void remove(Poll poll, std::int64_t awaited) {
    const auto polls = polls_of_.find(awaited);
    polls->second.erase(poll);
    if (polls->second.empty()) polls_of_.erase(polls);
  }

  std::map<Poll, std::int64_t> awaited_by_;
  std::unordered_map<std::int64_t, std::map<Poll, engine::Lease>> polls_of_;
};

}  // namespace digdag::executor
