#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "base/value.h"
#include "command/command.h"
#include "dig/template.h"
#include "engine/attempt_starter.h"
#include "engine/params.h"
#include "engine/task.h"
#include "operators/operator.h"
#include "store/log_spool.h"

namespace digdag::agent {

/// One run of one task, as the executor hands it out (spec/execution.md 9.5). The parameters are layers: what is needed is
/// made on the agent's thread.
struct RunRequest {
  std::int64_t attempt = 0;  ///< key of the attempt in the executor
  engine::TaskIndex task = engine::no_task;
  engine::Lease lease = 0;
  bool cleanup = false;
  operators::TaskIdentity identity;
  engine::Params params;  ///< without runtime variables
  Value local;            ///< the task's own keys, `_error` and `_check` included
  Value own_export;       ///< the task's own `_export`: an operator there goes before an inherited one (L-24)
  Value state;
  std::int64_t retry_count = 0;
  std::optional<Instant> started_at;
  std::optional<std::int64_t> kill_grace_seconds;  ///< the nearest `_kill_grace`; -1: never interrupt
  bool lenient = false;                            ///< a handler: broken inherited templates are left out (L-20)
  Position position;
};

// `retry`: the evaluated `_retry` of the task, where it was evaluated.

struct RunSucceeded {
  engine::TaskResult result;
  Value retry = {};
};
struct RunFailed {
  Value error;             ///< the error object
  bool retryable = false;  ///< `_retry` of the task applies
  Value retry;
  Error cause;              ///< the whole error, for the summary: place, last output, …
  std::string last_output;  ///< of a command
  std::int64_t millis = 0;  ///< how long a command ran
};
struct RunLater {
  std::int64_t delay_millis;
  Value state;
  Value retry = {};
  std::optional<std::int64_t> wakes_after;  ///< the end of this attempt makes the next run due at once
};
using RunEnd = std::variant<RunSucceeded, RunFailed, RunLater>;

/// Decides before a task runs whether it is skipped: state files of `digdag run` (spec/execution.md 23.4), `--goal`, `--end`,
/// dry runs. Called on the agent's threads.
class RunFilter {
 public:
  virtual ~RunFilter() = default;
  struct Skip {
    engine::TaskResult result;
    bool log_skipped = true;  ///< WARN `Skipped`
  };
  /// Before anything of the task is evaluated.
  virtual std::optional<Skip> before(const RunRequest& request) = 0;
  /// After evaluation, just before the operator would be called (`--dry-run`, `--show-params`).
  virtual std::optional<Skip> evaluated(const RunRequest& request, const Value& config) = 0;
};

inline constexpr std::int64_t default_kill_grace_seconds = 10;

class Workspaces;

/// The secrets of a project, before `_secrets` of a task is applied. Called on the agent's threads.
using ProjectSecrets = std::function<std::optional<std::string>(std::int64_t project_id, std::string_view key)>;

struct AgentOptions {
  std::int64_t max_task_threads = 0;                             ///< tasks that run at once; 0 = no limit
  std::int64_t kill_grace_seconds = default_kill_grace_seconds;  ///< agent.kill-grace-time; -1: never interrupt (E-30)
  Workspaces* workspaces = nullptr;                              ///< needed; outlives the agent
  const SystemConfig* system = &SystemConfig::empty();
  RunFilter* filter = nullptr;
  store::LogSpool* task_logs = nullptr;  ///< nullptr: no task logs
  ProjectSecrets secrets;
  std::string secret_hint;  ///< where one that is missing is to be put
  std::int64_t task_limit = 100'000;
};

/// Where the executor hands out runs. Each is answered once. Thread-safe.
class TaskRunner {
 public:
  virtual ~TaskRunner() = default;
  virtual void run(RunRequest request) = 0;
  /// Stops the run with this lease, if it goes on: SIGTERM to its command, SIGKILL after the grace time (-1: leave it; nothing:
  /// the default). It is still answered.
  virtual void stop(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t> grace_seconds) = 0;
};

/// Runs tasks in this process: evaluates their templates, finds their operator, runs it on a thread (or lets its process run
/// without one) and reports the end, exactly once for each request (spec/operators.md 1.1).
///
/// Threads are made when tasks wait and none is free, and go when idle. Thread-safe.
class Agent : public TaskRunner {
 public:
  using OnEnd = std::function<void(const RunRequest& request, RunEnd end)>;  ///< on any thread
  /// `_timeout`, `_kill_grace` and `_error_on_cancel` of a run's task, evaluated, where they hold templates; before its end.
  using OnLimits = std::function<void(const RunRequest& request, Value limits)>;
  Agent(AgentOptions options, Log& log, const dig::TemplateEngine& templates, command::CommandRunner& commands,
        engine::AttemptStarter& attempts, OnEnd on_end, OnLimits on_limits);
  /// Waits for the threads; running commands are stopped first (`shutdown`).
  ~Agent() override;

  void run(RunRequest request) override;
  void stop(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t> grace_seconds) override;
  /// Stops all that runs or waits here, each with its grace time; takes new runs. For when somebody else may have begun them again.
  void stop_all();
  /// Whether nothing runs or waits here.
  bool is_idle() const;
  /// Takes nothing more, stops what runs (SIGTERM, SIGKILL after its `_kill_grace` or else agent.kill-grace-time; evaluations at once) and
  /// waits for it. Who never interrupts cannot wait for ever here: that gives the default grace.
  void shutdown();
  /// How many seconds `shutdown` would give to what runs now, at most.
  std::int64_t longest_grace() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::agent
