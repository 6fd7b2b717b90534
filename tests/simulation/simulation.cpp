#include "simulation.h"

#include <algorithm>

#include "base/json.h"
#include "dig/compiler.h"
#include "stored_rows.h"

namespace digdag::simulation {

using engine::Event;
using engine::TaskIndex;
using engine::TaskState;

namespace {

/// Only what the specification fixes: `stacktrace` is free text (execution.md 10.5).
Value comparable_error(const Value& error) {
  if (!error.is_object()) return Value::object();
  Value copy = error;
  copy.mutable_object().erase("stacktrace");
  return copy;
}

/// Where a row may get to within one event: the rows of execution.md 5, any number of them.
bool reachable(TaskState from, TaskState to, bool group) {
  if (from == to) return true;
  if (engine::is_done(from)) return false;
  if (to == TaskState::blocked) return false;
  if (group && (to == TaskState::running || to == TaskState::retry_waiting || to == TaskState::error)) return false;
  // Nothing goes back to READY but from waiting for a retry, and an operator ends only by an answer or a kill.
  if (from == TaskState::blocked) {
    if (group) return true;
    return to == TaskState::ready || to == TaskState::running || to == TaskState::canceled;
  }
  return true;
}

std::string text_of(const std::map<std::pair<TaskIndex, engine::Lease>, std::optional<std::int64_t>>& stops) {
  std::string out;
  for (const auto& [run, grace] : stops) {
    out += " #" + std::to_string(run.first) + " lease " + std::to_string(run.second) + " grace " + (grace ? std::to_string(*grace) : "-");
  }
  return out;
}

std::string type_of(const Value& local) { return dig::operator_of(local); }

}  // namespace

// ---- The simulation -----------------------------------------------------------------------------------------------------

/// What is compared before and after an event.
struct Simulation::Seen {
  TaskState state;
  std::uint8_t flags;
  engine::Lease lease;
  std::int64_t retry_count;
  std::optional<Instant> retry_at, started_at;
  Value state_params, error, subtask_config, export_params, store_params;

