#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dig/template.h"
#include "dig/workflow.h"
#include "engine/params.h"
#include "engine/task.h"

namespace digdag::engine {

using BarrierIndex = std::int32_t;
constexpr BarrierIndex no_barrier = -1;

/// `_parallel: {mode: window}` of a group: how many of its children are under way, and which wait for a place.
struct Window {
  std::int32_t limit = 0;
  std::int32_t under_way = 0;
  std::priority_queue<TaskIndex, std::vector<TaskIndex>, std::greater<>> waiting;
};

/// What few tasks have.
struct TaskExtra {
  Value error;
  Value state;  ///< state params
  std::optional<Instant> retry_at;
  std::optional<Instant> deadline;        ///< of `_timeout`, for this try
  Value evaluated_retry;                  ///< the answer to EvaluateRetry; of a poll with a time limit: from its run
  Value evaluated_limits;                 ///< see LimitsEvaluated; of this try
  dig::Origins export_origins;            ///< of values in `export_config` that are no code (L-21)
  TaskIndex second_generation = no_task;  ///< first child of it; those before it belong to the first one
  TaskIndex newest_generation = no_task;  ///< first child of the newest generation, where there are several
  TaskIndex last_child_before_retry = no_task;
  std::unique_ptr<Window> window;
  bool starts_generation = false;  ///< the next child begins a generation
  bool awaits_retry = false;       ///< EvaluateRetry was asked for
  bool retry_is_evaluated = false;
  bool retry_is_impossible = false;  ///< the copies would exceed the task limit
  bool timed_out = false;
  bool failed_itself = false;           ///< a group with an error of its own: counts as one with an error child
  bool handler_was_considered = false;  ///< `_error` after a kill
  bool check_was_added = false;         ///< `^check` of a group, in this generation
};

/// A row of the task table.
struct Task {
  std::string name;            ///< own name
  Value local, export_config;  ///< see Rows::set_config
  Position position;
  std::unique_ptr<TaskResult> result;
  std::unique_ptr<TaskExtra> extra;
  std::int64_t updated_at = never, started_at = never;  ///< milliseconds

  TaskIndex parent = no_task, first_child = no_task, last_child = no_task, next_sibling = no_task;
  std::int32_t progressing_children = 0;
  std::int32_t error_children = 0;  ///< of the newest generation
  std::int32_t unmet = 0;           ///< upstreams that did not succeed (yet); the barrier counts as one
  std::int32_t ordinal = 0;         ///< place among its siblings of the same generation
  /// The tasks whose stores it sees below its parent are its siblings with a smaller ordinal than this; -1: not of this shape.
  std::int32_t visible_siblings = 0;
  std::int32_t first_upstream = 0, upstream_count = 0;  ///< in Rows::edges
  std::int32_t first_downstream = -1;                   ///< in Rows::edges
  BarrierIndex barrier = no_barrier;                    ///< that it waits for
  BarrierIndex member_of = no_barrier;                  ///< that waits for it
  Lease lease = 0;
  std::uint32_t retry_count = 0;
  std::uint32_t lost_runs = 0;    ///< in a row
  std::int64_t resumed_from = 0;  ///< id of the task of an earlier attempt whose result it has; 0 = none

  TaskState state = TaskState::blocked;
  std::uint8_t flags = 0;
  bool group = false;
  bool in_handler = false;
  bool has_reserved_keys = false;  ///< a key of its own config or of its `_export` begins with `_`
  bool stores_below = false;       ///< it or a descendant stored or reset something
  bool errors_below = false;       ///< it or a descendant has an error
  bool is_changed = false;         ///< since the event began
  bool results_changed = false;    ///< the same for its result and error
  bool awaits_settling = false;
  bool cleans_up = false;      ///< the run is one with Run::cleanup
  bool stop_was_sent = false;  ///< for the current lease

