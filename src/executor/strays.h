#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "executor/round.h"

namespace digdag::executor {

/// Runs at the agent of attempts that were dropped. Such an attempt may be read back at once, and a database that was cut off its power may
/// have forgotten runs, which are then given out again with the same leases: what is read back waits until its strays have ended.
class Strays {
 public:
  void add(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease);
  /// Takes their ends out of `events`.
  void take_ends(std::vector<QueuedEvent>& events);
  /// Puts into `added` what was kept back.
  void give_back(std::vector<Added>& added);
  /// Takes out of `added` what must wait, also for what `is_busy` says of its attempt.
  void keep_back(std::vector<Added>& added, const std::function<bool(std::int64_t attempt)>& is_busy);

 private:
  std::map<std::int64_t, std::set<std::pair<engine::TaskIndex, engine::Lease>>> runs_;  ///< by attempt
  std::vector<Added> kept_back_;
};

}  // namespace digdag::executor
