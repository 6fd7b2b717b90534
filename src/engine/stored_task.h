#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "engine/attempt.h"

namespace digdag::engine {

/// The siblings from `first` to `last`, by database id: children of one parent, of one generation.
struct StoredSiblings {
  std::int64_t first = 0, last = 0;
  friend bool operator==(const StoredSiblings&, const StoredSiblings&) = default;
};

/// One task as the rows of the original's tables hold it (spec/server.md 10), in database ids. Empty objects are null, as there.
struct StoredTask {
  // tasks
  std::int64_t id = 0;
  std::optional<std::int64_t> parent_id;
  bool is_group = false;  ///< task_type 1
  TaskState state = TaskState::blocked;
  std::uint8_t flags = 0;
  Instant updated_at;
  std::optional<Instant> retry_at, started_at;
  Value state_params;
  std::int64_t retry_count = 0;

  // task_details
  std::string full_name;
  Value local, export_config;
  std::optional<std::int64_t> resuming_task_id;

  // task_state_details; `report` is always null
  Value subtask_config, export_params, store_params;
  Value error;
  std::vector<ConfigKey> reset_store_params;

  // task_dependencies
  /// Ascending. All that the task waits for, but for those of `barrier`.
  std::vector<std::int64_t> upstreams;
  /// It also waits for all of these: the chunk before its own. The table names them one by one (N tasks that wait for N others);
  /// who writes rows may keep the range instead, or name them (expand_barriers). Reading understands both.
  std::optional<StoredSiblings> barrier;

  /// What the columns of the original cannot hold, an object of these keys, each only where it says something; null for nearly
  /// all tasks and for those that Java wrote. Belongs to the columns of the state. Java gets on without it.
  ///   lease       number of its newest run, where it is not what `retry_count` tells (the run of a lost agent is given out again)
  ///   lost        runs in a row that lost their agent
  ///   deadline    of `_timeout` for this try, milliseconds since the epoch
  ///   timed_out   true: its time was up, and it has not ended yet
  ///   cleanup     true: the run is one that cleans up after a kill
  ///   retry       the evaluated `_retry` for failed children; null says that it could not be evaluated
  ///   poll_retry  the same as the newest poll had it, for the case that its time is up
  ///   limits      the evaluated `_timeout`, `_kill_grace`, `_error_on_cancel` of this try
  ///   no_retry    true: the copies for another try would be more tasks than allowed
  ///   generation  true: a newer generation of the children of its parent begins here, which names do not tell
  ///   empty_try   true: a newer generation of its own children has begun, and none of the rows is of it; of a group
  ///   origins     {JSON pointer into export_config: "data" | "stored"}: values that are no code (L-21)
  Value native;

  friend bool operator==(const StoredTask&, const StoredTask&) = default;
};

/// The state with this code in the column. Throws Error: `unknown state of a task: 12`.
TaskState state_of_code(std::int64_t code);
/// The state of this name. Throws Error: `unknown state of a task: 'foo'`.
TaskState state_of_name(std::string_view name);

/// Names the members of every `barrier` in `upstreams`, as task_dependencies and the API do. Costs their number: for a chunk of
/// N tasks N x N. `tasks`: all of an attempt, ascending by id.
void expand_barriers(std::vector<StoredTask>& tasks);

/// A row of session_monitors (spec/execution.md 18).
struct StoredMonitor {
  std::string type = "sla";        ///< the only one there is
  Value config;                    ///< what stands under `sla:`
  std::int64_t next_run_time = 0;  ///< seconds since the epoch
};

/// What is kept of an attempt beside its tasks.
struct StoredAttempt {
  std::int64_t id = 0;  ///< for messages
  bool killed = false;  ///< CANCEL_REQUESTED of session_attempts.state_flags
  std::optional<StoredMonitor> monitor;
  ResumedTasks resumed;  ///< rows of resuming_tasks, by full name
};

/// An attempt that was read back.
struct Restored {
  Attempt attempt;
  /// What moved at once, to be committed like the outcome of an event: what was due in rows of Java's (READY tasks, waiting ones that
  /// are killed), and what a crash left unsettled. Its effects repeat what was asked for and not answered, so they may be
  /// asked for twice: EvaluateRetry, Stop. Runs are not repeated: see Attempt::running.
  Outcome outcome;
};

}  // namespace digdag::engine
