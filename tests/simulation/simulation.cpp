#include "simulation.h"

#include <algorithm>
#include <type_traits>

#include "base/error.h"
#include "base/json.h"
#include "dig/compiler.h"

namespace digdag::simulation {

using engine::Attempt;
using engine::Event;
using engine::TaskIndex;
using engine::TaskState;

bool has_cleanup(std::string_view type) { return type == "job"; }

namespace {

std::string text(TaskState state) { return std::string(engine::to_string(state)); }
std::string text(const std::optional<Instant>& at) { return at ? std::to_string(at->millis) : "-"; }
bool nothing_in(const Value& value) { return !value.is_object() || value.as_object().empty(); }
std::string text_of(const Value& value) { return nothing_in(value) && !value.is_string() ? "{}" : to_json(value); }

/// Only what the specification fixes: `stacktrace` is free text (execution.md 10.5).
Value comparable_error(const Value& error) {
  if (!error.is_object()) return Value::object();
  Value copy = error;
  copy.mutable_object().erase("stacktrace");
  return copy;
}

std::string text_of(const Event& event) {
  struct {
    std::string operator()(const engine::Succeeded& e) const {
      return "succeeded #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " store " + text_of(e.result.store_params) + " export " +
             text_of(e.result.export_params) + " sub " + text_of(e.result.subtask_config) + " resets " +
             std::to_string(e.result.reset_store_params.size());
    }
    std::string operator()(const engine::Failed& e) const {
      return "failed #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " " + text_of(e.error) + (e.retryable ? " retryable " : " ") +
             to_json(e.retry);
    }
    std::string operator()(const engine::RetryLater& e) const {
      return "retry later #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " in " + std::to_string(e.delay_millis) + " ms " +
             text_of(e.state);
    }
    std::string operator()(const engine::Kill&) const { return "kill"; }
    std::string operator()(const engine::Tick&) const { return "tick"; }
    std::string operator()(const engine::RetryEvaluated& e) const {
      return "retry evaluated #" + std::to_string(e.task) + " " + to_json(e.retry);
    }
  } visitor;
  return std::visit(visitor, event);
}

std::string text_of(const engine::Outcome& outcome) {
  std::string out = "changed";
  for (auto task : outcome.changed) out += " " + std::to_string(task);
  for (const auto& effect : outcome.effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      out += "; run " + std::to_string(run->task) + " lease " + std::to_string(run->lease) + (run->cleanup ? " cleanup" : "");
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      out += "; stop " + std::to_string(stop->task) + " lease " + std::to_string(stop->lease);
    } else if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) {
      out += "; evaluate " + std::to_string(evaluate->task) + " " + to_json(evaluate->retry);
    }
  }
  for (const auto& note : outcome.notes) out += "; note " + std::to_string(note.task) + " " + note.message;
  if (outcome.finished) out += "; finished";
  return out;
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

std::string type_of(const Value& local) { return dig::operator_of(local); }

}  // namespace

// ---- Pictures and replay -------------------------------------------------------------------------------------------------

std::string picture_of(const Attempt& attempt) {
  std::string out;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    out += std::to_string(i) + " " + attempt.full_name(i) + " < " + std::to_string(attempt.parent(i)) + " " + text(attempt.state(i)) + " flags " +
           std::to_string(attempt.flags(i)) + " lease " + std::to_string(attempt.lease(i)) + " retries " + std::to_string(attempt.retry_count(i)) +
           " at " + text(attempt.retry_at(i)) + " started " + text(attempt.started_at(i)) + " updated " + text(attempt.updated_at(i)) + " state " +
           text_of(attempt.state_params(i)) + " error " + text_of(attempt.error(i)) + " export " + text_of(attempt.export_config(i)) + " after";
    for (auto up : attempt.upstreams(i)) out += " " + std::to_string(up);
    if (const auto* result = attempt.result(i)) {
      out += " result " + text_of(result->subtask_config) + text_of(result->export_params) + text_of(result->store_params);
      for (const auto& key : result->reset_store_params) out += " -" + key;
    }
    out += "\n";
  }
  return out;
}

