#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "dig/loader.h"
#include "engine/attempt.h"
#include "engine/attempt_starter.h"
#include "store/store.h"

namespace digdag::executor {

/// What identifies an attempt to its tasks, besides the tasks themselves.
struct AttemptIdentity {
  std::int64_t site_id = 0, project_id = 1, session_id = 1, attempt_id = 1;
  std::string project_name = "default", workflow_name;
  std::string session_uuid;
  Instant session_time;
  TimeZone timezone;
  std::optional<std::string> retry_attempt_name;
};

/// Sees every committed change, before its effects happen: state files, the progress line, the summary. On the executor's
/// thread.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void committed(const AttemptIdentity& attempt, const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed) = 0;
  /// A run failed: its whole error, for the summary.
  virtual void run_failed(const AttemptIdentity& attempt, engine::TaskIndex task, const agent::RunFailed& failure) = 0;
};

/// Owns running attempts: events in, engine, one commit, effects out (design "The executor"). `run()` is the loop of the
/// calling thread; everything else may be called from any thread.
class Executor {
 public:
  Executor(store::Store& store, Log& log, Listener* listener);
  ~Executor();

  /// Tasks go to this agent, which must report to `ended`.
  void use(agent::Agent& agent);
  /// An attempt to be run; it is started by the loop.
  void add(AttemptIdentity identity, engine::Attempt attempt);
  void ended(const agent::RunRequest& request, agent::RunEnd end);
  void kill(std::int64_t attempt_id);

  /// Runs until the attempt is done (false where `interrupt` came first).
  bool run_until_done(std::int64_t attempt_id);
  /// Makes `run_until_done` return; signal-safe callers use an eventfd (see interrupt_fd).
  void interrupt();

  struct Status {
    bool known = false, done = false, success = false, cancel_requested = false;
  };
  Status status(std::int64_t attempt_id) const;
  /// The tasks of an attempt, also of a finished one. Only while the loop is not running, or on its thread.
  const engine::Attempt* tasks(std::int64_t attempt_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
