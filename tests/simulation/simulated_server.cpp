#include "simulated_server.h"

#include <algorithm>

#include "dig/compiler.h"
#include "executor/read_back.h"
#include "store/attempt_rows.h"

namespace digdag::simulation {

using engine::TaskIndex;
using store::DatabaseError;

namespace {

Features features_of(Random& random) {
  Features features = Features::of(random);
  features.retry_templates = false;  // evaluated on threads
  features.broken_subtasks = features.task_limit = features.chain = false;
  features.size = std::min(features.size, 12);
  if (random.chance(15)) features.error = features.on_cancel = true;
  return features;
}

}  // namespace

// ---- What is started -----------------------------------------------------------------------------------------------------

Workload::Workload(std::uint64_t seed, Random& random) : features(features_of(random)), operators(seed, features) {
  const bool depends_on_time = features.timeout || features.sla;
  setup.options.group_check = features.group_check;
  setup.options.has_cleanup = has_cleanup;
  setup.options.task_limit = 0;
  setup.options.max_lost_runs = depends_on_time ? 3 : 1'000'000;
  do {
    workflow.config = random_workflow(random, features);
    workflow.name = "wf";
    std::int64_t counter = 0;
    setup.params = random_params(random, counter);
    setup.tree = dig::compile(executor::workflow_of(workflow));
    ends = ends_without_faults(setup, operators);
    if (!ends) features.fail_percent /= 2;  // it grew too large
  } while (!ends);
  if (depends_on_time) ends.reset();
}

executor::AttemptIdentity SimulatedServer::identity_of(std::int64_t attempt) const {
  executor::AttemptIdentity identity;
  identity.attempt_id = identity.session_id = attempt;
  identity.workflow_name = "wf";
  return identity;
}

void SimulatedServer::start_attempt(const Workload& workload, How how) {
  engine::Attempt attempt(workload.setup.tree, engine::Params().with(workload.setup.params), TimeZone(), workload.setup.options);
  attempt.count_sla_from(world_.now);
  store::AttemptRows rows;
  engine::Outcome outcome;
  std::vector<engine::Run> given;
  if (how == How::here) outcome = attempt.start(world_.now);
  if (how != How::in_loop) number_tasks(rows, attempt.size());
  for (const engine::Effect& effect : outcome.effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) given.push_back(*run);
  }
  given.resize(static_cast<std::size_t>(executor_.take_places(0, static_cast<std::int64_t>(given.size()))));
  if (world_.chance(5)) {
    executor_.give_places_back(0, static_cast<std::int64_t>(given.size()));
    log("the start is refused");
    return;
  }
  world_.moment(*this, "starts an attempt");
  const std::int64_t id = world_.database.insert_attempt();
  world_.workloads.emplace(id, &workload);
  world_.database.begin_attempt(id, how == How::by_nobody ? "" : id_, rows, attempt);
  if (how == How::here)
    world_.database.write_changes({executor::first_change(rows, attempt, outcome, given)}, id_, store::Durability::power_cut);
  if (how == How::by_nobody) world_.database.write_first(executor::first_change(rows, attempt, outcome, given));
  log("started attempt " + std::to_string(id));
  world_.moment(*this, "has started an attempt");
  if (how == How::by_nobody) return;
  if (how == How::in_loop) {
    executor_.add(identity_of(id), std::move(attempt), std::move(rows));
    return;
  }
  std::vector<store::AttemptChange> changes{executor::first_change(rows, attempt, outcome, given)};
  store::note_committed(changes);
  executor_.adopt(identity_of(id), std::move(attempt), std::move(rows), std::move(outcome), std::move(given));
}

SimulatedServer::SimulatedServer(World& world, std::string id, std::int64_t places)
    : world_(world),
      id_(std::move(id)),
      places_(places),
      executor_(*this, *world.program_log, *world.templates, nullptr,
                {.clock = [&world] { return world.now; },
                 .handouts = {.places = places},
                 .database_pause = {},
                 .beside = [this](std::function<void()> work) { beside_.push_back(std::move(work)); },
                 .events_in_a_round = world.events_in_a_round}) {
  executor_.use(static_cast<agent::TaskRunner&>(*this));
  executor_.use(static_cast<executor::Keeper&>(*this));
}

// ---- Its rows ------------------------------------------------------------------------------------------------------------

