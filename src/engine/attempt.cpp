#include "engine/attempt.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/attempt_impl.h"
#include "engine/stored_task.h"

namespace digdag::engine {

std::optional<Timers::Due> Timers::take(Instant now) {
  if (due_.empty() || due_.begin()->millis > now.millis) return std::nullopt;
  const Due due = *due_.begin();
  due_.erase(due_.begin());
  return due;
}

// ---- Life ----------------------------------------------------------------------------------------------------------------

Attempt::Attempt(const dig::TaskTree& workflow, Params params, TimeZone zone, AttemptOptions options, ResumedTasks resumed)
    : impl_(std::make_unique<Impl>()) {
  impl_->base = std::move(params);
  impl_->zone = std::move(zone);
  impl_->options = options;
  impl_->pool = std::move(resumed);
  // The root is counted twice, as the original does (spec/decisions.md L-19).
  if (auto problem = impl_->limit_problem(1, workflow.tasks.size(), false)) throw std::move(*problem);
  impl_->rows.insert(workflow, no_task, initial_task);
  const Value* sla = impl_->rows[0].local.find("sla");
  if (sla) impl_->monitor = SessionMonitor::parse(*sla);
  impl_->take_over(0);
}

Attempt::Attempt(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Attempt::~Attempt() = default;
Attempt::Attempt(Attempt&&) noexcept = default;
Attempt& Attempt::operator=(Attempt&&) noexcept = default;

void Attempt::count_sla_from(Instant run_time) {
  if (impl_->monitor) impl_->monitor_due = impl_->monitor->due(run_time, impl_->zone);
}

void Attempt::continue_monitor(const StoredMonitor& stored) {
  if (impl_->monitor) impl_->monitor_due = Instant::of_seconds(stored.next_run_time);
}

Outcome Attempt::start(Instant now) {
  if (impl_->started || impl_->done()) return {};
  impl_->started = true;
  impl_->now = now;
  for (std::size_t i = 0; i < impl_->rows.size(); ++i) {
    Task& row = impl_->rows[static_cast<TaskIndex>(i)];
    const std::int64_t of_source = row.updated_at;
    impl_->touch(static_cast<TaskIndex>(i));
    if (of_source != Task::never) row.updated_at = of_source;  // taken over
  }
  if (impl_->monitor) {
    if (!impl_->monitor_due) count_sla_from(now);
    impl_->timers.set(Timers::Kind::monitor, 0, *impl_->monitor_due);
  }
  impl_->releasable.push_back(0);
  impl_->propagate();
  return impl_->conclude();
}

Outcome Attempt::apply(const Event& event, Instant now) {
  const bool kill = std::holds_alternative<Kill>(event);
  if (impl_->done() || (!impl_->started && !kill)) return {};
  impl_->now = std::max(impl_->now, now);
  std::visit([this](const auto& e) { impl_->on(e); }, event);
  impl_->propagate();
  return impl_->conclude();
}

Outcome Attempt::Impl::conclude() {
  std::sort(outcome.changed.begin(), outcome.changed.end());
  std::sort(outcome.results_changed.begin(), outcome.results_changed.end());
  for (const TaskIndex task : outcome.changed) rows[task].is_changed = rows[task].results_changed = false;
  const auto task_of = [](const Effect& effect) { return std::visit([](const auto& e) { return e.task; }, effect); };
  std::stable_sort(outcome.effects.begin(), outcome.effects.end(),
                   [&](const Effect& a, const Effect& b) { return task_of(a) < task_of(b); });
  if (done()) {
    outcome.finished = true;
    timers.clear();
    scopes.clear();
    pool.clear();
  }
  return std::exchange(outcome, Outcome{});
}

// ---- Events --------------------------------------------------------------------------------------------------------------

bool Attempt::Impl::is_current(TaskIndex task, Lease lease) const {
  return task >= 0 && static_cast<std::size_t>(task) < rows.size() && rows[task].state == TaskState::running && rows[task].lease == lease;
}

void Attempt::Impl::on(const Succeeded& event) {
  if (!is_current(event.task, event.lease)) return;
  if (rows[event.task].cancel_is_requested()) {
    cancel(event.task);
  } else if (rows[event.task].extra && rows[event.task].extra->timed_out) {
    fail_timed_out(event.task, event.retry);
  } else {
    succeed(event.task, event.result);
  }
}

void Attempt::Impl::on(const Failed& event) {
  if (!is_current(event.task, event.lease)) return;
  if (rows[event.task].cancel_is_requested()) {
    cancel(event.task);
  } else if (rows[event.task].extra && rows[event.task].extra->timed_out) {
    fail_timed_out(event.task, event.retry);
  } else if (!event.retryable || !retry_operator(event.task, event.retry, event.error, Cause::failure)) {
    fail(event.task, event.error);
  }
}

void Attempt::Impl::on(const RetryLater& event) {
  if (!is_current(event.task, event.lease)) return;
  Task& task = rows[event.task];
  if (task.cleans_up) {
    cancel(event.task);
    return;
  }
  if (task.cancel_is_requested()) {
    rows.extra(event.task).state = event.state;  // what there is to clean up
    ++task.retry_count;
    if (options.has_cleanup && options.has_cleanup(dig::operator_of(task.local))) {
      run_operator(event.task, true);
    } else {
      cancel(event.task);
    }
    return;
  }
  if (task.extra && task.extra->timed_out) {
    fail_timed_out(event.task, event.retry);
    return;
  }
  if (auto problem = size_problem(TaskResult{}, event.state)) {
    fail(event.task, error_object(*problem));
    return;
  }
  TaskExtra& extra = rows.extra(event.task);
  extra.state = event.state;
  if (extra.deadline) extra.evaluated_retry = event.retry;
  extra.retry_at = now.plus_millis(event.delay_millis);
  ++task.retry_count;
  task.lost_runs = 0;
  timers.set(Timers::Kind::retry, event.task, *extra.retry_at);
  set_state(event.task, TaskState::retry_waiting);
}

void Attempt::Impl::on(const Wake& event) {
  if (event.task < 0 || static_cast<std::size_t>(event.task) >= rows.size()) return;
  const Task& task = rows[event.task];
  if (task.state != TaskState::retry_waiting || task.lease != event.lease) return;
  TaskExtra& extra = rows.extra(event.task);
  if (*extra.retry_at <= now) return;
  timers.clear(Timers::Kind::retry, event.task, *extra.retry_at);
  extra.retry_at = now;
  timers.set(Timers::Kind::retry, event.task, now);
  touch(event.task);
}

void Attempt::Impl::on(const Kill&) {
  killed = true;
  if (!started) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!is_done(rows[static_cast<TaskIndex>(i)].state)) rows[static_cast<TaskIndex>(i)].flags |= cancel_requested;
      touch(static_cast<TaskIndex>(i));
    }
    started = true;
    finish(0, TaskState::canceled);
    return;
  }
  const auto count = static_cast<TaskIndex>(rows.size());  // handlers that come into being now are not meant
  for (TaskIndex i = 0; i < count; ++i) {
    if (!is_done(rows[i].state) && !rows[i].cancel_is_requested()) request_cancel(i);
  }
}

