#include <utility>

#include "base/error.h"
#include "engine/attempt_impl.h"

namespace digdag::engine {

void Attempt::Impl::propagate() {
  // What became free starts before any parent is looked at: then a parent's count of progressing children says whether it is
  // through (spec/execution.md 7.7).
  std::vector<TaskIndex> batch;
  while (true) {
    if (!releasable.empty()) {
      batch.clear();
      batch.swap(releasable);
      for (const TaskIndex task : batch) release(task);
    } else if (!admitting.empty()) {
      const TaskIndex parent = admitting.back();
      admitting.pop_back();
      admit(parent);
    } else if (!settling.empty()) {
      const TaskIndex task = settling.front();
      settling.pop_front();
      rows[task].awaits_settling = false;
      settle(task);
    } else {
      return;
    }
  }
}

void Attempt::Impl::release(TaskIndex task) {
  const Task& row = rows[task];
  if (row.state != TaskState::blocked || row.unmet > 0) return;
  if (row.parent == no_task) {
    begin(task);
    return;
  }
  const Task& parent = rows[row.parent];
  if (parent.state != TaskState::planned && parent.state != TaskState::success) return;
  Window* window = parent.extra && !row.is_generated_root() ? parent.extra->window.get() : nullptr;
  if (!window) {
    begin(task);
    return;
  }
  window->waiting.push(task);
  admitting.push_back(row.parent);
}

void Attempt::Impl::admit(TaskIndex parent) {
  Window& window = *rows[parent].extra->window;
  while (window.under_way < window.limit && !window.waiting.empty()) {
    const TaskIndex task = window.waiting.top();
    window.waiting.pop();
    ++window.under_way;
    begin(task);
  }
}

void Attempt::Impl::begin(TaskIndex task) {
  const Task& row = rows[task];
  if (row.cancel_is_requested() && !row.group) {
    finish(task, TaskState::canceled);
    return;
  }
  if (row.parent != no_task) ++rows[row.parent].progressing_children;
  if (row.group) {
    if (row.cancel_is_requested()) rows.extra(task).handler_was_considered = true;  // nothing of it ever ran
    plan(task, row.first_child);
    arm_deadline(task, now);
  } else {
    run_operator(task, false);
  }
}

void Attempt::Impl::run_operator(TaskIndex task, bool cleanup) {
  Task& row = rows[task];
  ++row.lease;
  row.stop_was_sent = false;
  row.cleans_up = cleanup;
  if (row.started_at == Task::never) row.started_at = now.millis;
  set_state(task, TaskState::running);
  if (!cleanup) arm_deadline(task, now);
  outcome.effects.push_back(Run{task, row.lease, cleanup});
}

void Attempt::Impl::plan(TaskIndex task, TaskIndex first) {
  set_state(task, TaskState::planned);
  for (TaskIndex child = first; child != no_task; child = rows[child].next_sibling) {
    if (rows[child].state == TaskState::blocked && rows[child].unmet == 0) releasable.push_back(child);
  }
  if (rows[task].progressing_children == 0) settle_later(task);
}

void Attempt::Impl::finish(TaskIndex task, TaskState state) {
  const bool was_progressing = is_progressing(rows[task].state);
  set_state(task, state);
  disarm_deadline(task);
  scopes.erase(task);
  const TaskIndex parent = rows[task].parent;
  if (state == TaskState::success) {
    for (const TaskIndex free : rows.succeeded(task)) releasable.push_back(free);
  }
  if (parent == no_task) return;
  if (was_progressing) --rows[parent].progressing_children;
  if (is_error(state) && rows.is_of_newest_generation(task)) ++rows[parent].error_children;
  leave_window(task, parent);
  if (rows[parent].state == TaskState::planned && rows[parent].progressing_children == 0) settle_later(parent);
}

void Attempt::Impl::leave_window(TaskIndex task, TaskIndex parent) {
  Window* window = rows[parent].extra ? rows[parent].extra->window.get() : nullptr;
  if (!window || rows[task].is_generated_root()) return;
  --window->under_way;
  if (!window->waiting.empty()) admitting.push_back(parent);
}

void Attempt::Impl::settle(TaskIndex task) {
  const Task& row = rows[task];
  if (row.state != TaskState::planned || row.progressing_children > 0) return;
  if (row.cancel_is_requested()) {
    cancel(task);
  } else if (row.flags & delayed_error) {
    finish(task, TaskState::error);
  } else if (row.flags & delayed_group_error) {
    finish(task, TaskState::group_error);
  } else if (row.error_children > 0 || (row.extra && row.extra->failed_itself)) {
    settle_failed(task);
  } else if (!add_group_check(task)) {
    finish(task, TaskState::success);
  }
}

void Attempt::Impl::settle_failed(TaskIndex task) {
  disarm_deadline(task);
  Value retry = own(task, "_retry");
  TaskExtra& extra = rows.extra(task);
  if (extra.awaits_retry) return;
  if (dig::contains_template(retry)) {
    if (!extra.retry_is_evaluated) {
      extra.awaits_retry = true;
      outcome.effects.push_back(EvaluateRetry{task, std::move(retry)});
      return;
    }
    retry = extra.evaluated_retry;
  }
  const Cause cause = extra.timed_out ? Cause::timeout : Cause::failure;
  const auto control = extra.retry_is_impossible ? std::nullopt : allowed_retry(task, retry, cause);
  if (cause == Cause::timeout)
    note(control ? Note::Kind::retried_failure : Note::Kind::failure, task, extra.error.find("message")->as_string());
  if (control) {
    wait_for_retry(task, TaskState::group_retry_waiting, *control, extra.error);
    return;
  }
  const TaskIndex first_new = static_cast<TaskIndex>(rows.size());
  if (rows[task].parent == no_task) add_failure_alert();
  add_error_handler(task, extra.error, true);
  if (!extra.error.is_null()) {
    rows.mark_errors(task);
    touch_results(task);
  }
  if (static_cast<TaskIndex>(rows.size()) == first_new) {
    finish(task, TaskState::group_error);
    return;
  }
  rows[task].flags |= delayed_group_error;
  plan(task, first_new);
}

void Attempt::Impl::set_state(TaskIndex task, TaskState state) {
  rows[task].state = state;
  touch(task);
}

void Attempt::Impl::touch(TaskIndex task) {
  Task& row = rows[task];
  row.updated_at = now.millis;
  if (row.is_changed) return;
  row.is_changed = true;
  outcome.changed.push_back(task);
}

void Attempt::Impl::touch_results(TaskIndex task) {
  touch(task);
  if (std::exchange(rows[task].results_changed, true)) return;
  outcome.results_changed.push_back(task);
}

void Attempt::Impl::settle_later(TaskIndex task) {
  if (std::exchange(rows[task].awaits_settling, true)) return;
  settling.push_back(task);
}

void Attempt::Impl::note(Note::Kind kind, TaskIndex task, std::string message) {
  outcome.notes.push_back(Note{kind, task, std::move(message)});
}

}  // namespace digdag::engine