void SimulatedServer::number_tasks(store::AttemptRows& rows, std::size_t size) {
  constexpr std::size_t block = 7;
  if (rows.task_ids.size() >= size) return;
  const std::size_t wanted = size - rows.task_ids.size();
  if (spare_ids_.size() < wanted || (!rows.task_ids.empty() && spare_ids_.back() < rows.task_ids.back())) {
    spare_ids_ = world_.database.new_task_ids(std::max(wanted, block));
    std::reverse(spare_ids_.begin(), spare_ids_.end());
  }
  while (rows.task_ids.size() < size) {
    rows.task_ids.push_back(spare_ids_.back());
    spare_ids_.pop_back();
  }
}

void SimulatedServer::transaction(const std::string& what, const std::function<void()>& write) {
  world_.moment(*this, "commits");
  if (world_.chance(2)) throw DatabaseError(DatabaseError::Cause::unavailable, "the database went away before the commit");
  try {
    write();
  } catch (const DatabaseError& error) {
    log(error.message());
    throw;
  }
  log(what);
  world_.moment(*this, "has committed");
  if (world_.chance(2)) throw DatabaseError(DatabaseError::Cause::unavailable, "the database went away after the commit");
}

namespace {
std::string line_of(const store::AttemptChange& change) {
  std::string line = "commit of attempt " + std::to_string(change.rows->attempt_id) + ":";
  for (const TaskIndex task : change.changed)
    line += " #" + std::to_string(task) + " " + change.attempt->full_name(task) + " " + text_of(change.attempt->state(task));
  for (const store::QueuedRun& run : change.runs)
    line += (run.taken ? ", taken #" : ", waits #") + std::to_string(run.task) + " lease " + std::to_string(run.lease);
  return line + (change.finished ? ", finished" : "");
}
}  // namespace

void SimulatedServer::commit(std::vector<store::AttemptChange>& changes) {
  std::string lines;
  for (const store::AttemptChange& change : changes) lines += (lines.empty() ? "" : "; ") + line_of(change);
  transaction(lines, [&] { world_.database.write_changes(changes, id_, store::Durability::process); });
  store::note_committed(changes);
}

void SimulatedServer::commit_in_steps(store::AttemptChange& change) {
  if (change.finished) return end_in_steps(change);
  const std::vector<store::ChangeStep> steps = store::steps_of(change, world_.rows_in_a_step);
  for (const store::ChangeStep& step : steps) {
    const std::string what =
        "a step, " + line_of(step.part) + (step.pending_from ? ", pending" : "") + (step.completes ? ", complete" : "");
    transaction(what, [&] { world_.database.write_step(step, &step == &steps.back(), id_); });
    std::vector<store::AttemptChange> parts{step.part};
    store::note_committed(parts);
    if (step.completes) change.events.clear();
  }
}

void SimulatedServer::end_in_steps(store::AttemptChange& change) {
  store::AttemptRows& rows = *change.rows;
  if (!rows.end_stored) transaction("in steps, " + line_of(change), [&] { world_.database.write_end(change, id_); });
  rows.end_stored = true;
  for (bool more = true; more;) {
    transaction("removes rows of attempt " + std::to_string(rows.attempt_id),
                [&] { more = world_.database.remove_rows(rows.attempt_id, id_, world_.rows_in_a_step); });
  }
}

void SimulatedServer::write_beside() {
  const std::function<void()> write = std::move(beside_.front());
  beside_.pop_front();
  write();
}

// ---- Its agent -----------------------------------------------------------------------------------------------------------

void SimulatedServer::run(agent::RunRequest request) {
  world_.moment(*this, "hands a run out");
  const RunKey key{request.attempt, request.task, request.lease};
  log("runs " + text_of(key) + " " + request.identity.task_name + (request.cleanup ? " to clean up" : ""));
  if (!world_.database.is_taken(key, id_)) throw Disagreement("the run of " + text_of(key) + " is given out before that is stored");
  const bool is_known = world_.database.hand_out(key, id_);
  if (static_cast<std::int64_t>(runs_.size()) >= places_) throw Disagreement("more runs than places");
  const AttemptRecord& record = world_.database.attempt(request.attempt);
  const std::string& name = request.identity.task_name;
  if (is_known && (record.task(request.task).full_name != name || record.task(request.task).id != request.identity.task_id))
    throw Disagreement("the run of " + text_of(key) + " is named after another task");
  const auto is_same = [&](const AgentRun& other) { return RunKey{other.request.attempt, other.request.task, other.request.lease} == key; };
  if (std::any_of(runs_.begin(), runs_.end(), is_same)) throw Disagreement("the run of " + text_of(key) + " is still under way here");
  std::int64_t generation = 0;
  for (TaskIndex i = 0; i < request.task && static_cast<std::size_t>(i) < record.tasks.size(); ++i)
    generation += record.task(i).full_name == name ? 1 : 0;
  const std::string run = name + "#" + std::to_string(generation);
  runs_.push_back({std::move(request), run});
  world_.moment(*this, "has handed a run out");
}

