#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::simulation {

/// The same numbers from the same seed on every machine.
class Random {
 public:
  /// Seeds that follow each other give unrelated numbers, not the same ones moved by one.
  explicit Random(std::uint64_t seed) : state_(seed) { state_ = next(); }

  std::uint64_t next();
  /// 0 ≤ result < n; 0 for n ≤ 0.
  int below(int n) { return n <= 0 ? 0 : static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  int between(int low, int high) { return low + below(high - low + 1); }
  bool chance(int percent) { return below(100) < percent; }

 private:
  std::uint64_t state_;
};

/// What the workflow of a seed may contain and what may happen to it. Each seed uses another subset, so that rare combinations
/// are not drowned by frequent ones.
struct Features {
  bool parallel, limit, window, background, after, disable;
  bool subtasks, broken_subtasks, retry, retry_templates, error, check, group_check;
  bool stores, resets, polls, cleanup, timeout, sla, on_cancel, task_limit, kill_grace;
  bool chain;         ///< a long one, for layers of parameters
  int fail_percent;   ///< of the runs
  int kill_percent;   ///< of the attempts
  int lost_percent;   ///< of the answers: the agent is lost instead
  int leave_percent;  ///< before an event: the attempt leaves memory and comes back of its rows
  int size;           ///< about how many tasks
  bool late_ticks;    ///< time goes on for a while before a due tick comes

  static Features of(Random& random);
};

/// The content of a random `.dig` file. Its operators are `sim>` (fails retryably), `job>` (has something to clean up after a kill)
/// and `fix>` (ignores `_retry`); `_do` is what a run of theirs generates.
Value random_workflow(Random& random, const Features& features);
/// A random `_do`.
Value random_subtasks(Random& random, const Features& features);
/// The same content with one more task somewhere.
Value with_new_task(const Value& workflow, Random& random);

/// The operators with something to clean up after a kill.
bool has_cleanup(std::string_view type);

dig::Workflow workflow_of(const Value& content);

/// A few keys, some of them nested, with values that are new each time.
Value random_params(Random& random, std::int64_t& counter);

}  // namespace digdag::simulation
