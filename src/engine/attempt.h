#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "dig/workflow.h"
#include "engine/params.h"
#include "engine/task.h"

namespace digdag::engine {

// ---- Events: what happens to an attempt -------------------------------------------------------------------------------

// `retry` of the ends of a run: the evaluated `_retry` of the task, where the run got as far as evaluating it. It also counts
// where the time limit of the task has passed.

/// A run of a task ended well.
struct Succeeded {
  TaskIndex task;
  Lease lease;
  TaskResult result;
  Value retry = {};
};
/// A run of a task failed. `error` is the error object (spec/execution.md 10.5: `message`, …). `retryable`: `_retry` of the
/// operator itself applies (only operators that honour it say so, spec/operators.md 1.4); the engine decides by `retry`.
struct Failed {
  TaskIndex task;
  Lease lease;
  Value error;
  bool retryable = false;
  Value retry;
};
/// A run wants to be called again after `delay_millis` with this state (a poll).
struct RetryLater {
  TaskIndex task;
  Lease lease;
  std::int64_t delay_millis;
  Value state;
  Value retry = {};
};
/// What the poll with this lease waits for has happened: its next run is due now.
struct Wake {
  TaskIndex task;
  Lease lease;
};
/// Somebody killed the attempt.
struct Kill {};
/// Time has passed: whatever is due at `now` happens (retries, time limits, session monitors).
struct Tick {};
/// The answer to EvaluateRetry: the `_retry` of a group with its templates replaced; where that failed, null and why.
struct RetryEvaluated {
  TaskIndex task;
  Value retry;
  std::string problem = {};
};
/// What a run found where `_timeout`, `_kill_grace` and `_error_on_cancel` of its task hold templates: those keys, evaluated.
/// The first run of a try speaks for its polls. A run whose keys cannot be read fails instead.
struct LimitsEvaluated {
  TaskIndex task;
  Lease lease;
  Value limits;
};
/// The run with this lease has no agent any more (it died, its lease expired, the server was restarted): the task is run again
/// with the next lease; fails where that happened too often in a row (spec/decisions.md E-45); is cleaned up or canceled where
/// it is killed (E-31).
struct Lost {
  TaskIndex task;
  Lease lease;
};
using Event = std::variant<Succeeded, Failed, RetryLater, Wake, Kill, Tick, RetryEvaluated, LimitsEvaluated, Lost>;

// ---- Effects: what an attempt wants done, after its changes are committed ---------------------------------------------

/// Run this task's operator with this lease; answer with Succeeded, Failed or RetryLater.
struct Run {
  TaskIndex task;
  Lease lease;
  /// Only to clean up after a kill: call the operator's cleanup; answer with Failed (dropped, the task becomes canceled).
  bool cleanup = false;
};
/// Stop the run with this lease (kill or `_timeout`): its processes get SIGTERM, then SIGKILL after `grace_seconds`
/// (-1 = leave it; nothing = the agent's default). The run is still answered.
struct Stop {
  TaskIndex task;
  Lease lease;
  std::optional<std::int64_t> grace_seconds;
};
/// Evaluate this group's `_retry` with its params; answer with RetryEvaluated.
struct EvaluateRetry {
  TaskIndex task;
  Value retry;
};
using Effect = std::variant<Run, Stop, EvaluateRetry>;

/// A line for the log of the process, beside the states: `Ignore retry parameter because of invalid retry configuration.`
/// Failures are those that no run tells: of the task's time limit.
struct Note {
  enum class Kind : std::uint8_t { warning, error, failure, retried_failure } kind;
  TaskIndex task;
  std::string message;
};

/// What one event did. `changed` lists every task whose row changed or was inserted, each once, ascending; `results_changed`
/// those of them of which also result or error changed (the columns of task_state_details). Config never changes later.
struct Outcome {
  std::vector<TaskIndex> changed;
  std::vector<TaskIndex> results_changed;
  std::vector<Effect> effects;
  std::vector<Note> notes;
  bool finished = false;  ///< the attempt is done since this event
};

// ---- The attempt -------------------------------------------------------------------------------------------------------

/// A result taken over from an earlier attempt (resume, spec/decisions.md 3.2), for one full name.
struct ResumedTask {
  std::int64_t source_task_id = 0;
  std::optional<Instant> updated_at;  ///< the new row gets it
  Value local, export_config, subtask_config, export_params, store_params, error;
  std::vector<ConfigKey> reset_store_params;
  Value origins;  ///< of values in `export_config` that are no code: see StoredTask::native
};
using ResumedTasks = std::map<std::string, ResumedTask, std::less<>>;  ///< by full name

struct AttemptOptions {
  std::int64_t task_limit = 100'000;          ///< executor.task_max_run; 0 = none. Counted as the original does (L-19)
  std::int64_t params_size_limit = 16 << 20;  ///< executor.max_params_size, bytes of store+export+state; 0 = none
  bool group_check = false;                   ///< executor.group_check (E-10)
  std::uint32_t max_lost_runs = 10;           ///< agent.max-lost-leases (E-45)
  /// Types whose operator has something to clean up after a kill (E-31).
  bool (*has_cleanup)(std::string_view type) = nullptr;
};

/// A run that is under way.
struct Running {
  TaskIndex task;
  Lease lease;
  bool cleanup;
  bool cancel_requested;
};

struct StoredTask;
struct StoredAttempt;
struct StoredMonitor;
struct Restored;

/// One execution of a workflow: the tree of its tasks and the rules by which they move.
///
/// Pure: reads no clock, does no I/O, holds no lock. The same events in the same order always give the same result
/// (spec/execution.md 5). Not thread-safe; the executor gives each attempt to one thread at a time.
class Attempt {
 public:
  /// `params`: everything below the workflow's own exports (defaults, revision, session).
  /// `sla:` stands in the root's local config. Throws Error(`task limit exceeded`), or Error(config) where `sla:` is wrong.
  Attempt(const dig::TaskTree& workflow, Params params, TimeZone zone, AttemptOptions options, ResumedTasks resumed = {});
  /// The attempt that these rows (ascending by id: index i is row i) were written of, by us or by Java: it decides as if it had
  /// never left memory. Where the root is still blocked it waits for start(). Throws Error, which names attempt and task, where
  /// rows make no sense: an unknown state, a parent that is missing or later, two roots.
  static Restored restore(StoredAttempt attempt, std::vector<StoredTask> tasks, Params params, TimeZone zone, AttemptOptions options,
                          Instant now);
  ~Attempt();
  Attempt(Attempt&&) noexcept;
  Attempt& operator=(Attempt&&) noexcept;

