#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "engine/attempt_impl.h"
#include "engine/stored_task.h"

namespace digdag::engine {

/// Makes the attempt of its rows. What is not written in them follows from them: names tell generations, upstreams tell barriers,
/// states tell counts.
struct Attempt::Impl::Restoring {
  Impl& impl;
  Rows& rows;
  std::int64_t attempt_id;
  std::vector<StoredTask> tasks;

  /// The newest row of each full name; only a repeated name says that a newer generation has begun.
  std::unordered_map<std::string_view, TaskIndex> newest;

  [[noreturn]] void refuse(const StoredTask& task, const std::string& what) const {
    throw Error("illegal state", fmt::format("attempt {} cannot be continued: task {} ({}) {}", attempt_id, task.id, task.full_name, what))
        .hint("the rows of this attempt contradict each other; kill it and start it again");
  }

  void run();

  // ---- One row ----
  void add(TaskIndex index);
  void check(TaskIndex index) const;
  TaskIndex index_of(const StoredTask& task, std::int64_t id, std::string_view what) const;
  bool has_mark(TaskIndex index, const char* native_key) const;
  bool begins_generation(TaskIndex parent, const StoredTask& stored, std::string_view name) const;
  void wait_for_upstreams(TaskIndex index);
  void take_columns(TaskIndex index);
  void take_native(TaskIndex index);

  // ---- All of them ----
  void count(TaskIndex index);
  void derive(TaskIndex index);
  void set_timers(TaskIndex index);
  void set_monitor(const std::optional<StoredMonitor>& stored);