void Attempt::Impl::on(const Tick&) {
  while (!done()) {
    const auto due = timers.take(now);
    if (!due) return;
    switch (due->kind) {
      case Timers::Kind::deadline: time_out(due->task); break;
      case Timers::Kind::retry: retry_now(due->task); break;
      case Timers::Kind::monitor:
        monitor_due.reset();
        add_monitor_tasks();
        break;
    }
    propagate();
  }
}

void Attempt::Impl::on(const RetryEvaluated& event) {
  if (event.task < 0 || static_cast<std::size_t>(event.task) >= rows.size()) return;
  TaskExtra* extra = rows[event.task].extra.get();
  if (!extra || !extra->awaits_retry || rows[event.task].state != TaskState::planned || rows[event.task].cancel_is_requested()) return;
  extra->awaits_retry = false;
  extra->retry_is_evaluated = true;
  extra->evaluated_retry = event.retry;
  if (event.retry.is_null()) ignore_retry(event.task, event.problem);
  settle_later(event.task);
}

void Attempt::Impl::on(const LimitsEvaluated& event) {
  if (!is_current(event.task, event.lease) || rows[event.task].cancel_is_requested()) return;
  Value& limits = rows.extra(event.task).evaluated_limits;
  if (!limits.is_null()) return;
  limits = event.limits;
  arm_deadline(event.task, Instant{rows[event.task].updated_at});  // when the run began: nothing touches a task while it runs
  touch(event.task);
}

void Attempt::Impl::on(const Lost& event) {
  if (!is_current(event.task, event.lease)) return;
  Task& task = rows[event.task];
  if (task.cancel_is_requested()) {
    if (!task.cleans_up && options.has_cleanup && options.has_cleanup(dig::operator_of(task.local))) {
      run_operator(event.task, true);
    } else {
      cancel(event.task);
    }
  } else if (task.extra && task.extra->timed_out) {
    fail_timed_out(event.task, Value());
  } else if (++task.lost_runs >= options.max_lost_runs) {
    fail(event.task, error_object(Error("agent lost", fmt::format("Task lost its agent {} times", task.lost_runs))));
  } else {
    const std::int64_t first_start = task.updated_at;  // the clock of its time limit goes on
    run_operator(event.task, false);
    task.updated_at = first_start;
  }
}