void SimulatedServer::stop(std::int64_t attempt, TaskIndex task, engine::Lease lease, std::optional<std::int64_t>) {
  world_.moment(*this, "stops a run");
  for (AgentRun& run : runs_) {
    if (run.request.attempt == attempt && run.request.task == task && run.request.lease == lease) run.is_stopped = true;
  }
}

void SimulatedServer::answer(std::size_t which, Random& random) {
  const AgentRun run = std::move(runs_[which]);
  runs_.erase(runs_.begin() + static_cast<std::ptrdiff_t>(which));
  const agent::RunRequest& request = run.request;
  const RunKey key{request.attempt, request.task, request.lease};
  const std::int64_t number = world_.database.answer(key);
  if (run.is_stopped || request.cleanup) {
    log("answer " + std::to_string(number) + " of " + text_of(key) + ": stopped");
    const Value error = Value::object({{"message", "stopped"}, {"answer", number}});
    executor_.ended(request, agent::RunFailed{.error = error, .retry = {}, .cause = Error("task", "stopped"), .last_output = {}});
    return;
  }
  const Value inherited = request.params.find("_retry");
  FakeOperators::Answer answer =
      world_.workloads.at(request.attempt)->operators.answer(run.key, request.local, inherited, request.retry_count);
  log("answer " + std::to_string(number) + " of " + text_of(key) + ": " +
      (answer.kind == FakeOperators::Answer::Kind::success ? "success"
       : answer.kind == FakeOperators::Answer::Kind::poll  ? "poll"
                                                           : "failure"));
  if (answer.kind == FakeOperators::Answer::Kind::failure) {
    answer.error.mutable_object().set("answer", number);
    executor_.ended(request, agent::RunFailed{.error = answer.error,
                                              .retryable = answer.retryable,
                                              .retry = answer.retry,
                                              .cause = Error("task", "failed"),
                                              .last_output = {}});
  } else if (answer.kind == FakeOperators::Answer::Kind::poll) {
    answer.state.mutable_object().set("answer", number);
    std::optional<std::int64_t> awaited;
    if (random.chance(20)) awaited = random.between(1, static_cast<int>(world_.database.attempts().size()));
    executor_.ended(request, agent::RunLater{.delay_millis = answer.delay_millis,
                                             .state = answer.state,
                                             .retry = answer.retry,
                                             .wakes_after = awaited == request.attempt ? std::nullopt : awaited});
  } else {
    answer.result.store_params.mutable_object().set("answer", number);
    executor_.ended(request, agent::RunSucceeded{answer.result, answer.retry});
  }
}

// ---- Its duties ----------------------------------------------------------------------------------------------------------

void SimulatedServer::register_here() { world_.registered.insert(id_); }

void SimulatedServer::take_over(const std::vector<std::string>& dead) {
  for (const std::string& server : dead) {
    log("takes over what " + server + " has left");
    world_.registered.erase(server);
  }
  world_.database.release_attempts([&](const std::string& owner) { return owner != id_ && !world_.registered.contains(owner); });
  world_.moment(*this, "has removed dead servers");
  for (const auto& [attempt, record] : world_.database.attempts()) {
    while (world_.database.remove_rows(attempt, "", world_.rows_in_a_step)) world_.moment(*this, "has removed rows that were left");
  }
  const std::vector<std::int64_t> claimed = world_.database.claim(id_);
  world_.moment(*this, "has claimed attempts");
  for (const std::int64_t attempt : claimed) read(attempt);
}

