#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "dig/compiler.h"
#include "dig/time_limit.h"
#include "engine/attempt.h"
#include "engine/retry_control.h"
#include "engine/rows.h"
#include "engine/session_monitor.h"

namespace digdag::engine {

/// What happens by itself, by time. Of what is due at the same moment, time limits come before retries.
class Timers {
 public:
  enum class Kind : std::uint8_t { deadline, retry, monitor };
  struct Due {
    std::int64_t millis;
    Kind kind;
    TaskIndex task;
    friend auto operator<=>(const Due&, const Due&) = default;
  };

  void set(Kind kind, TaskIndex task, Instant at) { due_.insert(Due{at.millis, kind, task}); }
  void clear(Kind kind, TaskIndex task, Instant at) { due_.erase(Due{at.millis, kind, task}); }
  void clear() { due_.clear(); }
  std::optional<Instant> next() const { return due_.empty() ? std::nullopt : std::optional(Instant{due_.begin()->millis}); }
  /// The first one that is due at `now`, taken out.
  std::optional<Due> take(Instant now);

 private:
  std::set<Due> due_;
};

/// The parameters of the children of a planned task, kept while it lives: those below which all of them start, and those
/// with the stores of its first children, which what stands after them sees.
struct Scope {
  Params inner;
  Params accumulated;
  std::int32_t merged = 0;         ///< how many children of the newest generation are in `accumulated`
  TaskIndex next = no_task;        ///< the child to be merged next
  TaskIndex generation = no_task;  ///< first child of the generation that `merged` counts
};

/// The rules of an attempt. Its parts: attempt.cpp (events and reading), propagation.cpp (what follows when something ended),
/// generation.cpp (tasks that come into being while it runs), failure.cpp (retries, handlers, time limits, kill), scope.cpp
/// (parameters), resume.cpp (results of an earlier attempt).
struct Attempt::Impl {
  Rows rows;
  Params base;
  TimeZone zone;
  AttemptOptions options;
  ResumedTasks pool;  ///< results of the earlier attempt
  std::optional<SessionMonitor> monitor;
  std::optional<Instant> monitor_due;  ///< until it was
  bool started = false;
  bool killed = false;
  Instant now;
  Outcome outcome;
  Timers timers;
  std::vector<TaskIndex> releasable;  ///< blocked tasks that wait for no upstream, to be looked at
  std::vector<TaskIndex> admitting;   ///< parents with a window that may have a free place
  std::deque<TaskIndex> settling;     ///< planned tasks without a progressing child, to be looked at
  std::unordered_map<TaskIndex, Scope> scopes;

  // ---- Events (attempt.cpp) ----
  void on(const Succeeded& event);
  void on(const Failed& event);
  void on(const RetryLater& event);
  void on(const Wake& event);
  void on(const Kill& event);
  void on(const Tick& event);
  void on(const RetryEvaluated& event);
  void on(const LimitsEvaluated& event);
  void on(const Lost& event);
  bool is_current(TaskIndex task, Lease lease) const;
  Outcome conclude();
  bool done() const { return is_done(rows[0].state); }

  // ---- Propagation ----
  /// Moves whatever is free to move, until nothing is.
  void propagate();
  void release(TaskIndex task);
  /// Starts those who wait for a place in the window of `parent`, first come in the file.
  void admit(TaskIndex parent);
  void begin(TaskIndex task);
  void settle(TaskIndex task);
  void settle_failed(TaskIndex task);
  void run_operator(TaskIndex task, bool cleanup);
  /// `task` waits for its children from now on; those from `first` on may be free.
  void plan(TaskIndex task, TaskIndex first);
  void finish(TaskIndex task, TaskState state);
  void leave_window(TaskIndex task, TaskIndex parent);
  void set_state(TaskIndex task, TaskState state);
  void touch(TaskIndex task);
  /// The same where also its result or error changed.
  void touch_results(TaskIndex task);
  void settle_later(TaskIndex task);
  void note(Note::Kind kind, TaskIndex task, std::string message);