// ---- Reading -------------------------------------------------------------------------------------------------------------

std::optional<Instant> Attempt::next_tick() const { return impl_->timers.next(); }
bool Attempt::done() const { return impl_->done(); }
bool Attempt::success() const { return impl_->rows[0].state == TaskState::success; }
bool Attempt::cancel_was_requested() const { return impl_->killed; }
Params Attempt::params_of(TaskIndex task) const { return impl_->params_of(task); }
std::optional<std::int64_t> Attempt::kill_grace(TaskIndex task) const { return impl_->kill_grace(task); }

std::size_t Attempt::size() const { return impl_->rows.size(); }
TaskState Attempt::state(TaskIndex task) const { return impl_->rows[task].state; }
std::uint8_t Attempt::flags(TaskIndex task) const { return impl_->rows[task].flags; }
Lease Attempt::lease(TaskIndex task) const { return impl_->rows[task].lease; }
TaskIndex Attempt::parent(TaskIndex task) const { return impl_->rows[task].parent; }
bool Attempt::is_group(TaskIndex task) const { return impl_->rows[task].group; }
std::string Attempt::full_name(TaskIndex task) const { return impl_->rows.full_name(task); }
const Value& Attempt::local(TaskIndex task) const { return impl_->rows[task].local; }
const Value& Attempt::export_config(TaskIndex task) const { return impl_->rows[task].export_config; }
Position Attempt::position(TaskIndex task) const { return impl_->rows[task].position; }

Value Attempt::state_params(TaskIndex task) const {
  const auto& extra = impl_->rows[task].extra;
  return extra && !extra->state.is_null() ? extra->state : Value::object();
}

std::int64_t Attempt::retry_count(TaskIndex task) const { return impl_->rows[task].retry_count; }

std::optional<Instant> Attempt::retry_at(TaskIndex task) const {
  const auto& extra = impl_->rows[task].extra;
  return extra ? extra->retry_at : std::nullopt;
}

namespace {
std::optional<Instant> instant_of(std::int64_t millis) { return millis == Task::never ? std::nullopt : std::optional(Instant{millis}); }
}  // namespace

std::optional<Instant> Attempt::started_at(TaskIndex task) const { return instant_of(impl_->rows[task].started_at); }
std::optional<Instant> Attempt::updated_at(TaskIndex task) const { return instant_of(impl_->rows[task].updated_at); }
const TaskResult* Attempt::result(TaskIndex task) const { return impl_->rows[task].result.get(); }

Value Attempt::error(TaskIndex task) const {
  const auto& extra = impl_->rows[task].extra;
  return extra && !extra->error.is_null() ? extra->error : Value::object();
}

std::vector<TaskIndex> Attempt::upstreams(TaskIndex task) const { return impl_->rows.upstreams(task); }
bool Attempt::in_handler(TaskIndex task) const { return impl_->rows[task].in_handler; }

std::vector<TaskIndex> Attempt::newest_rows() const {
  std::unordered_map<std::string, TaskIndex> newest;
  for (std::size_t i = 0; i < size(); ++i) newest[full_name(static_cast<TaskIndex>(i))] = static_cast<TaskIndex>(i);
  std::vector<TaskIndex> result;
  result.reserve(newest.size());
  for (const auto& [name, task] : newest) result.push_back(task);
  std::sort(result.begin(), result.end());
  return result;
}

// ---- Helpers of all parts ------------------------------------------------------------------------------------------------

Value Attempt::Impl::own(TaskIndex task, std::string_view key) const {
  if (!rows[task].has_reserved_keys) return {};
  const Value* local = rows[task].local.find(key);
  const Value* exported = rows[task].export_config.find(key);
  if (!exported) return local ? *local : Value();
  if (!local) return *exported;
  Value merged = *exported;
  merge(merged, *local);
  return merged;
}

Value Attempt::Impl::own_object(TaskIndex task, std::string_view key) const {
  if (!rows[task].has_reserved_keys || (!rows[task].local.find(key) && !rows[task].export_config.find(key))) return Value::object();
  Value value = own(task, key);
  if (!value.is_object()) throw config_error("Parameter '" + std::string(key) + "' must be an object");
  return value;
}

Value error_object(const Error& error) { return Value::object({{"message", error.message_with_kind()}, {"stacktrace", ""}}); }

bool is_empty_object(const Value& value) { return value.is_null() || (value.is_object() && value.as_object().empty()); }

}  // namespace digdag::engine