Attempt replay(const Setup& setup, const std::vector<Recorded>& events, std::size_t count) {
  Attempt attempt(setup.tree, engine::Params().with(setup.params), TimeZone(), setup.options, setup.resumed);
  for (std::size_t i = 0; i < count; ++i) {
    const auto outcome = events[i].event ? attempt.apply(*events[i].event, events[i].at) : attempt.start(events[i].at);
    if (text_of(outcome) != events[i].answer) {
      throw Disagreement("event " + std::to_string(i) + " has another outcome when it is replayed:\n  " + events[i].answer + "\n  " + text_of(outcome));
    }
  }
  return attempt;
}

// ---- The law of resume --------------------------------------------------------------------------------------------------

namespace {

bool handler_name(const std::string& name) {
  for (const char* segment : {"^error", "^failure-alert", "^sla", "^check"}) {
    if (name.find(segment) != std::string::npos) return true;
  }
  return false;
}

engine::ResumedTask resumed_of(const Attempt& attempt, TaskIndex task) {
  engine::ResumedTask resumed;
  resumed.source_task_id = task + 1;
  resumed.local = attempt.local(task);
  resumed.export_config = attempt.export_config(task);
  resumed.error = attempt.error(task);
  if (const auto* result = attempt.result(task)) {
    resumed.subtask_config = result->subtask_config;
    resumed.export_params = result->export_params;
    resumed.store_params = result->store_params;
    resumed.reset_store_params = result->reset_store_params;
  }
  return resumed;
}

/// The children of a successful task that its last generation consists of.
std::vector<TaskIndex> newest_children(const Attempt& attempt, TaskIndex task) {
  std::map<std::string, TaskIndex> newest;
  const auto* result = attempt.result(task);
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    if (attempt.parent(i) != task) continue;
    const std::string tail = attempt.full_name(i).substr(attempt.full_name(task).size());
    if (tail == "^sub" && (result == nullptr || nothing_in(result->subtask_config))) continue;
    newest[attempt.full_name(i)] = i;
  }
  std::vector<TaskIndex> children;
  for (const auto& [name, index] : newest) children.push_back(index);
  std::sort(children.begin(), children.end());
  return children;
}

void collect_subtree(const Attempt& attempt, TaskIndex task, std::vector<TaskIndex>& into) {
  for (auto child : newest_children(attempt, task)) {
    if (attempt.state(child) != TaskState::success) continue;
    into.push_back(child);
    collect_subtree(attempt, child, into);
  }
}

}  // namespace

std::unordered_map<std::string, engine::ResumedTask> taken_over(const Attempt& attempt) {
  std::map<std::string, TaskIndex> newest;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) newest[attempt.full_name(i)] = i;
  std::unordered_map<std::string, engine::ResumedTask> taken;
  std::set<std::string> covered;  // what lies below a task that is taken over: only its newest generation counts
  for (const auto& [name, index] : newest) {
    if (attempt.state(index) != TaskState::success || handler_name(name)) continue;
    bool below = false;
    for (const auto& owner : covered) below = below || name.rfind(owner + "^", 0) == 0;
    if (below) continue;
    taken.emplace(name, resumed_of(attempt, index));
    if (attempt.is_group(index)) continue;
    covered.insert(name);
    std::vector<TaskIndex> subtree;
    collect_subtree(attempt, index, subtree);
    for (auto each : subtree) taken.emplace(attempt.full_name(each), resumed_of(attempt, each));
  }
  return taken;
}

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
};

Simulation::Simulation(Setup setup, const Features& features, Random& random, std::string* log)
    : setup_(std::move(setup)),
      features_(features),
      random_(random),
      log_(log),
      engine_(setup_.tree, engine::Params().with(setup_.params), TimeZone(), setup_.options, setup_.resumed),
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
  if (random_.chance(12)) stale_event();
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

