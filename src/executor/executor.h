#pragma once

#include <cstdint>
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

/// Owns running attempts: events in, engine, one commit, effects out (design "The executor"). `run_until_done` is the loop,
/// on the thread that calls it; what else may be called from where stands beside it.
class Executor {
 public:
  /// All must outlive the executor. `listener` may be nullptr.
  Executor(store::Store& store, Log& log, const dig::TemplateEngine& templates, Listener* listener);
  ~Executor();

  /// The agent that runs the tasks; it must report to `ended`. Call before the loop.
  void use(agent::Agent& agent);

  // From any thread:

  /// An attempt to be run; the loop starts it.
  void add(AttemptIdentity identity, engine::Attempt attempt);
  void ended(const agent::RunRequest& request, agent::RunEnd end);
  void kill(std::int64_t attempt_id);
  /// Makes `run_until_done` return.
  void interrupt();

  struct Status {
    bool known = false, done = false, success = false;
  };
  Status status(std::int64_t attempt_id) const;

  /// Runs until the attempt is done; false where `interrupt` came first.
  bool run_until_done(std::int64_t attempt_id);
  /// The tasks of an attempt, also of a finished one; nullptr where it is unknown. On the loop's thread, or while it does not run.
  const engine::Attempt* tasks(std::int64_t attempt_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