  static constexpr std::int64_t never = INT64_MIN;
  bool cancel_is_requested() const { return (flags & cancel_requested) != 0; }
  bool is_generated_root() const { return name.starts_with('^'); }
};

/// `^error`, `^failure-alert`, `^sla` and what begins so: the own name of a handler's root.
inline bool is_handler_name(std::string_view name) { return name == "^error" || name == "^failure-alert" || name.starts_with("^sla"); }
inline bool is_progressing(TaskState s) { return !is_done(s) && s != TaskState::blocked; }

/// The tasks of an attempt with their tree and dependencies. Knows nothing of events.
class Rows {
 public:
  /// Appends a compiled tree below `parent` (no_task for the root of the attempt); all are BLOCKED with `flags`. Returns the
  /// index of its root.
  TaskIndex insert(const dig::TaskTree& tree, TaskIndex parent, std::uint8_t flags);
  /// Appends one row as the last child of `parent`, without upstreams.
  TaskIndex append(Task task, TaskIndex parent);
  void add_upstreams(TaskIndex task, const std::vector<TaskIndex>& upstreams);
  /// Lets `task` wait for the siblings first … last. The same range is shared by all who wait for it.
  void wait_for_siblings(TaskIndex task, TaskIndex first, TaskIndex last);
  /// Lets `task` wait for all of these, ascending, each once: as a range where they are many neighbours, so that those who wait
  /// for the same ones share it.
  void wait_for_all(TaskIndex task, const std::vector<TaskIndex>& upstreams);
  /// Appends a copy of `original` without its results, for a group that is tried again. `copies` tells what was copied before.
  TaskIndex append_copy(TaskIndex original, TaskIndex parent, const std::unordered_map<TaskIndex, TaskIndex>& copies);
  /// To be called after the upstreams were added.
  void count_visible_siblings(TaskIndex task);
  void set_window(TaskIndex parent, std::int32_t limit);
  /// Gives a task its config.
  void set_config(TaskIndex task, const Value& local, const Value& export_config);

  void reserve(std::size_t tasks) { tasks_.reserve(tasks); }
  std::size_t size() const { return tasks_.size(); }
  Task& operator[](TaskIndex i) { return tasks_[static_cast<std::size_t>(i)]; }
  const Task& operator[](TaskIndex i) const { return tasks_[static_cast<std::size_t>(i)]; }
  TaskExtra& extra(TaskIndex i);

  /// Tells those who wait for `task` that it succeeded; returns who waits for nothing any more, ascending.
  std::vector<TaskIndex> succeeded(TaskIndex task);
  /// Ascending, each once.
  std::vector<TaskIndex> upstreams(TaskIndex task) const;
  /// The same without the members of the barrier.
  std::vector<TaskIndex> listed_upstreams(TaskIndex task) const;
  /// First and last member of the barrier that it waits for.
  std::optional<std::pair<TaskIndex, TaskIndex>> awaited_siblings(TaskIndex task) const;
  /// The siblings whose stores it sees, ascending: its upstreams, and theirs.
  std::vector<TaskIndex> transitive_upstreams(TaskIndex task) const;

  std::string full_name(TaskIndex task) const;
  /// First child of the newest generation.
  TaskIndex newest_generation(TaskIndex parent) const;
  /// Only these decide about their parent (spec/decisions.md E-07): none, where a new generation has begun and has no task yet.
  bool is_of_newest_generation(TaskIndex child) const;
  bool begins_generation(TaskIndex task) const {
    const TaskIndex parent = (*this)[task].parent;
    return parent != no_task && (*this)[task].ordinal == 0 && (*this)[parent].first_child != task;
  }
  /// Visits `task` and its descendants depth-first in order of index; where `visit` returns false it stays above.
  template <typename Visit>
  void visit_tree(TaskIndex task, const Visit& visit) const;
  /// Where a task stored something or failed; remembered on the way up.
  void mark_stores(TaskIndex task);
  void mark_errors(TaskIndex task);

 private:
  struct Edge {
    TaskIndex upstream, downstream;
    std::int32_t next_downstream;  ///< of the same upstream
  };
  struct Barrier {
    TaskIndex first_member, last_member;
    std::int32_t remaining;
    std::vector<TaskIndex> waiting;
  };
  TaskIndex upstream_at(const Task& task, std::int32_t i) const {
    return edges_[static_cast<std::size_t>(task.first_upstream) + static_cast<std::size_t>(i)].upstream;
  }
  BarrierIndex barrier_of(TaskIndex first, TaskIndex last);

  std::vector<Task> tasks_;
  std::vector<Edge> edges_;
  std::vector<Barrier> barriers_;
};

template <typename Visit>
void Rows::visit_tree(TaskIndex task, const Visit& visit) const {
  TaskIndex at = task;
  while (true) {
    if (visit(at) && (*this)[at].first_child != no_task) {
      at = (*this)[at].first_child;
      continue;
    }
    while (at != task && (*this)[at].next_sibling == no_task) at = (*this)[at].parent;
    if (at == task) return;
    at = (*this)[at].next_sibling;
  }
}

}  // namespace digdag::engine