void Simulation::answer(std::size_t which) {
  const InFlight run = in_flight_[which];
  in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(which));
  const Value local = engine_.local(run.task);
  const std::string type = type_of(local);
  const bool enough = engine_.size() > 250;
  const bool fails = run.cleanup || type == "fail" || random_.chance(type == "notify" ? 10 : features_.fail_percent);
  const std::string name = engine_.full_name(run.task);
  Event event;
  if (fails && !enough) {
    const Value retry = evaluated_retry(name, local.find("_retry") ? *local.find("_retry") : Value());
    engine::Failed failed{run.task, run.lease, random_error(), type == "sim" || type == "job", retry};
    apply(failed, [&] { model_.failed(run.row, run.row_lease, failed.error, failed.retryable, failed.retry, now_); });
    event = failed;
  } else if (features_.polls && !enough && !run.cleanup && random_.chance(30)) {
    Value state = engine_.state_params(run.task);
    if (!state.is_object()) state = Value::object();
    state.mutable_object().set("job", Value::object({{"polls", ++counter_}}));
    if (random_.chance(30)) state.mutable_object().set("commandStatus", Value::object({{"id", counter_}}));
    const std::int64_t delay = random_.chance(20) ? 0 : random_.below(30'000);
    engine::RetryLater later{run.task, run.lease, delay, state};
    apply(later, [&] { model_.retry_later(run.row, run.row_lease, later.delay_millis, later.state, now_); });
    event = later;
  } else {
    engine::Succeeded succeeded{run.task, run.lease, random_result(enough ? Value::object() : local)};
    apply(succeeded, [&] { model_.succeeded(run.row, run.row_lease, succeeded.result, now_); });
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
  std::set<TaskIndex> running;
  for (const auto& run : in_flight_) {
    if (!run.cleanup) running.insert(run.task);
  }
  killed_ = true;
  apply(engine::Kill{}, [this] { model_.kill(now_); });
  for (auto task : running) {
    if (!stopped_.count({task, engine_.lease(task)})) disagree("a kill does not stop the run of " + key_of(task));
  }
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
    if (!listed && !before.empty() && (is_new || !(before[i] == after[i]))) disagree("row " + std::to_string(i) + " changed but is not in `changed`");
    if (!is_new && !reachable(before[i].state, after[i].state, engine_.is_group(static_cast<TaskIndex>(i)))) {
      disagree("row " + std::to_string(i) + " " + engine_.full_name(static_cast<TaskIndex>(i)) + " went from " + text(before[i].state) + " to " +
               text(after[i].state));
    }
  }
  for (const auto& effect : outcome.effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      if (engine_.state(run->task) != TaskState::running) disagree("a run is wanted of a task that is not running");
      if (engine_.lease(run->task) != run->lease) disagree("a run is wanted with a lease that is not the task's");
      if (!engine_runs_.emplace(run->task, Runs{run->lease, run->cleanup}).second) disagree("two runs are wanted of one task");
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      stopped_.emplace(stop->task, stop->lease);
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
    rows.push_back({engine_.state(i), engine_.flags(i), engine_.lease(i), engine_.retry_count(i), engine_.retry_at(i), engine_.started_at(i),
                    engine_.state_params(i), engine_.error(i), result ? result->subtask_config : Value(),
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
    if (!task_of_key_.count(key)) disagree("the engine lacks " + key + ", which is " + text(model_.rows()[static_cast<std::size_t>(row)].state));
  }
  for (const auto& [key, task] : task_of_key_) {
    if (!row_of_key_.count(key)) disagree("the engine has " + key + " (" + text(engine_.state(task)) + "), the model has not");
  }
  for (const auto& [key, task] : task_of_key_) agree_on_row(task, row_of_key_[key]);
  agree_on_runs();
  if (engine_.done() != model_.done()) disagree("only one of both is done");
  if (engine_.done() && engine_.success() != model_.success()) disagree("success differs");
  if (engine_.cancel_was_requested() != model_.cancel_was_requested()) disagree("cancel_was_requested differs");
  const auto theirs = engine_.next_tick(), ours = model_.next_tick();
  if (theirs != ours) disagree("the next tick is due at " + text(theirs) + ", by the model at " + text(ours));
}

void Simulation::agree_on_row(TaskIndex task, int index) {
  const Row& row = model_.rows()[static_cast<std::size_t>(index)];
  const std::string& key = task_keys_[static_cast<std::size_t>(task)];
  auto same = [&](const char* what, const auto& theirs, const auto& ours) {
    if (theirs != ours) disagree(std::string(what) + " of " + key + ": engine " + theirs + ", model " + ours);
  };
  same("state", text(engine_.state(task)), text(row.state));
  // Nothing fixes INITIAL_TASK of what was taken over with a task.
  const int mask = row.resumed ? ~engine::initial_task : ~0;
  same("flags", std::to_string(engine_.flags(task) & mask), std::to_string(row.flags & mask));
  same("kind", std::string(engine_.is_group(task) ? "group" : "operator"), std::string(row.group ? "group" : "operator"));
  same("retry_count", std::to_string(engine_.retry_count(task)), std::to_string(row.retry_count));
  same("retry_at", text(engine_.retry_at(task)), text(row.retry_at));
  if (!row.group) same("started_at", text(engine_.started_at(task)), text(row.started_at));
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
    if (found->second.cleanup != run.cleanup) disagree(key + (run.cleanup ? " has to clean up" : " does not have to clean up"));
    matched.insert(task);
    const Row& row = model_.rows()[static_cast<std::size_t>(run.row)];
    for (auto up : engine_.upstreams(task)) {
      if (engine_.state(up) != TaskState::success) disagree(key + " runs before " + task_keys_[static_cast<std::size_t>(up)] + " succeeded");
    }
    std::set<std::string> theirs, ours;
    for (auto up : engine_.upstreams(task)) theirs.insert(key_of(up));
    for (auto up : row.upstreams) ours.insert(row_keys_[static_cast<std::size_t>(up)]);
    if (theirs != ours) disagree("upstreams of " + key + " differ");
    const auto of_engine = to_json(engine_.params_of(task).to_value()), of_model = to_json(model_.params_of(run.row));
    if (setup_.params_are_fixed && of_engine != of_model) disagree("params of " + key + ":\n  engine " + of_engine + "\n  model  " + of_model);
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
  engine_runs_.clear();
  engine_evaluations_.clear();
}

void Simulation::final_checks() {
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(engine_.size()); ++i) {
    const auto state = engine_.state(i);
    if (!engine::is_done(state) && state != TaskState::blocked) disagree("the attempt is done while " + key_of(i) + " is " + text(state));
  }
  for (const auto& [key, row] : row_of_key_) {
    const TaskIndex task = task_of_key_[key];
    const auto of_engine = to_json(engine_.params_of(task).to_value()), of_model = to_json(model_.params_of(row));
    if (setup_.params_are_fixed && of_engine != of_model) disagree("params of " + key + " at the end:\n  engine " + of_engine + "\n  model  " + of_model);
  }
  if (engine_.next_tick()) disagree("a tick is due though the attempt is done");
  must_change_nothing(engine::Kill{});
  must_change_nothing(engine::Tick{});
  for (int i = 0; i < 3; ++i) stale_event();
}

void Simulation::disagree(const std::string& what) const { throw Disagreement(what); }

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
    result.subtask_config = random_.chance(50) ? Value::object({{"+x", Value::object({{"sim>", 1}, {"job>", 2}})}}) : Value::object({{"strange", 1}});
  }
  return result;
}

