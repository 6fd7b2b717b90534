#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "dig/workflow.h"
#include "engine/attempt.h"

namespace digdag::simulation {

/// One task of the reference model: a row of spec/execution.md 1.3.
struct Row {
  std::string full_name;
  int parent = -1;
  std::vector<int> upstreams;
  bool group = false;
  int window = 0;          ///< of a group: `_parallel: {limit: N, mode: window}`
  bool in_window = false;  ///< is a child to which its parent's window applies
  engine::TaskState state = engine::TaskState::blocked;
  std::uint8_t flags = 0;
  Value local = Value::object();
  Value export_config = Value::object();
  bool has_result = false;
  Value subtask_config = Value::object();
  Value export_params = Value::object();
  Value store_params = Value::object();
  std::vector<engine::ConfigKey> resets;
  Value error = Value::object();
  Value state_params = Value::object();
  std::int64_t retry_count = 0;
  std::optional<Instant> retry_at, started_at;
  engine::Lease lease = 0;  ///< counts the runs
  std::uint32_t lost = 0;   ///< runs in a row whose agent was lost (E-45)
  int generation = 0;       ///< first row of the newest generation of its children (spec/decisions.md E-07)
  bool resumed = false;     ///< taken over from an earlier attempt

  // `_retry` of a group whose templates have to be replaced first (L-16).
  bool retry_asked = false;
  std::optional<Value> retry_answer;

  // `_timeout` (E-33): since when this try is under way, and whether its time was up.
  std::optional<Instant> try_started_at;
  Value limits = Value::object();  ///< those of its time limits that are templates, as a run of this try evaluated them
  Value poll_retry;                ///< the evaluated `_retry`, as the last poll had it
  bool timed_out = false;
  bool stopped = false;           ///< this run was told to stop
  bool failed_itself = false;     ///< failed by its own error, whatever its children did
  bool retry_impossible = false;  ///< the copies for another try would be too many (E-02)
  bool check_added = false;       ///< E-10: `^check` of a group, once per generation
  /// `^check` of a group: sees what the group's tasks stored from this row on, its newest generation, as the `^check` of an
  /// operator waits for its newest `^sub` (12.7). -1 = not one of these.
  int sees_siblings_from = -1;
  bool cancel_handled = false;  ///< `_error_on_cancel` had its turn
};

/// What the model wants done since it was last asked, by row.
struct Wanted {
  struct Run {
    int row;
    bool cleanup;
  };
  struct Stop {
    int row;
    engine::Lease lease;
    std::optional<std::int64_t> grace_seconds;
  };
  std::vector<Run> runs;
  std::vector<Stop> stops;
  std::vector<int> evaluations;
};

/// A slow, obviously right attempt, written from spec/execution.md 5 and 7, language.md 7 and decisions.md 3.1-3.3 alone: after
/// each event it scans all rows again and again until no row of the transition table applies. It shares no code with the
/// engine but the names of states, the shapes of events and the compiler.
class Model {
 public:
  Model(const dig::TaskTree& workflow, Value params, TimeZone zone, engine::AttemptOptions options, engine::ResumedTasks resumed = {});

  // The events, as of engine/attempt.h. `now` never goes backwards.
  void start(Instant now);
  void succeeded(int row, engine::Lease lease, const engine::TaskResult& result, const Value& retry, Instant now);
  void failed(int row, engine::Lease lease, const Value& error, bool retryable, const Value& retry, Instant now);
  void retry_later(int row, engine::Lease lease, std::int64_t delay_millis, const Value& state, const Value& retry, Instant now);
  void wake(int row, engine::Lease lease, Instant now);
  void kill(Instant now);
  void tick(Instant now);
  void retry_evaluated(int row, const Value& retry, Instant now);
  /// `cleanup`: of a run that was to clean up.
  void lost(int row, engine::Lease lease, bool cleanup, Instant now);
  void limits_evaluated(int row, engine::Lease lease, const Value& limits, Instant now);

  /// The earliest time at which a tick would change something.
  std::optional<Instant> next_tick() const;
  bool done() const;
  bool success() const;
  bool cancel_was_requested() const { return killed_; }

  const std::vector<Row>& rows() const { return rows_; }
  /// language.md 7.2, word for word, up to the task's own `_export`.
  Value params_of(int row) const;
  Wanted take_wanted();

 private:
  bool step();
  bool propagate_blocked();
  bool cancel_waiting();
  bool enqueue_ready();
  bool finish_planned();

  void retry_group(int group);
  bool finish_from_children(int row);
  bool progressible_child(int parent) const;
  bool error_child(int parent) const;
  bool fail_group(int row);
  void fail(int row, const Value& error);
  bool timed_retry(int row, const Value& retry);
  void fail_timed_out(int row, const Value& retry);
  void cancel(int row);

  void run_monitor();
  /// What happens by itself: the earliest, of equal ones time limits before retries.
  struct Due {
    Instant at;
    enum Kind { deadline, retry, monitor } kind;
    int row;
    auto operator<=>(const Due&) const = default;
  };
  std::optional<Due> next_due() const;
  std::optional<Instant> deadline_of(const Row& row) const;
  static Value limit_of(const Row& row, std::string_view key);
  void expire(int row);
  void cancel_below(int row, std::optional<std::int64_t> grace_seconds);
  void stop(int row, std::optional<std::int64_t> grace_seconds);

  int insert_tree(const dig::TaskTree& tree, int parent, std::uint8_t flags);
  void take_over(Row& row, const engine::ResumedTask& old) const;
  void insert_taken_over_subtree(int row);
  bool add_error_task(int row, const Value& error, bool with_stores, Value& problem);
  void check_limit(std::size_t current, std::size_t adding) const;

  bool in_handler(int row) const;
  bool all_success(const std::vector<int>& rows) const;
  std::vector<int> children_of(int row) const;
  void descendants_of(int row, std::vector<int>& into) const;
  void transitive_upstreams(int row, std::vector<int>& into) const;
  void apply_store(Value& params, int row) const;
  Value merged_config(int row) const;

  std::vector<Row> rows_;
  Value params_;
  TimeZone zone_;
  engine::AttemptOptions options_;
  engine::ResumedTasks resumed_;
  Instant now_;
  bool killed_ = false;
  std::optional<Instant> monitor_at_;
  Wanted wanted_;
};

}  // namespace digdag::simulation