  bool operator==(const Seen& other) const = default;
  bool same_results(const Seen& other) const {
    return error == other.error && subtask_config == other.subtask_config && export_params == other.export_params &&
           store_params == other.store_params;
  }
};

Simulation::Simulation(Setup setup, const Features& features, Random& random, std::string* log)
    : setup_(std::move(setup)),
      features_(features),
      random_(random),
      log_(log),
      engine_(setup_.tree, engine::Params().with(setup_.params), TimeZone(), setup_.options, setup_.pool),
      model_(setup_.tree, setup_.params, TimeZone(), setup_.options, setup_.resumed) {
  if (random_.chance(features_.kill_percent)) kill_at_ = random_.below(random_.chance(50) ? 6 : 40);
}

void Simulation::run() {
  const auto outcome = engine_.start(now_);
  events_.push_back({std::nullopt, now_, text_of(outcome)});
  log("start -> " + events_.back().answer);
  model_.start(now_);
  take(outcome, {});
  settle();
  for (int step = 0; !engine_.done(); ++step) {
    if (step > 20'000) disagree("the attempt does not end");
    if (step == kill_at_) kill();
    if (!engine_.done()) next_event();
  }
  final_checks();
}

void Simulation::next_event() {
  if (random_.chance(features_.leave_percent)) leave_memory();
  if (random_.chance(12)) stale_event();
  if (!polls_.empty() && random_.chance(10)) return wake();
  if (killed_ && random_.chance(3)) return kill();
  const auto due = engine_.next_tick();
  const int choices = static_cast<int>(in_flight_.size() + evaluations_.size());
  if (choices == 0 && !due) disagree("nothing is under way, no tick is due, and the attempt is not done");
  if (choices > 0 && (!due || random_.chance(80))) {
    // Anything under way may come next, whatever was started first; what is due before it happens before it.
    now_ = now_.plus_millis(random_.chance(70) ? random_.below(50) : random_.below(20'000));
    settle();
    if (engine_.done()) return;
    const auto pick = static_cast<std::size_t>(random_.below(static_cast<int>(in_flight_.size() + evaluations_.size())));
    if (in_flight_.empty() && evaluations_.empty()) return;
    if (pick < in_flight_.size() && random_.chance(features_.lost_percent)) return lose(pick);
    return pick < in_flight_.size() ? answer(pick) : answer_evaluation(pick - in_flight_.size());
  }
  if (random_.chance(15) && *due > now_) {
    must_change_nothing(engine::Tick{});  // early
  }
  now_ = std::max(now_, *due);
  if (features_.late_ticks) now_ = now_.plus_millis(random_.below(30'000));
  settle();
}

template <typename ToModel>
void Simulation::apply(const Event& event, ToModel to_model) {
  const auto before = look();
  const bool was_done = engine_.done();
  const auto outcome = engine_.apply(event, now_);
  events_.push_back({event, now_, text_of(outcome)});
  log(std::to_string(now_.millis - 1'700'000'000'000) + " " + text_of(event) + " -> " + events_.back().answer);
  if (outcome.finished != (!was_done && engine_.done())) disagree("`finished` is not said at the event that ends the attempt");
  to_model();
  take(outcome, before);
}

/// What is due happens: ticks until none is left that is due now.
void Simulation::settle() {
  for (int i = 0;; ++i) {
    const auto theirs = engine_.next_tick(), ours = model_.next_tick();
    if (!(theirs && *theirs <= now_) && !(ours && *ours <= now_)) break;
    if (i > 1000) disagree("ticks are due without end");
    apply(engine::Tick{}, [this] { model_.tick(now_); });
  }
  agree();
}

/// What a run finds where its time limits are templates; it says so once, before its end.
bool Simulation::tells_limits(const InFlight& run) {
  if (run.cleanup || !told_.insert({run.task, run.lease}).second) return false;
  Value limits = Value::object();
  for (const char* key : {"_timeout", "_kill_grace"}) {
    const Value* written = engine_.local(run.task).find(key);
    if (written && *written == Value("${n}"))
      limits.mutable_object().set(key, std::to_string(random_.between(1, 60)) + (random_.chance(50) ? "s" : ""));
  }
  if (limits.as_object().empty()) return false;
  const engine::LimitsEvaluated evaluated{run.task, run.lease, limits};
  apply(evaluated, [&] { model_.limits_evaluated(run.row, run.row_lease, limits, now_); });
  past_.push_back(evaluated);
  settle();
  return true;
}

void Simulation::answer(std::size_t which) {
  const InFlight run = in_flight_[which];
  if (tells_limits(run)) return;
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(which));
  const Value local = engine_.local(run.task);
  const std::string type = type_of(local);
  const bool enough = engine_.size() > 250;
  const bool fails = run.cleanup || type == "fail" || random_.chance(type == "notify" ? 10 : features_.fail_percent);
  const std::string name = engine_.full_name(run.task);
  // Unlike a group, an operator also honours a `_retry` that it inherits through `_export` (E-09).
  const Value inherited = engine_.params_of(run.task).find("_retry");
  // A run that was stopped may not have got as far as evaluating it.
  const bool unevaluated = stopped_.contains({run.task, run.lease}) && random_.chance(50);
  const Value retry = unevaluated ? Value() : evaluated_retry(name, local.find("_retry") ? *local.find("_retry") : inherited);
  Event event;
  if (fails && !enough) {
    engine::Failed failed{run.task, run.lease, random_error(), type == "sim" || type == "job", retry};
    apply(failed, [&] { model_.failed(run.row, run.row_lease, failed.error, failed.retryable, failed.retry, now_); });
    event = failed;
  } else if (features_.polls && !enough && !run.cleanup && random_.chance(30)) {
    // A poll replaces the state; most operators keep what they found there.
    Value state = random_.chance(80) ? engine_.state_params(run.task) : Value();
    if (!state.is_object()) state = Value::object();
    state.mutable_object().set("job", Value::object({{"polls", ++counter_}}));
    if (random_.chance(30)) state.mutable_object().set("commandStatus", Value::object({{"id", counter_}}));
    const std::int64_t delay = random_.chance(20) ? 0 : random_.below(30'000);
    engine::RetryLater later{run.task, run.lease, delay, state, retry};
    apply(later, [&] { model_.retry_later(run.row, run.row_lease, later.delay_millis, later.state, later.retry, now_); });
    polls_.push_back(run);
    event = later;
  } else {
    engine::Succeeded succeeded{run.task, run.lease, random_result(enough ? Value::object() : local), retry};
    apply(succeeded, [&] { model_.succeeded(run.row, run.row_lease, succeeded.result, succeeded.retry, now_); });
    event = succeeded;
  }
  settle();
  past_.push_back(event);
  if (random_.chance(10)) must_change_nothing(event);  // the same once more
}

void Simulation::answer_evaluation(std::size_t which) {
  const auto [task, row] = evaluations_[which];
  evaluations_.erase(evaluations_.begin() + static_cast<std::ptrdiff_t>(which));
  Value config = engine_.export_config(task);
  if (!config.is_object()) config = Value::object();
  merge(config, engine_.local(task));
  const Value retry = evaluated_retry(engine_.full_name(task), config.find("_retry") ? *config.find("_retry") : Value());
  const int of_model = row;
  apply(engine::RetryEvaluated{task, retry}, [&] { model_.retry_evaluated(of_model, retry, now_); });
  settle();
}

void Simulation::lose(std::size_t which) {
  const InFlight run = in_flight_[which];
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(which));
  const engine::Lost lost{run.task, run.lease};
  apply(lost, [&] { model_.lost(run.row, run.row_lease, run.cleanup, now_); });
  settle();
  past_.push_back(lost);
}

void Simulation::leave_memory() {
  const bool as_java = random_.chance(30);
  auto restored = engine_of_rows(engine_, setup_, now_, as_java);
  log(as_java ? "leaves memory, and comes back of rows such as Java writes" : "leaves memory, and comes back");
  std::set<TaskIndex> asked;
  std::map<std::pair<TaskIndex, engine::Lease>, std::optional<std::int64_t>> stops, expected;
  for (const auto& effect : restored.outcome.effects) {
    if (std::holds_alternative<engine::Run>(effect)) disagree("a run is wanted when it comes back");
    if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) asked.insert(evaluate->task);
    if (const auto* stop = std::get_if<engine::Stop>(&effect)) stops[{stop->task, stop->lease}] = stop->grace_seconds;
  }
  std::set<TaskIndex> open;
  for (const auto& [task, row] : evaluations_) {
    if (engine_.state(task) == TaskState::planned && !(engine_.flags(task) & engine::cancel_requested)) open.insert(task);
  }
  const auto waits_for_monitor = [this](TaskIndex root) {
    for (TaskIndex i = 1; i < static_cast<TaskIndex>(engine_.size()); ++i) {
      const auto state = engine_.state(i);
      if (engine_.parent(i) == root && !engine::is_done(state) && state != TaskState::blocked) return true;
    }
    return false;
  };
  // It will ask again when the monitor's tasks have ended: right, but not what the one in memory does.
  for (TaskIndex task : open) {
    if (waits_for_monitor(task)) return;
  }
  if (asked != open) disagree("it asks for the `_retry` of other groups when it comes back");
  for (const auto& [run, grace] : stopped_) {
    if (engine_.state(run.first) == TaskState::running && engine_.lease(run.first) == run.second) expected.emplace(run, grace);
  }
  for (auto& [run, grace] : stops) {
    // Its run may have told its `_kill_grace` after it was stopped.
    const auto wanted = expected.find(run);
    if (wanted != expected.end() && !wanted->second && grace == engine_.kill_grace(run.first)) grace.reset();
  }
  if (stops != expected) disagree("it stops other runs when it comes back: " + text_of(stops) + ", wanted " + text_of(expected));
  std::set<std::pair<TaskIndex, engine::Lease>> runs, in_flight;
  for (const auto& run : restored.attempt.running()) runs.insert({run.task, run.lease});
  for (const auto& run : in_flight_) in_flight.insert({run.task, run.lease});
  if (runs != in_flight) disagree("other runs are under way when it comes back");
  engine_ = std::move(restored.attempt);
}

/// What some poll waits for has happened, perhaps long after that poll's next run.
void Simulation::wake() {
  const auto which = static_cast<std::size_t>(random_.below(static_cast<int>(polls_.size())));
  const InFlight poll = polls_[which];
  polls_.erase(polls_.begin() + static_cast<std::ptrdiff_t>(which));
  apply(engine::Wake{poll.task, poll.lease}, [&] { model_.wake(poll.row, poll.row_lease, now_); });
  settle();
}

void Simulation::stale_event() {
  if (!past_.empty() && random_.chance(50)) {
    return must_change_nothing(past_[static_cast<std::size_t>(random_.below(static_cast<int>(past_.size())))]);
  }
  const auto task = static_cast<TaskIndex>(random_.below(static_cast<int>(engine_.size())));
  // A lease that is not the current one; of a task that does not run any lease is wrong.
  const auto current = engine_.lease(task);
  engine::Lease lease = engine_.state(task) == TaskState::running ? current + (random_.chance(50) ? 1u : ~0u) : current;
  if (random_.chance(10)) lease = engine_.state(task) == TaskState::running && current == 0 ? 7 : 0;
  if (engine_.state(task) == TaskState::running && lease == current) return;
  const int kind = random_.below(3);
  if (kind == 0) return must_change_nothing(engine::Succeeded{task, lease, random_result(Value::object())});
  if (kind == 1) return must_change_nothing(engine::Failed{task, lease, random_error(), true, Value(3)});
  must_change_nothing(engine::RetryLater{task, lease, 5, Value::object()});
}

void Simulation::must_change_nothing(const Event& event) {
  const auto before = look();
  const auto outcome = engine_.apply(event, now_);
  events_.push_back({event, now_, text_of(outcome)});
  log("without effect: " + text_of(event) + " -> " + events_.back().answer);
  if (!outcome.changed.empty() || !outcome.effects.empty() || outcome.finished || look() != before) {
    disagree("an event that does not apply changed something: " + text_of(event) + " -> " + text_of(outcome));
  }
}

void Simulation::kill() {
  killed_ = true;
  apply(engine::Kill{}, [this] { model_.kill(now_); });
  settle();
}

/// Remembers what is wanted, and checks the outcome against the rows before it.
void Simulation::take(const engine::Outcome& outcome, const std::vector<Seen>& before) {
  const auto& changed = outcome.changed;
  if (!std::is_sorted(changed.begin(), changed.end()) || std::adjacent_find(changed.begin(), changed.end()) != changed.end()) {
    disagree("`changed` is not ascending, each once");
  }
  const auto after = look();
  for (std::size_t i = 0; i < after.size(); ++i) {
    const bool listed = std::binary_search(changed.begin(), changed.end(), static_cast<TaskIndex>(i));
    const bool is_new = i >= before.size();
    if (!listed && !before.empty() && (is_new || !(before[i] == after[i])))
      disagree("row " + std::to_string(i) + " changed but is not in `changed`");
    if (!is_new && !before.empty() && !before[i].same_results(after[i]) &&
        !std::binary_search(outcome.results_changed.begin(), outcome.results_changed.end(), static_cast<TaskIndex>(i)))
      disagree("the result of row " + std::to_string(i) + " changed but is not in `results_changed`");
    if (!is_new && before[i].state != after[i].state && engine_.updated_at(static_cast<TaskIndex>(i)) != now_) {
      disagree("row " + std::to_string(i) + " changed its state without updated_at");
    }
    if (!is_new && !reachable(before[i].state, after[i].state, engine_.is_group(static_cast<TaskIndex>(i)))) {
      disagree("row " + std::to_string(i) + " " + engine_.full_name(static_cast<TaskIndex>(i)) + " went from " + text_of(before[i].state) +
               " to " + text_of(after[i].state));
    }
  }
  TaskIndex last_run = engine::no_task;
  for (const auto& effect : outcome.effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      if (run->task <= last_run) disagree("runs are not wanted in order of ids");
      last_run = run->task;
      if (engine_.state(run->task) != TaskState::running) disagree("a run is wanted of a task that is not running");
      if (engine_.lease(run->task) != run->lease) disagree("a run is wanted with a lease that is not the task's");
      if (!engine_runs_.emplace(run->task, Runs{run->lease, run->cleanup}).second) disagree("two runs are wanted of one task");
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      if (engine_.state(stop->task) != TaskState::running || engine_.lease(stop->task) != stop->lease)
        disagree("a stop of what does not run");
      stopped_[{stop->task, stop->lease}] = stop->grace_seconds;
    } else if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) {
      engine_evaluations_.insert(evaluate->task);
    }
  }
}

std::vector<Simulation::Seen> Simulation::look() const {
  std::vector<Seen> rows;
  rows.reserve(engine_.size());
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(engine_.size()); ++i) {
    const auto* result = engine_.result(i);
    rows.push_back({engine_.state(i), engine_.flags(i), engine_.lease(i), engine_.retry_count(i), engine_.retry_at(i),
                    engine_.started_at(i), engine_.state_params(i), engine_.error(i), result ? result->subtask_config : Value(),
                    result ? result->export_params : Value(), result ? result->store_params : Value()});
  }
  return rows;
}

// ---- Agreement ----------------------------------------------------------------------------------------------------------

void Simulation::learn_rows() {
  for (auto i = static_cast<TaskIndex>(task_keys_.size()); i < static_cast<TaskIndex>(engine_.size()); ++i) {
    const std::string name = engine_.full_name(i);
    task_keys_.push_back(name + "#" + std::to_string(task_counts_[name]++));
    task_of_key_[task_keys_.back()] = i;
  }
  for (int i = static_cast<int>(row_keys_.size()); i < static_cast<int>(model_.rows().size()); ++i) {
    const std::string& name = model_.rows()[static_cast<std::size_t>(i)].full_name;
    row_keys_.push_back(name + "#" + std::to_string(row_counts_[name]++));
    row_of_key_[row_keys_.back()] = i;
  }
}

void Simulation::agree() {
  learn_rows();
  for (const auto& [key, row] : row_of_key_) {
    if (!task_of_key_.count(key))
      disagree("the engine lacks " + key + ", which is " + text_of(model_.rows()[static_cast<std::size_t>(row)].state));
  }
  for (const auto& [key, task] : task_of_key_) {
    if (!row_of_key_.count(key)) disagree("the engine has " + key + " (" + text_of(engine_.state(task)) + "), the model has not");
  }
  for (const auto& [key, task] : task_of_key_) agree_on_row(task, row_of_key_[key]);
  agree_on_runs();
  if (engine_.done() != model_.done()) disagree("only one of both is done");
  if (engine_.done() && engine_.success() != model_.success()) disagree("success differs");
  if (engine_.cancel_was_requested() != model_.cancel_was_requested()) disagree("cancel_was_requested differs");
  const auto theirs = engine_.next_tick(), ours = model_.next_tick();
  if (theirs != ours) disagree("the next tick is due at " + text_of(theirs) + ", by the model at " + text_of(ours));
}

void Simulation::agree_on_row(TaskIndex task, int index) {
  const Row& row = model_.rows()[static_cast<std::size_t>(index)];
  const std::string& key = task_keys_[static_cast<std::size_t>(task)];
  auto same = [&](const char* what, const auto& theirs, const auto& ours) {
    if (theirs != ours) disagree(std::string(what) + " of " + key + ": engine " + theirs + ", model " + ours);
  };
  same("state", text_of(engine_.state(task)), text_of(row.state));
  // Nothing fixes INITIAL_TASK of what was taken over with a task.
  const int mask = row.resumed ? ~engine::initial_task : ~0;
  same("flags", std::to_string(engine_.flags(task) & mask), std::to_string(row.flags & mask));
  same("kind", std::string(engine_.is_group(task) ? "group" : "operator"), std::string(row.group ? "group" : "operator"));
  same("retry_count", std::to_string(engine_.retry_count(task)), std::to_string(row.retry_count));
  same("retry_at", text_of(engine_.retry_at(task)), text_of(row.retry_at));
  if (!(row.group && row.resumed)) same("started_at", text_of(engine_.started_at(task)), text_of(row.started_at));
  same("state_params", text_of(engine_.state_params(task)), text_of(row.state_params));
  same("error", text_of(comparable_error(engine_.error(task))), text_of(comparable_error(row.error)));
  const auto* result = engine_.result(task);
  same("store_params", result ? text_of(result->store_params) : "{}", text_of(row.store_params));
  same("export_params", result ? text_of(result->export_params) : "{}", text_of(row.export_params));
  same("subtask_config", result ? text_of(result->subtask_config) : "{}", text_of(row.subtask_config));
}

void Simulation::agree_on_runs() {
  const auto wanted = model_.take_wanted();
  std::set<TaskIndex> matched;
  for (const auto& run : wanted.runs) {
    const std::string& key = row_keys_[static_cast<std::size_t>(run.row)];
    const TaskIndex task = task_of_key_[key];
    auto found = engine_runs_.find(task);
    if (found == engine_runs_.end()) disagree("the engine does not run " + key);
    if (found->second.lease != model_.rows()[static_cast<std::size_t>(run.row)].lease)
      disagree("the lease of " + key + " does not count its runs");
    if (found->second.cleanup != run.cleanup) disagree(key + (run.cleanup ? " has to clean up" : " does not have to clean up"));
    matched.insert(task);
    const Row& row = model_.rows()[static_cast<std::size_t>(run.row)];
    for (auto up : engine_.upstreams(task)) {
      if (engine_.state(up) != TaskState::success)
        disagree(key + " runs before " + task_keys_[static_cast<std::size_t>(up)] + " succeeded");
    }
    std::set<std::string> theirs, ours;
    for (auto up : engine_.upstreams(task)) theirs.insert(key_of(up));
    for (auto up : row.upstreams) ours.insert(row_keys_[static_cast<std::size_t>(up)]);
    if (theirs != ours) disagree("upstreams of " + key + " differ");
    const auto of_engine = to_json(engine_.params_of(task).to_value()), of_model = to_json(model_.params_of(run.row));
    if (setup_.params_are_fixed && of_engine != of_model)
      disagree("params of " + key + ":\n  engine " + of_engine + "\n  model  " + of_model);
    in_flight_.push_back({task, found->second.lease, run.row, row.lease, run.cleanup});
    if (!run.cleanup) ran_.insert(key);
  }
  for (const auto& [task, run] : engine_runs_) {
    if (!matched.count(task)) disagree("the engine runs " + key_of(task) + ", which should not");
  }
  for (auto row : wanted.evaluations) {
    const TaskIndex task = task_of_key_[row_keys_[static_cast<std::size_t>(row)]];
    if (!engine_evaluations_.erase(task)) disagree("the engine does not ask for the `_retry` of " + key_of(task));
    evaluations_.emplace_back(task, row);
  }
  for (auto task : engine_evaluations_) disagree("the engine asks for the `_retry` of " + key_of(task) + " without need");
  for (const auto& stop : wanted.stops) {
    model_stopped_[{task_of_key_[row_keys_[static_cast<std::size_t>(stop.row)]], stop.lease}] = stop.grace_seconds;
  }
  if (stopped_ != model_stopped_)
    disagree("other runs are stopped, or with another grace: " + text_of(stopped_) + ", by the model " + text_of(model_stopped_));
  engine_runs_.clear();
  engine_evaluations_.clear();
}

void Simulation::final_checks() {
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(engine_.size()); ++i) {
    const auto state = engine_.state(i);
    if (!engine::is_done(state) && state != TaskState::blocked)
      disagree("the attempt is done while " + key_of(i) + " is " + text_of(state));
  }
  for (const auto& [key, row] : row_of_key_) {
    if (model_.rows()[static_cast<std::size_t>(row)].resumed) continue;  // nobody asks what it saw
    const TaskIndex task = task_of_key_[key];
    const auto of_engine = to_json(engine_.params_of(task).to_value()), of_model = to_json(model_.params_of(row));
    if (setup_.params_are_fixed && of_engine != of_model)
      disagree("params of " + key + " at the end:\n  engine " + of_engine + "\n  model  " + of_model);
  }
  std::map<std::string, TaskIndex> newest;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(engine_.size()); ++i) newest[engine_.full_name(i)] = i;
  std::set<TaskIndex> newest_rows;
  for (const auto& [name, task] : newest) newest_rows.insert(task);
  const auto of_engine = engine_.newest_rows();
  if (!std::equal(newest_rows.begin(), newest_rows.end(), of_engine.begin(), of_engine.end())) disagree("newest_rows are others");
  if (engine_.next_tick()) disagree("a tick is due though the attempt is done");
  must_change_nothing(engine::Kill{});
  must_change_nothing(engine::Tick{});
  for (int i = 0; i < 3; ++i) stale_event();
}

