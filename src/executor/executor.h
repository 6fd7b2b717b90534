#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "dig/template.h"
#include "engine/attempt.h"
#include "store/store.h"

namespace digdag::executor {

/// What identifies an attempt to its tasks, besides the tasks themselves.
struct AttemptIdentity {
  std::int64_t site_id = 0, project_id = 1, session_id = 1, attempt_id = 1;
  std::string project_name = "default", workflow_name;
  std::string session_uuid;
  Instant session_time;
  Instant created_at;
  TimeZone timezone;
  std::optional<std::string> retry_attempt_name;
};

/// Sees what happens to attempts: state files, the progress line, the summary.
class Listener {
 public:
  virtual ~Listener() = default;
  /// After the commit and before its effects, on the loop's thread. `changed`: ascending.
  virtual void committed(const AttemptIdentity& attempt, const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed) = 0;
  /// A run failed: its whole error, which the task's error object does not hold. Before the change that it causes is
  /// committed, on any thread.
  virtual void run_failed(const agent::RunRequest& request, const agent::RunFailed& failure) = 0;
};

/// The time of retries, time limits and polls: the clock of the machine as it was at the start, and from then on what has
/// passed since, sleep included. Setting the clock neither delays nor hastens anything (spec/decisions.md E-50).
std::function<Instant()> steady_clock();

/// Owns running attempts: events in, engine, one commit, effects out (design "The executor"). `run_until_done` is the loop,
/// on the thread that calls it; what else may be called from where stands beside it.
class Executor {
 public:
  /// All must outlive the executor. `listener` may be nullptr. `clock` is asked on the loop's thread; what it says must never
  /// go back.
  Executor(store::Store& store, Log& log, const dig::TemplateEngine& templates, Listener* listener,
           std::function<Instant()> clock = steady_clock());
  ~Executor();

  /// What runs the tasks; it must report to `ended` and `limits_evaluated`. Call before the loop.
  void use(agent::TaskRunner& runner);

  // From any thread:

  /// An attempt to be run; the loop starts it.
  void add(AttemptIdentity identity, engine::Attempt attempt);
  void ended(const agent::RunRequest& request, agent::RunEnd end);
  void limits_evaluated(const agent::RunRequest& request, Value limits);
  void kill(std::int64_t attempt_id);
  /// Makes `run_until_done` return.
  void interrupt();

  struct Status {
    bool known = false, done = false, success = false;
    std::string failure;  ///< once it is done: its first failed task and why, in one line: `+w+task: message; hint`
  };
  Status status(std::int64_t attempt_id) const;

  /// Runs until the attempt is done; false where `interrupt` came first.
  bool run_until_done(std::int64_t attempt_id);
  /// One round of the loop: all that has arrived and is due, without waiting. For the loop's thread.
  void step();
  /// When the next round is due if nothing arrives. For the loop's thread.
  std::optional<Instant> next_due() const;
  /// The tasks of an attempt that is under way, or of the one that `run_until_done` waited for; nullptr else. On the loop's
  /// thread, or while it does not run.
  const engine::Attempt* tasks(std::int64_t attempt_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
