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
  touch_results(task);
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
  } catch (const Error& error) {
    ignore_retry(task, error.message());
  }
  return std::nullopt;
}

void Attempt::Impl::ignore_retry(TaskIndex task, const std::string& problem) {
  note(Note::Kind::warning, task,
       "Ignore retry parameter because of invalid retry configuration." + (problem.empty() ? "" : " " + problem));
}

bool Attempt::Impl::retry_operator(TaskIndex task, const Value& retry, const Value& error, Cause cause) {
  const auto control = allowed_retry(task, retry, cause);
  if (!control) return false;
  disarm_deadline(task);  // the next try has its own time
  Value& state = rows.extra(task).state;
  if (state.is_object()) state.mutable_object().erase("commandStatus");
  wait_for_retry(task, TaskState::retry_waiting, *control, error);
  return true;
}

void Attempt::Impl::wait_for_retry(TaskIndex task, TaskState state, const RetryControl& control, const Value& error) {
  TaskExtra& extra = rows.extra(task);
  const std::int64_t retries = retries_of(task);
  extra.retry_at = now.plus_seconds(control.interval_after(retries));
  if (!extra.state.is_object()) extra.state = Value::object();
  Object& state_params = extra.state.mutable_object();
  state_params.set("retry_count", retries + 1);
  if (const Value* message = error.find("message")) state_params.set("last_error", Value::object({{"message", *message}}));
  extra.evaluated_limits = Value();  // each try has its own
  extra.last_child_before_retry = rows[task].last_child;
  ++rows[task].retry_count;
  rows[task].lost_runs = 0;
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
  if (!extra.error.is_null()) touch_results(task);
  extra.error = Value();
  extra.timed_out = extra.failed_itself = extra.check_was_added = false;
  rows[task].error_children = 0;
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
    touch_results(task);
  }
  plan(task, last == no_task ? rows[task].first_child : rows[last].next_sibling);
  arm_deadline(task, now);
}

// ---- Time limits ---------------------------------------------------------------------------------------------------------

Value Attempt::Impl::limit_key(TaskIndex task, std::string_view key) const {
  if (!rows[task].has_reserved_keys) return {};
  const TaskExtra* extra = rows[task].extra.get();
  const Value* evaluated = extra && extra->evaluated_limits.is_object() ? extra->evaluated_limits.find(key) : nullptr;
  const Value* found = evaluated ? evaluated : rows[task].local.find(key);
  return found ? *found : Value();
}

/// None where it cannot be read: then the compiler refused it (groups), or the run will fail for it or tell what it means.
std::optional<dig::TimeLimit> Attempt::Impl::time_limit(TaskIndex task) const {
  const Value timeout = limit_key(task, "_timeout");
  if (timeout.is_null()) return std::nullopt;
  try {
    return dig::TimeLimit::parse(timeout);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void Attempt::Impl::arm_deadline(TaskIndex task, Instant since) {
  if (rows[task].extra && (rows[task].extra->deadline || rows[task].extra->timed_out)) return;
  const auto limit = time_limit(task);
  if (!limit) return;
  const Instant deadline = since.plus_seconds(limit->seconds);
  rows.extra(task).deadline = deadline;
  timers.set(Timers::Kind::deadline, task, deadline);
}

void Attempt::Impl::disarm_deadline(TaskIndex task) {
  TaskExtra* extra = rows[task].extra.get();
  if (!extra || !extra->deadline) return;
  timers.clear(Timers::Kind::deadline, task, *extra->deadline);
  extra->deadline.reset();
}

void Attempt::Impl::time_out(TaskIndex task) {
  const dig::TimeLimit limit = time_limit(task).value();
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
      touch_results(task);
      cancel_descendants(task, limit.grace_seconds);
      if (rows[task].progressing_children == 0) settle_later(task);
  }
}

void Attempt::Impl::fail_timed_out(TaskIndex task, const Value& evaluated_retry) {
  rows.extra(task).timed_out = false;
  const std::string message = time_limit(task).value().message();
  const Value error = Value::object({{"message", message}});
  const Value* own_retry = rows[task].local.find("_retry");
  const Value written = own_retry ? *own_retry : params_of(task).find("_retry");  // an inherited one counts, too (E-09)
  const Value& retry = evaluated_retry.is_null() ? written : evaluated_retry;
  if (retry_operator(task, retry, error, Cause::timeout)) {
    note(Note::Kind::retried_failure, task, message);
  } else {
    note(Note::Kind::failure, task, message);
    fail(task, error);
  }
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
  const bool considered = rows[task].extra && rows[task].extra->handler_was_considered;
  const bool failed_before = (rows[task].flags & (delayed_error | delayed_group_error)) != 0;
  if (killed && !considered && !failed_before && wants_handler_after_kill(task)) {
    rows.extra(task).handler_was_considered = true;
    rows.extra(task).timed_out = false;  // it ends by the kill
    const auto first_new = static_cast<TaskIndex>(rows.size());
    Value error = Value::object({{"message", "killed"}});
    if (add_error_handler(task, error, false)) {
      plan(task, first_new);
      return;
    }
  }
  finish(task, TaskState::canceled);
}

/// A template counts only where a run has evaluated it.
bool Attempt::Impl::wants_handler_after_kill(TaskIndex task) const {
  const Value wanted = limit_key(task, "_error_on_cancel");
  try {
    return !wanted.is_null() && convert_to_boolean(wanted, "_error_on_cancel");
  } catch (const Error&) {
    return false;
  }
}

void Attempt::Impl::stop_run(TaskIndex task, std::optional<std::int64_t> grace_seconds) {
  if (std::exchange(rows[task].stop_was_sent, true)) return;
  outcome.effects.push_back(Stop{task, rows[task].lease, grace_seconds ? grace_seconds : kill_grace(task)});
}

std::optional<std::int64_t> Attempt::Impl::kill_grace(TaskIndex task) const {
  for (TaskIndex i = task; i != no_task; i = rows[i].parent) {
    const Value grace = limit_key(i, "_kill_grace");
    if (grace.is_null()) continue;
    try {
      return dig::parse_kill_grace(grace);
    } catch (const Error&) {
      continue;  // a broken one is as good as none: the kill must not fail for it
    }
  }
  return std::nullopt;
}

}  // namespace digdag::engine