void Simulation::disagree(const std::string& what) const {
  if (log_) {
    *log_ += "---- the model\n";
    for (const Row& row : model_.rows()) {
      *log_ +=
          text_of(row.state) + " " + row.full_name + " flags " + std::to_string(row.flags) + " lease " + std::to_string(row.lease) + "\n";
    }
    *log_ += "---- the engine\n" + picture_of(engine_);
  }
  throw Disagreement(what);
}

void Simulation::log(const std::string& line) {
  if (!log_) return;
  *log_ += line + "\n";
}

// ---- Fake operators -----------------------------------------------------------------------------------------------------

engine::TaskResult Simulation::random_result(const Value& local) {
  engine::TaskResult result;
  if (features_.stores && random_.chance(60)) result.store_params = random_params(random_, counter_);
  if (features_.stores && random_.chance(15)) result.export_params = random_params(random_, counter_);
  if (features_.resets && random_.chance(25)) {
    const char* keys[] = {"m", "m.a", "m.deep.x", "k0", "k1", "k2.x", "nothing"};
    for (int n = random_.between(1, 2); n > 0; --n) result.reset_store_params.emplace_back(keys[random_.below(7)]);
  }
  if (const Value* subtasks = local.find("_do")) {
    const int kind = random_.below(100);
    if (kind < 80) result.subtask_config = *subtasks;
    if (kind >= 90) result.subtask_config = random_subtasks(random_, features_);
  }
  if (features_.broken_subtasks && local.find("_do") && random_.chance(20)) {
    result.subtask_config =
        random_.chance(50) ? Value::object({{"+x", Value::object({{"sim>", 1}, {"job>", 2}})}}) : Value::object({{"strange", 1}});
  }
  return result;
}

Value Simulation::random_error() {
  Value error = Value::object({{"message", "boom " + std::to_string(++counter_)}});
  if (random_.chance(30)) error.mutable_object().set("code", random_.below(100));
  if (random_.chance(20))
    error.mutable_object().set("details", Value::object({{std::string(1, static_cast<char>('a' + random_.below(3))), ++counter_}}));
  return error;
}

/// What the templates of a `_retry` give; the same for a name each time it is asked.
Value Simulation::evaluated_retry(const std::string& full_name, const Value& retry) const {
  std::size_t hash = 0;
  for (char c : full_name) hash = hash * 31 + static_cast<unsigned char>(c);
  const Value answers[] = {Value(1), Value("2"), Value("0"), Value(), Value(Array{}), Value("x"), Value("1")};
  const Value& answer = answers[hash % 7];
  if (retry.is_string() && retry.as_string() == "${n}") return answer;
  if (retry.is_object() && retry.find("limit")->is_string()) {
    if (answer.is_null()) return {};
    Value evaluated = retry;
    evaluated.mutable_object().set("limit", answer);
    return evaluated;
  }
  return retry;
}

}  // namespace digdag::simulation