Value Simulation::random_error() {
  Value error = Value::object({{"message", "boom " + std::to_string(++counter_)}});
  if (random_.chance(30)) error.mutable_object().set("code", random_.below(100));
  if (random_.chance(20)) error.mutable_object().set("details", Value::object({{std::string(1, static_cast<char>('a' + random_.below(3))), ++counter_}}));
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

// ---- One seed -----------------------------------------------------------------------------------------------------------

namespace {

/// After a retry: what was taken over did not run, everything else that had to did.
void check_law(const Simulation& simulation, const Setup& setup) {
  const auto& attempt = simulation.engine();
  std::set<std::string> seen;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    const std::string name = attempt.full_name(i);
    if (!seen.insert(name).second) continue;
    const bool ran = simulation.ran().count(name + "#0") > 0;
    const bool taken = setup.resumed.count(name) > 0;
    if (taken && ran) throw Disagreement(name + " was taken over but ran");
    if (taken && !attempt.is_group(i) && attempt.state(i) != TaskState::success) throw Disagreement(name + " was taken over but is " + text(attempt.state(i)));
    if (!taken && !attempt.is_group(i) && attempt.state(i) == TaskState::success && !ran) throw Disagreement(name + " was not taken over and did not run");
  }
}

void log_resumed(const Setup& setup, std::string* log) {
  if (!log) return;
  std::set<std::string> names;
  for (const auto& [name, task] : setup.resumed) names.insert(name);
  *log += "taken over:";
  for (const auto& name : names) *log += " " + name;
  *log += "\n";
}

void simulate_retry(const Setup& setup, const Value& content, const Attempt& cut, Features features, Random& random, std::string* log) {
  if (cut.done() && cut.success()) return;  // 16.2: refused
  Setup again = setup;
  again.resumed = taken_over(cut);
  again.options.task_limit = 0;
  if (random.chance(25)) {
    const Value changed = with_new_task(content, random);
    if (log) *log += "---- with a new task\n" + to_yaml(changed);
    again.tree = dig::compile(workflow_of(changed));
    again.params_are_fixed = false;
  }
  log_resumed(again, log);
  if (random.chance(60)) features.fail_percent = 0;
  if (random.chance(70)) features.kill_percent = 0;
  Simulation retried(again, features, random, log);
  retried.run();
  check_law(retried, again);
}

}  // namespace

