#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace digdag::executor {

/// Which attempts wait for which, so that none comes to wait for itself (spec/decisions.md O-12).
class RequireChains {
 public:
  /// `still_runs`: whether an attempt is under way here. One that is not waits no longer, whoever forgot to say so: it was killed, or
  /// another server has it.
  explicit RequireChains(std::function<bool(std::int64_t attempt)> still_runs) : still_runs_(std::move(still_runs)) {}

  /// `attempt`, of this workflow, waits for `awaited` from now on: ""; but where that one waits for it in turn, the chain from there to
  /// it: `a -> b`. One that was not known to wait is found in a chain when it asks again.
  std::string wait(std::int64_t attempt, const std::string& workflow, std::int64_t awaited) {
    std::set<std::int64_t> visited;
    if (std::string chain = chain_to(awaited, attempt, visited); !chain.empty()) return chain;
    Waits& waits = waits_[attempt];
    waits.workflow = workflow;
    waits.for_attempts.insert(awaited);
    if (waits_.size() > most_before_a_look_) forget_the_gone();
    return "";
  }
  /// `awaited` has ended.
  void end_wait(std::int64_t attempt, std::int64_t awaited) {
    const auto waits = waits_.find(attempt);
    if (waits == waits_.end()) return;
    waits->second.for_attempts.erase(awaited);
    if (waits->second.for_attempts.empty()) waits_.erase(waits);
  }
  /// Attempts of which it is known that they wait.
  std::size_t size() const { return waits_.size(); }

 private:
  static constexpr std::size_t least_before_a_look = 1000;
  struct Waits {
    std::string workflow;
    std::set<std::int64_t> for_attempts;
  };

  std::string chain_to(std::int64_t attempt, std::int64_t waiting, std::set<std::int64_t>& visited) const {
    const auto waits = waits_.find(attempt);
    if (waits == waits_.end() || !visited.insert(attempt).second) return "";
    if (attempt == waiting) return waits->second.workflow;
    for (const std::int64_t next : waits->second.for_attempts) {
      if (const std::string rest = chain_to(next, waiting, visited); !rest.empty()) return waits->second.workflow + " -> " + rest;
    }
    return "";
  }

  /// Not until there are twice as many again: so a look at all of them costs nothing for each.
  void forget_the_gone() {
    std::erase_if(waits_, [&](const auto& one) { return !still_runs_(one.first); });
    most_before_a_look_ = std::max(least_before_a_look, 2 * waits_.size());
  }

  const std::function<bool(std::int64_t)> still_runs_;
  std::map<std::int64_t, Waits> waits_;  ///< by the attempt that waits
  std::size_t most_before_a_look_ = least_before_a_look;
};

}  // namespace digdag::executor
