#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "engine/attempt_impl.h"

namespace digdag::engine {

void Attempt::Impl::fail(TaskIndex task, Value error) {
  disarm_deadline(task);
  const auto first_new = static_cast<TaskIndex>(rows.size());
  const bool handled = add_error_handler(task, error, false);
  rows.extra(task).error = std::move(error);
  rows.mark_errors(task);
  if (!handled) {
    finish(task, TaskState::error);
    return;
  }
  rows[task].flags |= delayed_error;
  plan(task, first_new);
}

// ---- Retry ---------------------------------------------------------------------------------------------------------------

std::int64_t Attempt::Impl::retries_of(TaskIndex task) const {
  const Value* count = rows[task].extra ? rows[task].extra->state.find("retry_count") : nullptr;
  return count && count->is_integer() ? count->as_integer() : 0;
}

std::optional<RetryControl> Attempt::Impl::allowed_retry(TaskIndex task, const Value& retry, Cause cause) {
  if (retry.is_null()) return std::nullopt;
  try {
    const RetryControl control = RetryControl::parse(retry);
    const bool meant = cause == Cause::timeout ? control.on_timeout : control.on_failure;
    if (meant && control.limit > retries_of(task)) return control;
  } catch (const Error&) {
    note(Note::Level::warn, task, "Ignore retry parameter because of invalid retry configuration.");
  }
  return std::nullopt;
}

bool Attempt::Impl::retry_operator(TaskIndex task, const Value& retry, const Value& error, Cause cause) {
  const auto control = allowed_retry(task, retry, cause);
  if (!control) return false;
  disarm_deadline(task);  // the next try has its own time
  Value state = rows.extra(task).state.is_object() ? rows.extra(task).state : Value::object();
  Object& keys = state.mutable_object();
  keys.erase("commandStatus");
  keys.set("retry_count", retries_of(task) + 1);
  const Value* message = error.find("message");
  if (message) keys.set("last_error", Value::object({{"message", *message}}));
  wait_for_retry(task, TaskState::retry_waiting, *control, std::move(state));
  return true;
}

void Attempt::Impl::wait_for_retry(TaskIndex task, TaskState state, const RetryControl& control, Value state_params) {
  TaskExtra& extra = rows.extra(task);
  extra.retry_at = now.plus_seconds(control.interval_after(retries_of(task)));
  extra.state = std::move(state_params);
  extra.last_child_before_retry = rows[task].last_child;
  ++rows[task].retry_count;
  timers.set(Timers::Kind::retry, task, *extra.retry_at);
  set_state(task, state);
}

void Attempt::Impl::retry_now(TaskIndex task) {
  TaskExtra& extra = rows.extra(task);
  extra.retry_at.reset();
  if (rows[task].state == TaskState::retry_waiting) {
    run_operator(task, false);
    return;
  }
  // Another try of the whole task: what is left of the last one does not count any more.
  const TaskIndex last = extra.last_child_before_retry;
  extra.error = Value();
  extra.timed_out = extra.failed_itself = extra.check_was_added = false;
  scopes.erase(task);
  if (!rows[task].group) {
    extra.starts_generation = true;
    run_operator(task, false);
    return;
  }
  if (const auto problem = copy_children(task)) {
    extra.error = error_object(*problem);
    extra.failed_itself = extra.retry_is_impossible = true;
    rows.mark_errors(task);
  }
  plan(task, last == no_task ? rows[task].first_child : rows[last].next_sibling);
  arm_deadline(task);
}

// ---- Time limits ---------------------------------------------------------------------------------------------------------

void Attempt::Impl::arm_deadline(TaskIndex task) {
  if (!rows[task].has_reserved_keys) return;
  const Value* timeout = rows[task].local.find("_timeout");
  if (!timeout || timeout->is_null() || (rows[task].extra && rows[task].extra->deadline)) return;
  try {
    const Instant deadline = now.plus_seconds(TimeLimit::parse(*timeout).seconds);
    rows.extra(task).deadline = deadline;
    timers.set(Timers::Kind::deadline, task, deadline);
  } catch (const Error& e) {
    if (rows[task].lease <= 1) note(Note::Level::warn, task, "Ignore _timeout: " + e.message());
  }
}

void Attempt::Impl::disarm_deadline(TaskIndex task) {
  TaskExtra* extra = rows[task].extra.get();
  if (!extra || !extra->deadline) return;
  timers.clear(Timers::Kind::deadline, task, *extra->deadline);
  extra->deadline.reset();
}

void Attempt::Impl::time_out(TaskIndex task) {
  const TimeLimit limit = TimeLimit::parse(*rows[task].local.find("_timeout"));
  TaskExtra& extra = rows.extra(task);
  extra.deadline.reset();
  extra.timed_out = true;
  switch (rows[task].state) {
    case TaskState::running: stop_run(task, limit.grace_seconds); break;
    case TaskState::retry_waiting:
      timers.clear(Timers::Kind::retry, task, *extra.retry_at);
      extra.retry_at.reset();
      fail_timed_out(task, std::exchange(extra.evaluated_retry, Value()));
      break;
    default:  // planned: its children are what takes too long
      extra.failed_itself = true;
      extra.error = Value::object({{"message", limit.message()}});
      rows.mark_errors(task);
      touch(task);
      cancel_descendants(task, limit.grace_seconds);
      if (rows[task].progressing_children == 0) settle_later(task);
  }
}

void Attempt::Impl::fail_timed_out(TaskIndex task, const Value& evaluated_retry) {
  rows.extra(task).timed_out = false;
  const Value error = Value::object({{"message", TimeLimit::parse(*rows[task].local.find("_timeout")).message()}});
  const Value retry = evaluated_retry.is_null() ? own(task, "_retry") : evaluated_retry;
  if (!retry_operator(task, retry, error, Cause::timeout)) fail(task, error);
}

// ---- Kill ----------------------------------------------------------------------------------------------------------------

void Attempt::Impl::request_cancel(TaskIndex task, std::optional<std::int64_t> grace) {
  rows[task].flags |= cancel_requested;
  touch(task);
  disarm_deadline(task);
  switch (rows[task].state) {
    case TaskState::running: stop_run(task, grace); break;
    case TaskState::retry_waiting:
    case TaskState::group_retry_waiting: {
      TaskExtra& extra = rows.extra(task);
      timers.clear(Timers::Kind::retry, task, *extra.retry_at);
      extra.retry_at.reset();
      const bool polls = rows[task].state == TaskState::retry_waiting;
      if (polls && options.has_cleanup && options.has_cleanup(dig::operator_of(rows[task].local))) {
        run_operator(task, true);
      } else {
        cancel(task);
      }
      break;
    }
    case TaskState::planned:
      if (rows[task].progressing_children == 0) settle_later(task);
      break;
    default: break;  // blocked: canceled when its turn comes (spec/execution.md 14.3)
  }
}

void Attempt::Impl::cancel_descendants(TaskIndex task, std::optional<std::int64_t> grace) {
  std::vector<TaskIndex> open;
  rows.visit_tree(task, [&](TaskIndex i) {
    if (is_done(rows[i].state)) return false;
    if (i != task) open.push_back(i);
    return true;
  });
  for (const TaskIndex i : open) {
    if (!rows[i].cancel_is_requested()) request_cancel(i, grace);
  }
}

void Attempt::Impl::cancel(TaskIndex task) {
  const Value* wanted = rows[task].local.find("_error_on_cancel");
  const bool considered = rows[task].extra && rows[task].extra->handler_was_considered;
  const bool failed_before = (rows[task].flags & (delayed_error | delayed_group_error)) != 0;
  if (killed && wanted && wanted->is_boolean() && wanted->as_boolean() && !considered && !failed_before) {
    rows.extra(task).handler_was_considered = true;
    const auto first_new = static_cast<TaskIndex>(rows.size());
    Value error = Value::object({{"message", "killed"}});
    if (add_error_handler(task, error, false)) {
      plan(task, first_new);
      return;
    }
  }
  finish(task, TaskState::canceled);
}

void Attempt::Impl::stop_run(TaskIndex task, std::optional<std::int64_t> grace_seconds) {
  if (std::exchange(rows[task].stop_was_sent, true)) return;
  outcome.effects.push_back(Stop{task, rows[task].lease, grace_seconds ? grace_seconds : kill_grace(task)});
}

std::optional<std::int64_t> Attempt::Impl::kill_grace(TaskIndex task) const {
  for (TaskIndex i = task; i != no_task; i = rows[i].parent) {
    const Value* grace = rows[i].local.find("_kill_grace");
    if (!grace || grace->is_null()) continue;
    try {
      return parse_kill_grace(*grace);
    } catch (const Error&) {
      continue;  // a broken one is as good as none: the kill must not fail for it
    }
  }
  return std::nullopt;
}

}  // namespace digdag::engine