  /// Before the start, where `sla:` does not count from it: the run time of its schedule (spec/execution.md 18.2).
  void count_sla_from(Instant run_time);
  /// The same for an attempt whose monitor was stored before its tasks.
  void continue_monitor(const StoredMonitor& stored);
  /// Starts it: the root becomes planned, what is free becomes running. Call once, before any event.
  Outcome start(Instant now);
  /// Takes one event and returns what changed and what is wanted in consequence. `now` never goes backwards.
  /// An event that no longer applies (a finish of an old lease, a kill of a finished task) changes nothing.
  Outcome apply(const Event& event, Instant now);

  /// When the next Tick is due; nothing while only outside events can move the attempt.
  std::optional<Instant> next_tick() const;

  bool done() const;
  bool success() const;  ///< done, and the root succeeded
  bool cancel_was_requested() const;

  /// The parameters that `task` sees before its own local keys: project < session < parents' exports < stores of what ran
  /// before < its own `_export` (spec/language.md 7.2). Without `_check` and `_error`. Cheap: shares
  /// structure with its neighbours.
  Params params_of(TaskIndex task) const;

  // ---- Storing (engine/stored_task.h) ----
  /// The row of a task; `ids[i]` is the database id of task i. Costs what its text costs; of a barrier only the ends are named.
  StoredTask stored(TaskIndex task, const std::vector<std::int64_t>& ids) const;
  /// The monitor that has not been due yet.
  std::optional<StoredMonitor> monitor() const;
  /// The runs that are not answered yet, ascending.
  std::vector<Running> running() const;

  // ---- Reading ----
  std::size_t size() const;
  TaskState state(TaskIndex task) const;
  std::uint8_t flags(TaskIndex task) const;
  Lease lease(TaskIndex task) const;
  TaskIndex parent(TaskIndex task) const;
  bool is_group(TaskIndex task) const;
  std::string full_name(TaskIndex task) const;
  /// Own keys without `_export`; `_error`, `_check`, `_retry`, `_do` included.
  const Value& local(TaskIndex task) const;
  const Value& export_config(TaskIndex task) const;
  Position position(TaskIndex task) const;
  /// State for the operator's next run: poll state, `retry_count`, `last_error`.
  Value state_params(TaskIndex task) const;
  std::int64_t retry_count(TaskIndex task) const;  ///< polls and retries, the column of that name
  std::optional<Instant> retry_at(TaskIndex task) const;
  std::optional<Instant> started_at(TaskIndex task) const;
  std::optional<Instant> updated_at(TaskIndex task) const;
  const TaskResult* result(TaskIndex task) const;          ///< nullptr where it has none
  Value error(TaskIndex task) const;                       ///< the error object; `{}` where it has none
  std::vector<TaskIndex> upstreams(TaskIndex task) const;  ///< ascending; made on demand (barriers)
  /// Whether this task belongs to a handler (`^error`, `^failure-alert`, `^sla…`): evaluated leniently (L-20).
  bool in_handler(TaskIndex task) const;
  /// The nearest `_kill_grace` (spec/decisions.md 1), -1 = `never`; nothing where none applies.
  std::optional<std::int64_t> kill_grace(TaskIndex task) const;
  /// The newest row of each full name, in order of index.
  std::vector<TaskIndex> newest_rows() const;

 private:
  struct Impl;
  explicit Attempt(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::engine