void simulate_seed(std::uint64_t seed, const SeedOptions& options) {
  Random random(seed);
  const Features features = Features::of(random);
  const Value content = random_workflow(random, features);
  if (options.log) *options.log += to_yaml(content);
  Setup setup;
  setup.tree = dig::compile(workflow_of(content));
  std::int64_t counter = 0;
  setup.params = random_params(random, counter);
  setup.options.task_limit = features.task_limit ? static_cast<std::int64_t>(setup.tree.tasks.size()) + 1 + random.below(8) : 0;
  setup.options.group_check = features.group_check;
  setup.options.has_cleanup = has_cleanup;

  Simulation simulation(setup, features, random, options.log);
  simulation.run();
  const auto& events = simulation.events();
  const auto again = replay(setup, events, events.size());
  if (picture_of(again) != picture_of(simulation.engine())) throw Disagreement("the same events give another attempt");
  if (simulation.engine().success()) return;

  std::vector<std::size_t> cuts{events.size()};
  if (options.all_cuts) {
    for (std::size_t i = 1; i < events.size(); ++i) cuts.push_back(i);
  } else if (events.size() > 1) {
    cuts.push_back(1 + static_cast<std::size_t>(random.below(static_cast<int>(events.size()) - 1)));
  }
  for (auto cut : cuts) {
    if (options.log) *options.log += "---- retry after " + std::to_string(cut) + " events\n";
    simulate_retry(setup, content, replay(setup, events, cut), features, random, options.log);
  }
}

}  // namespace digdag::simulation