  // ---- What moves ----
  void move(TaskIndex index);
  void stop_again(TaskIndex index);
};

// ---- One row -------------------------------------------------------------------------------------------------------------

TaskIndex Attempt::Impl::Restoring::index_of(const StoredTask& task, std::int64_t id, std::string_view what) const {
  const auto end = tasks.begin() + static_cast<std::ptrdiff_t>(rows.size());
  const auto found = std::lower_bound(tasks.begin(), end, id, [](const StoredTask& t, std::int64_t wanted) { return t.id < wanted; });
  if (found == end || found->id != id) refuse(task, fmt::format("has {} {}, which is none of the tasks before it", what, id));
  return static_cast<TaskIndex>(found - tasks.begin());
}

void Attempt::Impl::Restoring::check(TaskIndex index) const {
  const StoredTask& task = tasks[static_cast<std::size_t>(index)];
  if (index > 0 && task.id <= tasks[static_cast<std::size_t>(index) - 1].id) refuse(task, "is not behind the one before it");
  if (task.state > TaskState::canceled) refuse(task, fmt::format("has the unknown state {}", static_cast<int>(task.state)));
  if (task.flags > (cancel_requested | delayed_error | delayed_group_error | initial_task))
    refuse(task, fmt::format("has the unknown flags {}", task.flags));
  if (task.is_group && (task.state == TaskState::running || task.state == TaskState::retry_waiting))
    refuse(task, fmt::format("is a group and {}", to_string(task.state)));
  if (task.parent_id.has_value() != (index > 0))
    refuse(task, index > 0 ? "has no parent but is not the first one" : "has a parent but is the first one");
  if (task.retry_count < 0 || task.retry_count > INT32_MAX) refuse(task, fmt::format("has the retry count {}", task.retry_count));
}

bool Attempt::Impl::Restoring::has_mark(TaskIndex index, const char* native_key) const {
  const Value* const mark = tasks[static_cast<std::size_t>(index)].native.find(native_key);
  return mark && *mark == Value(true);
}

bool Attempt::Impl::Restoring::begins_generation(TaskIndex parent, const StoredTask& stored, std::string_view name) const {
  if (has_mark(static_cast<TaskIndex>(rows.size()), "generation")) return true;
  const auto same = newest.find(stored.full_name);
  if (same != newest.end() && rows[same->second].parent == parent && same->second >= rows.newest_generation(parent)) return true;
  if (rows[parent].group || rows[parent].last_child == no_task || stored.resuming_task_id) return false;
  // What an operator generates comes in this order, and its `^check` waits for its `^sub`.
  const TaskIndex last = rows[parent].last_child;
  if (name == "^sub") return rows[last].name == "^check" || rows[last].name == "^error";
  return name == "^check" && rows[last].name == "^sub" && stored.upstreams.empty();
}

void Attempt::Impl::Restoring::add(TaskIndex index) {
  check(index);
  const StoredTask& stored = tasks[static_cast<std::size_t>(index)];
  Task task;
  TaskIndex parent = no_task;
  std::size_t parent_length = 0;
  if (stored.parent_id) {
    parent = index_of(stored, *stored.parent_id, "the parent");
    const std::string& above = tasks[static_cast<std::size_t>(parent)].full_name;
    if (!stored.full_name.starts_with(above) || stored.full_name == above) refuse(stored, fmt::format("has the parent {}", above));
    parent_length = above.size();
  }
  task.name = stored.full_name.substr(parent_length);
  task.group = stored.is_group;
  task.state = stored.state;
  task.flags = stored.flags;
  task.updated_at = stored.updated_at.millis;
  if (stored.started_at) task.started_at = stored.started_at->millis;
  task.retry_count = static_cast<std::uint32_t>(stored.retry_count);
  task.resumed_from = stored.resuming_task_id.value_or(0);
  if (parent != no_task && begins_generation(parent, stored, task.name)) rows.extra(parent).starts_generation = true;
  rows.append(std::move(task), parent);
  const auto [of_name, is_first] = newest.try_emplace(stored.full_name, index);
  // For another try of a group Java copies tasks without this mark (E-01).
  const bool is_copy = !is_first && !rows[index].is_generated_root() && !names_handler(stored.full_name);
  if (is_copy && (rows[of_name->second].flags & initial_task)) rows[index].flags |= initial_task;
  of_name->second = index;
  rows.set_config(index, stored.local.is_null() ? Value::object() : stored.local, stored.export_config);
  wait_for_upstreams(index);
  take_columns(index);
  take_native(index);
}

void Attempt::Impl::Restoring::wait_for_upstreams(TaskIndex index) {
  const StoredTask& stored = tasks[static_cast<std::size_t>(index)];
  const TaskIndex parent = rows[index].parent;
  const auto sibling = [&](std::int64_t id) {
    const TaskIndex upstream = index_of(stored, id, "the upstream");
    if (upstream == index || rows[upstream].parent != parent) refuse(stored, fmt::format("has the upstream {}, which is no sibling", id));
    return upstream;
  };
  if (!stored.upstreams.empty()) {
    std::vector<TaskIndex> upstreams;
    upstreams.reserve(stored.upstreams.size());
    for (const std::int64_t id : stored.upstreams) upstreams.push_back(sibling(id));
    std::sort(upstreams.begin(), upstreams.end());
    upstreams.erase(std::unique(upstreams.begin(), upstreams.end()), upstreams.end());
    if (stored.barrier) {
      rows.add_upstreams(index, upstreams);
    } else {
      rows.wait_for_all(index, upstreams);
    }
  }
  if (stored.barrier) {
    const TaskIndex first = sibling(stored.barrier->first), last = sibling(stored.barrier->last);
    if (first > last) refuse(stored, "waits for siblings that end before they begin");
    rows.wait_for_siblings(index, first, last);
  }
  rows.count_visible_siblings(index);
  // `^check` of a group: all of its children succeeded.
  if (parent != no_task && rows[parent].group && rows[index].name == "^check") rows[index].visible_siblings = rows[index].ordinal;
}

void Attempt::Impl::Restoring::take_columns(TaskIndex index) {
  const StoredTask& stored = tasks[static_cast<std::size_t>(index)];
  if (const std::int32_t window = stored.is_group ? dig::window_of(stored.local) : 0; window > 0) rows.set_window(index, window);
  if (!is_empty_object(stored.state_params)) rows.extra(index).state = stored.state_params;
  if (!is_empty_object(stored.error)) {
    TaskExtra& extra = rows.extra(index);
    extra.error = stored.error;
    extra.failed_itself = stored.state == TaskState::planned && (stored.flags & (delayed_error | delayed_group_error)) == 0;
  }
  const bool waits = stored.state == TaskState::retry_waiting || stored.state == TaskState::group_retry_waiting;
  if (waits) rows.extra(index).retry_at = stored.retry_at.value_or(impl.now);
  TaskResult result;
  result.subtask_config = stored.subtask_config;
  result.export_params = stored.export_params;
  result.store_params = stored.store_params;
  result.reset_store_params = stored.reset_store_params;
  if (!result.empty()) rows[index].result = std::make_unique<TaskResult>(std::move(result));
}

void Attempt::Impl::Restoring::take_native(TaskIndex index) {
  const StoredTask& stored = tasks[static_cast<std::size_t>(index)];
  rows[index].lease = impl.usual_lease(index);
  if (rows[index].name == "^error") rows.extra(index).export_origins.set(error_pointer, dig::Origin::data);
  if (stored.native.is_null()) return;
  if (!stored.native.is_object()) refuse(stored, "has a native state that is no object");
  const auto number = [&](const char* key) -> std::optional<std::int64_t> {
    const Value* value = stored.native.find(key);
    if (!value) return std::nullopt;
    if (!value->is_integer() || value->as_integer() < 0) refuse(stored, fmt::format("has a native state with a wrong `{}`", key));
    return value->as_integer();
  };
  if (const auto lease = number("lease")) rows[index].lease = static_cast<Lease>(*lease);
  if (const auto lost = number("lost")) rows[index].lost_runs = static_cast<std::uint32_t>(*lost);
  rows[index].cleans_up = has_mark(index, "cleanup");
  if (const Value* origins = stored.native.find("origins")) rows.extra(index).export_origins = origins_of(*origins);
  if (const Value* limits = stored.native.find("limits")) rows.extra(index).evaluated_limits = *limits;
  if (const Value* retry = stored.native.find("retry")) {
    rows.extra(index).retry_is_evaluated = true;
    rows.extra(index).evaluated_retry = *retry;
  } else if (const Value* poll_retry = stored.native.find("poll_retry")) {
    rows.extra(index).evaluated_retry = *poll_retry;
  }
  if (has_mark(index, "no_retry")) rows.extra(index).retry_is_impossible = true;
  if (!impl.time_limit(index)) return;  // what follows is about it
  if (const auto deadline = number("deadline")) rows.extra(index).deadline = Instant{*deadline};
  if (has_mark(index, "timed_out")) {
    const Value* message = stored.error.find("message");
    if (stored.state == TaskState::planned && !(message && message->is_string())) refuse(stored, "timed out but has no error");
    rows.extra(index).timed_out = true;
  }
}

// ---- All rows ------------------------------------------------------------------------------------------------------------

void Attempt::Impl::Restoring::count(TaskIndex index) {
  const Task& row = rows[index];
  if (row.result && (!is_empty_object(row.result->store_params) || !row.result->reset_store_params.empty())) rows.mark_stores(index);
  if (row.extra && !row.extra->error.is_null()) rows.mark_errors(index);
  if (row.parent == no_task) return;
  Task& parent = rows[row.parent];
  if (is_progressing(row.state)) {
    ++parent.progressing_children;
    if (parent.extra && parent.extra->window && !row.is_generated_root()) ++parent.extra->window->under_way;
  }
  if (is_error(row.state) && rows.is_of_newest_generation(index)) ++parent.error_children;
}

/// What follows from the children.
void Attempt::Impl::Restoring::derive(TaskIndex index) {
  Task& row = rows[index];
  if (row.first_child == no_task || is_done(row.state)) return;
  const bool runs_again = row.state == TaskState::running || row.state == TaskState::retry_waiting || row.state == TaskState::ready;
  if (row.group ? has_mark(index, "empty_try") : runs_again) {
    rows.extra(index).starts_generation = true;  // they are of an earlier try
    row.error_children = 0;
  }
  const bool waits = row.state == TaskState::group_retry_waiting || row.state == TaskState::ready;
  for (TaskIndex child = row.first_child; child != no_task; child = rows[child].next_sibling) {
    // Only tasks of the monitor come while the root waits for another try.
    const bool came_later = rows[child].state == TaskState::blocked && rows[child].unmet == 0 && is_handler_name(rows[child].name);
    if (waits && !came_later) rows.extra(index).last_child_before_retry = child;
    if (rows[child].name == "^error" && row.cancel_is_requested()) rows.extra(index).handler_was_considered = true;
    if (rows[child].name == "^check" && rows.is_of_newest_generation(child)) rows.extra(index).check_was_added = true;
  }
}

void Attempt::Impl::Restoring::set_timers(TaskIndex index) {
  const Task& row = rows[index];
  if (!row.extra || is_done(row.state)) return;
  if (row.extra->retry_at) impl.timers.set(Timers::Kind::retry, index, *row.extra->retry_at);
  if (row.extra->deadline) impl.timers.set(Timers::Kind::deadline, index, *row.extra->deadline);
}

void Attempt::Impl::Restoring::set_monitor(const std::optional<StoredMonitor>& stored) {
  if (!stored) return;
  try {
    impl.monitor = SessionMonitor::parse(stored->config);
  } catch (const Error& error) {
    impl.note(Note::Kind::error, 0, "Could not continue the monitor of sla: " + error.message_with_kind());
    return;
  }
  impl.monitor_due = Instant::of_seconds(stored->next_run_time);
  if (impl.started && !impl.done()) impl.timers.set(Timers::Kind::monitor, 0, *impl.monitor_due);
}

// ---- What moves ----------------------------------------------------------------------------------------------------------

void Attempt::Impl::Restoring::stop_again(TaskIndex index) {
  const auto own_limit = rows[index].extra && rows[index].extra->timed_out ? impl.time_limit(index) : std::nullopt;
  std::optional<std::int64_t> grace = own_limit ? own_limit->grace_seconds : std::nullopt;
  for (TaskIndex above = rows[index].parent; !own_limit && above != no_task; above = rows[above].parent) {
    const bool handles = (rows[above].flags & (delayed_error | delayed_group_error)) != 0;  // what it stopped has ended
    if (handles || !rows[above].extra || !rows[above].extra->timed_out) continue;
    if (const auto limit = impl.time_limit(above)) grace = limit->grace_seconds;
    break;
  }
  impl.stop_run(index, grace);
}

void Attempt::Impl::Restoring::move(TaskIndex index) {
  const Task& row = rows[index];
  const bool cancels = row.cancel_is_requested();
  switch (row.state) {
    case TaskState::running:
      if (!row.cleans_up && (cancels || (row.extra && row.extra->timed_out))) stop_again(index);
      break;
    case TaskState::retry_waiting:
    case TaskState::group_retry_waiting:
      if (cancels) impl.request_cancel(index);  // Java waits for the time of the retry
      break;
    case TaskState::ready:  // a moment between two transactions of Java's
      if (cancels) {
        impl.cancel(index);
      } else if (row.group) {
        impl.retry_now(index);
      } else {
        impl.run_operator(index, false);
      }
      break;
    case TaskState::planned:
    case TaskState::success:
      for (TaskIndex child = row.first_child; child != no_task; child = rows[child].next_sibling) {
        if (rows[child].state == TaskState::blocked && rows[child].unmet == 0) impl.releasable.push_back(child);
      }
      if (row.state == TaskState::planned && row.progressing_children == 0) impl.settle_later(index);
      break;
    default: break;
  }
}

void Attempt::Impl::Restoring::run() {
  const auto end = static_cast<TaskIndex>(tasks.size());
  newest.reserve(tasks.size());
  rows.reserve(tasks.size());
  for (TaskIndex i = 0; i < end; ++i) add(i);
  for (TaskIndex i = 0; i < end; ++i) count(i);
  for (TaskIndex i = 0; i < end; ++i) derive(i);
  for (TaskIndex i = 0; i < end; ++i) set_timers(i);
}

Restored Attempt::restore(StoredAttempt stored, std::vector<StoredTask> tasks, Params params, TimeZone zone, AttemptOptions options,
                          Instant now) {
  if (tasks.empty()) throw Error("illegal state", fmt::format("attempt {} cannot be continued: it has no tasks", stored.id));
  auto impl = std::make_unique<Impl>();
  impl->base = std::move(params);
  impl->zone = std::move(zone);
  impl->options = options;
  impl->pool = std::move(stored.resumed);
  impl->killed = stored.killed;
  impl->now = now;
  Impl::Restoring restoring{*impl, impl->rows, stored.id, std::move(tasks), {}};
  restoring.run();
  impl->started = impl->rows[0].state != TaskState::blocked;
  restoring.set_monitor(stored.monitor);
  if (impl->started && !impl->done()) {
    const auto end = static_cast<TaskIndex>(impl->rows.size());  // what comes into being now needs no look
    for (TaskIndex i = 0; i < end; ++i) restoring.move(i);
    impl->propagate();
  }
  Outcome outcome = impl->conclude();
  return Restored{Attempt(std::move(impl)), std::move(outcome)};
}

}  // namespace digdag::engine