  // ---- Generation ----
  void succeed(TaskIndex task, const TaskResult& result);
  std::optional<Error> size_problem(const TaskResult& result, const Value& state) const;
  /// Error(`task limit exceeded`) where `adding` tasks on top of `current` are too many; handlers may exceed the limit by 1,000.
  std::optional<Error> limit_problem(std::size_t current, std::size_t adding, bool handler) const;
  TaskIndex generate(const dig::TaskTree& tree, TaskIndex parent, std::uint8_t flags);
  void mark_literals(TaskIndex root, const std::vector<std::string>& pointers);
  bool add_group_check(TaskIndex task);
  void add_failure_alert();
  void add_monitor_tasks();
  /// `^error` of a task; false where it has none or it is broken, which is told in `error`.
  bool add_error_handler(TaskIndex task, Value& error, bool with_stores);
  Value merged_errors(TaskIndex task) const;
  /// Copies the first generation of a group's children, for its next try; an error where they would be too many.
  std::optional<Error> copy_children(TaskIndex group);

  // ---- Failure ----
  enum class Cause { failure, timeout };
  void fail(TaskIndex task, Value error);
  bool retry_operator(TaskIndex task, const Value& retry, const Value& error, Cause cause);
  /// The control of a `_retry` that still allows a retry for this cause; invalid ones are noted and allow none.
  std::optional<RetryControl> allowed_retry(TaskIndex task, const Value& retry, Cause cause);
  void ignore_retry(TaskIndex task, const std::string& problem);
  void wait_for_retry(TaskIndex task, TaskState state, const RetryControl& control, const Value& error);
  void retry_now(TaskIndex task);
  /// Begins the time limit of this try, which counts from `since`; nothing where it began already.
  void arm_deadline(TaskIndex task, Instant since);
  void disarm_deadline(TaskIndex task);
  void time_out(TaskIndex task);
  void fail_timed_out(TaskIndex task, const Value& evaluated_retry);
  void request_cancel(TaskIndex task, std::optional<std::int64_t> grace = std::nullopt);
  void cancel_descendants(TaskIndex task, std::optional<std::int64_t> grace);
  void cancel(TaskIndex task);
  void stop_run(TaskIndex task, std::optional<std::int64_t> grace_seconds);
  std::optional<std::int64_t> kill_grace(TaskIndex task) const;
  /// `_timeout`, `_kill_grace` or `_error_on_cancel` of the task itself, as its run evaluated it; null where it has none.
  Value limit_key(TaskIndex task, std::string_view key) const;
  std::optional<dig::TimeLimit> time_limit(TaskIndex task) const;
  bool wants_handler_after_kill(TaskIndex task) const;
  std::int64_t retries_of(TaskIndex task) const;

  // ---- Parameters ----
  Params params_of(TaskIndex task);
  Params params_before(TaskIndex task);
  Params params_inside(TaskIndex task);
  Params compute_params_inside(TaskIndex task);
  Params with_stores_of_first(TaskIndex parent, std::int32_t count);
  Params with_exports(const Params& params, TaskIndex task) const;
  Params with_store(const Params& params, TaskIndex task) const;
  Params with_stores_of_tree(Params params, TaskIndex root) const;

  // ---- Rows of the database (restore.cpp, stored_task.cpp) ----
  struct Restoring;
  Value native(TaskIndex task) const;
  /// The number of the newest run, as far as the columns tell: each but the first comes after a poll or a retry, which count.
  Lease usual_lease(TaskIndex task) const;

  // ---- Resume ----
  /// Gives the rows from `first` on the results that the earlier attempt has for them.
  void take_over(TaskIndex first);
  void take_over_row(TaskIndex task, const ResumedTask& resumed);
  void take_over_generated(TaskIndex task, const std::string& full_name);

  /// `key` of the task's own config: `_export` overlaid by its other keys (spec/execution.md 2.8); null where it is not there.
  Value own(TaskIndex task, std::string_view key) const;
  /// An object: Error(config) where it is anything else, `{}` where it is not there.
  Value own_object(TaskIndex task, std::string_view key) const;
};

/// Origins as a row keeps them: {pointer: "data" | "stored"}, sorted; null where there are none. Others are ignored.
Value to_value(const dig::Origins& origins);
dig::Origins origins_of(const Value& value);
/// Those that the exports of an `^error` have at least: what an error says is data (L-20).
inline const char* const error_pointer = "/error";

/// The error object of an error of the engine.
Value error_object(const Error& error);
bool is_empty_object(const Value& value);
/// Whether a segment of the name is a handler or a check: never taken over (spec/decisions.md E-21).
bool names_handler(std::string_view full_name);

}  // namespace digdag::engine