void SimulatedServer::read(std::int64_t attempt) {
  while (world_.database.remove_rows(attempt, id_, world_.rows_in_a_step)) world_.moment(*this, "has removed rows that were left");
  while (world_.database.remove_pending(attempt, id_, world_.rows_in_a_step)) world_.moment(*this, "has removed pending tasks");
  std::optional<store::OwnedAttempt> owned = world_.database.load(attempt, id_);
  if (!owned) return;
  // Events are read and handed over before the same thread reads the attempt back.
  std::erase_if(read_too_, [&](const store::AttemptEvent& event) { return event.attempt_id == attempt; });
  log("reads attempt " + std::to_string(attempt) + " back");
  const Workload& workload = *world_.workloads.at(attempt);
  owned->workflow = workload.workflow;
  executor::go_on(executor_, identity_of(attempt), std::move(*owned), engine::Params().with(workload.setup.params), workload.setup.options,
                  world_.now);
}

void SimulatedServer::kill(std::int64_t attempt, std::int64_t event, bool is_read_too) {
  executor_.kill(attempt, event);
  if (is_read_too) read_too_.push_back({event, attempt, "kill"});
}

void SimulatedServer::apply_events() {
  for (const store::AttemptEvent& event : std::exchange(read_too_, {})) executor_.kill(event.attempt_id, event.id);
  for (const store::AttemptEvent& event : world_.database.events_of(id_)) executor_.kill(event.attempt_id, event.id);
}

void SimulatedServer::read_forgotten() {
  std::set<std::int64_t> missing;
  for (const std::int64_t id : world_.database.owned_by(id_)) {
    const executor::AttemptStatus status = executor_.status(id);
    if (!status.known || status.done) missing.insert(id);
  }
  for (const std::int64_t id : missing) {
    if (missing_before_.contains(id)) read(id);
  }
  missing_before_ = std::move(missing);
}

void SimulatedServer::work_off() {
  for (const std::int64_t attempt : std::exchange(to_end_, {})) world_.database.end_broken(attempt, id_);
  for (const std::int64_t attempt : std::exchange(to_read_, {})) read(attempt);
}

void SimulatedServer::broken(std::int64_t attempt_id, const std::string& cause) {
  if (!world_.database.is_poisoned(attempt_id))
    throw Disagreement("attempt " + std::to_string(attempt_id) + " could be stored, but is given up: " + cause);
  to_end_.push_back(attempt_id);
}

void SimulatedServer::ended(const executor::AttemptIdentity& attempt, bool success) {
  world_.moment(*this, "tells that an attempt ended");
  const AttemptRecord& record = world_.database.attempt(attempt.attempt_id);
  if (world_.database.has_forgotten_end(attempt.attempt_id)) return;
  if (!record.done() || ((record.flags & store::attempt_success) != 0) != success)
    throw Disagreement("attempt " + std::to_string(attempt.attempt_id) + " is said to have ended otherwise than it is stored");
}

void SimulatedServer::check_kills() const {
  for (const AgentRun& run : runs_) {
    const AttemptRecord& record = world_.database.attempt(run.request.attempt);
    const bool has_row = static_cast<std::size_t>(run.request.task) < record.tasks.size();  // a power cut may have taken it
    if (record.owner != id_ || !has_row || run.is_stopped || run.request.cleanup) continue;
    const engine::StoredTask& task = record.task(run.request.task);
    const bool is_current = task.state == engine::TaskState::running && lease_of(task) == run.request.lease;
    if (is_current && (task.flags & engine::cancel_requested))
      throw Disagreement("the run of " + task.full_name + " goes on in " + id_ + " though it is killed");
  }
}

void SimulatedServer::check_idle() {
  const executor::Executor::Counts counts = executor_.counts();
  if (has_beside()) throw Disagreement(id_ + " still has something to write at the end");
  if (counts.attempts != 0) throw Disagreement(id_ + " still owns " + std::to_string(counts.attempts) + " attempts");
  if (counts.running != 0) throw Disagreement(id_ + " has " + std::to_string(counts.running) + " places taken at the end");
  if (counts.waiting != 0) throw Disagreement(id_ + " has " + std::to_string(counts.waiting) + " runs waiting at the end");
  if (executor_.take_places(0, places_ + 1) != places_) throw Disagreement(id_ + " has another number of places at the end");
  executor_.give_places_back(0, places_);
}

}  // namespace digdag::simulation
