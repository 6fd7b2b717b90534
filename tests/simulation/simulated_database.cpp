#include "simulated_database.h"

#include <algorithm>

#include "record.h"
#include "store/database.h"

namespace digdag::simulation {

using engine::StoredTask;
using engine::TaskIndex;
using engine::TaskState;
using store::AttemptChange;
using store::DatabaseError;
using store::Durability;

namespace {

[[noreturn]] void unexpected(const std::string& what) { throw DatabaseError(DatabaseError::Cause::unexpected_rows, what); }

std::string name_of(std::int64_t id, const StoredTask& task) {
  return "attempt " + std::to_string(id) + " " + task.full_name + " (" + text_of(task.state) + ")";
}

std::string queue_name(const StoredTask& task) {
  return task.retry_count == 0 ? std::to_string(task.id) : std::to_string(task.id) + ".r" + std::to_string(task.retry_count);
}

/// The numbers of the answers that made what stands in the row.
std::set<std::int64_t> answers_in(const StoredTask& task) {
  std::set<std::int64_t> numbers;
  for (const Value* value : {&task.store_params, &task.error, &task.state_params}) {
    const Value* number = value->is_object() ? value->find("answer") : nullptr;
    if (number) numbers.insert(number->as_integer());
  }
  return numbers;
}

/// Its row after an update: config never changes, results only where they are said to have changed.
StoredTask updated(const StoredTask& was, const StoredTask& is, bool with_result) {
  StoredTask task = was;
  task.state = is.state;
  task.flags = is.flags;
  task.updated_at = is.updated_at;
  task.retry_at = is.retry_at;
  task.state_params = is.state_params;
  task.retry_count = is.retry_count;
  task.started_at = is.started_at;
  task.native = is.native;
  if (!with_result) return task;
  task.subtask_config = is.subtask_config;
  task.export_params = is.export_params;
  task.store_params = is.store_params;
  task.error = is.error;
  task.reset_store_params = is.reset_store_params;
  return task;
}

}  // namespace

std::string text_of(const RunKey& key) {
  return "attempt " + std::to_string(key.attempt) + " #" + std::to_string(key.task) + " lease " + std::to_string(key.lease);
}

engine::Lease lease_of(const StoredTask& task) {
  if (const Value* lease = task.native.find("lease")) return static_cast<engine::Lease>(lease->as_integer());
  return static_cast<engine::Lease>(task.retry_count + 1);
}

// ---- Transactions --------------------------------------------------------------------------------------------------------

AttemptRecord& SimulatedDatabase::edit(Undo& undo, std::map<std::int64_t, AttemptRecord>& edited, std::int64_t id) const {
  const auto place = edited.find(id);
  if (place != edited.end()) return place->second;
  const auto& stored = attempts_.at(id);
  undo.before.emplace(id, stored);
  return edited.emplace(id, *stored).first->second;
}

void SimulatedDatabase::commit(Undo undo, std::map<std::int64_t, AttemptRecord> edited, Durability durability) {
  for (auto& [id, record] : edited) {
    const AttemptRecord& was = *attempts_.at(id);
    if (record.epoch < was.epoch || record.version < was.version)
      throw Disagreement("epoch or version of attempt " + std::to_string(id) + " goes back");
    check_queue(id, record);
    attempts_[id] = std::make_shared<const AttemptRecord>(std::move(record));
  }
  if (durability == Durability::power_cut)
    log_.clear();
  else
    log_.push_back(std::move(undo));
}

void SimulatedDatabase::change(std::int64_t id, Durability durability, const std::function<void(AttemptRecord&)>& work) {
  Undo undo;
  std::map<std::int64_t, AttemptRecord> edited;
  work(edit(undo, edited, id));
  commit(std::move(undo), std::move(edited), durability);
}

void SimulatedDatabase::cut_power(std::size_t count) {
  for (; count > 0 && !log_.empty(); --count) {
    Undo undo = std::move(log_.back());
    log_.pop_back();
    for (auto& [id, record] : undo.before) {
      if (attempt(id).done() && !record->done()) undone_ends_.insert(id);
      attempts_[id] = record;
    }
    for (const auto& taken : undo.taken) {
      taken_.erase(taken);
      forgotten_.insert(taken);
      handed_out_.erase(taken.first);
    }
    for (const std::int64_t answer : undo.counted) counted_.erase(answer);
  }
  log_.clear();
}

// ---- What an owner writes ------------------------------------------------------------------------------------------------

std::int64_t SimulatedDatabase::insert_attempt() {
  attempts_.emplace(next_attempt_, std::make_shared<const AttemptRecord>());
  return next_attempt_++;
}

void SimulatedDatabase::begin_attempt(std::int64_t id, const std::string& owner, store::AttemptRows& rows, const engine::Attempt& attempt) {
  rows.attempt_id = id;
  rows.epoch = 1;
  rows.version = 0;
  change(id, Durability::power_cut, [&](AttemptRecord& record) {
    record.has_ownership = true;
    record.owner = owner;
    record.epoch = 1;
    record.monitor = attempt.monitor();
  });
}

void SimulatedDatabase::write_first(const AttemptChange& first) {
  change(first.rows->attempt_id, Durability::power_cut, [&](AttemptRecord& record) {
    for (const TaskIndex index : first.changed)
      record.tasks.push_back(std::make_shared<const StoredTask>(first.attempt->stored(index, first.rows->task_ids)));
  });
}

void SimulatedDatabase::check_owner(const AttemptChange& change, const std::string& owner) const {
  const AttemptRecord& record = attempt(change.rows->attempt_id);
  if (record.done() || record.owner != owner || record.epoch != change.rows->epoch || record.version != change.rows->version)
    unexpected("attempt " + std::to_string(change.rows->attempt_id) + " is not as expected");
}

void SimulatedDatabase::write_changes(const std::vector<AttemptChange>& changes, const std::string& owner, Durability durability) {
  write(changes, owner, durability, [](AttemptRecord& record) { record.is_torn = false; });
}

void SimulatedDatabase::write(const std::vector<AttemptChange>& changes, const std::string& owner, Durability durability,
                              const std::function<void(AttemptRecord&)>& also) {
  Undo undo;
  std::map<std::int64_t, AttemptRecord> edited;
  for (const AttemptChange& change : changes) check_owner(change, owner);
  for (const AttemptChange& change : changes) {
    if (poisoned_.contains(change.rows->attempt_id)) throw DatabaseError(DatabaseError::Cause::refused, "a value that cannot be stored");
    AttemptRecord& record = edit(undo, edited, change.rows->attempt_id);
    write(change, record, owner, undo);
    also(record);
  }
  for (const auto& taken : undo.taken) taken_.insert(taken);
  for (const std::int64_t answer : undo.counted) counted_.insert(answer);
  commit(std::move(undo), std::move(edited), durability);
}

void SimulatedDatabase::write_step(const store::ChangeStep& step, bool is_last, const std::string& owner) {
  write({step.part}, owner, Durability::process, [&](AttemptRecord& record) {
    record.is_torn = !is_last;
    if (step.pending_from && !record.pending_from) record.pending_from = step.pending_from;
    if (step.completes) record.pending_from.reset();
  });
}

void SimulatedDatabase::write_end(const AttemptChange& change, const std::string& owner) {
  const std::size_t rows = change.rows->states.size();
  write({change}, owner, Durability::process, [&](AttemptRecord& record) {
    record.is_torn = false;
    record.has_ownership = true;
    record.owner = owner;
    record.left_over = rows;
  });
}

bool SimulatedDatabase::remove_rows(std::int64_t id, const std::string& owner, std::size_t count) {
  if (!attempt(id).has_ownership || !attempt(id).done() || attempt(id).owner != owner) return false;
  change(id, Durability::process, [&](AttemptRecord& record) {
    if (record.left_over == 0) {
      record.has_ownership = false;
      record.owner.clear();
    }
    record.left_over -= std::min(record.left_over, count);
  });
  return true;
}

bool SimulatedDatabase::remove_pending(std::int64_t id, const std::string& server, std::size_t count) {
  if (attempt(id).owner != server || !attempt(id).pending_from) return false;
  change(id, Durability::power_cut, [&](AttemptRecord& record) {
    for (; count > 0 && !record.tasks.empty() && record.tasks.back()->id >= *record.pending_from; --count) record.tasks.pop_back();
    if (count > 0) record.pending_from.reset();
  });
  return true;
}

void SimulatedDatabase::write(const AttemptChange& change, AttemptRecord& record, const std::string& owner, Undo& undo) {
  ++record.version;
  for (const std::int64_t event : change.events) {
    if (std::erase(record.events, event) == 0)
      throw Disagreement("the kill of attempt " + std::to_string(change.rows->attempt_id) + " is applied twice");
  }
  if (change.finished) return finish(change, record, undo);
  for (const TaskIndex index : change.changed) write_task(change, record, index, undo);
  write_queue(change, record, owner, undo);
  if (change.is_part) return;
  if (change.attempt->cancel_was_requested()) record.flags |= store::attempt_cancel_requested;
  record.monitor = change.attempt->monitor();
}

void SimulatedDatabase::write_task(const AttemptChange& change, AttemptRecord& record, TaskIndex index, Undo& undo) {
  const auto at = static_cast<std::size_t>(index);
  const std::int64_t id = change.rows->attempt_id;
  const StoredTask is = change.attempt->stored(index, change.rows->task_ids);
  if (at >= change.rows->states.size()) {
    if (at != record.tasks.size()) unexpected("the row of " + name_of(id, is) + " is there already, or one before it is missing");
    record.tasks.push_back(std::make_shared<const StoredTask>(is));
    return;
  }
  const StoredTask& was = record.task(index);
  if (was.id != is.id || was.state != change.rows->states[at]) unexpected("the row of " + name_of(id, was) + " is not as expected");
  if (is_done(was.state) && was.state != is.state) throw Disagreement(name_of(id, was) + " had ended and becomes " + text_of(is.state));
  const bool was_killed = (attempt(id).task(0).flags & engine::cancel_requested) != 0;
  if (was_killed && !runs_end_by_themselves && (is.flags & ~was.flags & engine::cancel_requested))
    throw Disagreement(name_of(id, was) + " came after the kill and is killed by it");
  count_answer(was, is, {id, index, lease_of(was)}, undo);
  const bool with_result = std::binary_search(change.results_changed.begin(), change.results_changed.end(), index);
  record.tasks[at] = std::make_shared<const StoredTask>(updated(was, is, with_result));
}

void SimulatedDatabase::count_answer(const StoredTask& was, const StoredTask& is, const RunKey& run, Undo& undo) {
  const std::set<std::int64_t> before = answers_in(was);
  bool is_answered = false;
  for (const std::int64_t number : answers_in(is)) {
    if (before.contains(number)) continue;
    const auto given = answers_.find(number);
    if (given == answers_.end()) throw Disagreement(name_of(run.attempt, was) + " has a result that nobody gave");
    if (was.state != TaskState::running || given->second != run)
      throw Disagreement("the answer of " + text_of(given->second) + " counts for " + text_of(run) + ", " + name_of(run.attempt, was));
    if (counted_.contains(number)) throw Disagreement("the answer of " + text_of(run) + " counts twice");
    undo.counted.push_back(number);
    is_answered = true;
  }
  const bool succeeds = is.state == TaskState::success || (is.state == TaskState::planned && is.error.is_null());
  if (!was.is_group && (is.flags & engine::cancel_requested) == 0 && was.state == TaskState::running && succeeds && !is_answered)
    throw Disagreement(name_of(run.attempt, was) + " succeeds, or fails without an error, but " + text_of(run) + " did not say so: it is " +
                       text_of(is.state) + ", flags " + std::to_string(is.flags));
}

void SimulatedDatabase::write_queue(const AttemptChange& change, AttemptRecord& record, const std::string& owner, Undo& undo) {
  const store::AttemptRows& rows = *change.rows;
  for (const TaskIndex index : change.changed) {
    const auto queued = rows.queued.find(index);
    if (queued == rows.queued.end()) continue;
    const bool is_current = change.attempt->state(index) == TaskState::running && queued->second == queue_name(record.task(index));
    if (!is_current) record.queue.erase(queued->second);
  }
  for (const store::QueuedRun& run : change.runs) {
    const RunKey key{rows.attempt_id, run.task, run.lease};
    const auto queued = rows.queued.find(run.task);
    const std::string name = queue_name(record.task(run.task));
    const bool is_again = queued != rows.queued.end() && queued->second == name;
    if (is_again != record.queue.contains(name)) {
      if (is_again) unexpected("the run of " + text_of(key) + " is not in the queue");
      throw DatabaseError(DatabaseError::Cause::refused, "two runs have the name " + name + " in the queue");
    }
    AttemptRecord::Queued& row = record.queue[name];
    if (is_again && row.agent.empty() && row.lease != run.lease && !runs_end_by_themselves && !record.killed())
      throw Disagreement("the run before " + text_of(key) + " was given to nobody, but is taken for lost");
    row = {run.lease, run.taken ? owner : ""};
    if (run.taken) undo.taken.emplace_back(key, owner);
  }
}

void SimulatedDatabase::finish(const AttemptChange& change, AttemptRecord& record, Undo& undo) {
  const store::AttemptRows& rows = *change.rows;
  if (rows.states.size() != record.tasks.size()) unexpected("attempt " + std::to_string(rows.attempt_id) + " has other tasks");
  for (std::size_t i = 0; i < change.attempt->size(); ++i) {
    const auto index = static_cast<TaskIndex>(i);
    const StoredTask is = change.attempt->stored(index, rows.task_ids);
    if (i >= record.tasks.size()) {
      record.tasks.push_back(std::make_shared<const StoredTask>(is));
      continue;
    }
    const StoredTask& was = record.task(index);
    if (is_done(was.state) && was.state != is.state)
      throw Disagreement(name_of(rows.attempt_id, was) + " had ended and becomes " + text_of(is.state));
    count_answer(was, is, {rows.attempt_id, index, lease_of(was)}, undo);
    record.tasks[i] = std::make_shared<const StoredTask>(is);
  }
  for (const auto& [task, name] : rows.queued) record.queue.erase(name);
  record.events.clear();
  record.monitor.reset();
  record.flags |= store::attempt_done;
  if (change.attempt->success()) record.flags |= store::attempt_success;
  if (change.attempt->cancel_was_requested()) record.flags |= store::attempt_cancel_requested;
  record.has_ownership = false;
  record.owner.clear();
}

/// Every run that is under way stands in the queue, unless it waits for a place at its owner's agent, and nothing else does. A run that
/// is given out must be stored as taken: SimulatedServer::run.
void SimulatedDatabase::check_queue(std::int64_t id, const AttemptRecord& record) const {
  std::map<std::string, AttemptRecord::Queued> rest = record.queue;
  for (const auto& task : record.tasks) {
    if (record.done() || task->state != TaskState::running) continue;
    auto row = rest.find(queue_name(*task));
    if (row == rest.end()) row = rest.find(std::to_string(task->id));
    if (row == rest.end()) continue;
    if (row->second.lease != lease_of(*task) && !record.is_torn)
      throw Disagreement(name_of(id, *task) + " is in the queue with another lease");
    rest.erase(row);
  }
  if (!rest.empty()) throw Disagreement(rest.begin()->first + " of attempt " + std::to_string(id) + " is in the queue but does not run");
}

// ---- Owners --------------------------------------------------------------------------------------------------------------

void SimulatedDatabase::release_attempts(const std::function<bool(const std::string& owner)>& is_gone) {
  Undo undo;
  std::map<std::int64_t, AttemptRecord> edited;
  for (const auto& [id, record] : attempts_) {
    if (!record->owner.empty() && is_gone(record->owner)) edit(undo, edited, id).owner.clear();
  }
  if (!edited.empty()) commit(std::move(undo), std::move(edited), Durability::process);
}

std::vector<std::int64_t> SimulatedDatabase::claim(const std::string& server) {
  Undo undo;
  std::map<std::int64_t, AttemptRecord> edited;
  std::vector<std::int64_t> ids;
  for (const auto& [id, stored] : attempts_) {
    if (stored->done() || !stored->has_ownership || !stored->owner.empty()) continue;
    AttemptRecord& record = edit(undo, edited, id);
    record.owner = server;
    ++record.epoch;
    ++record.version;
    ids.push_back(id);
  }
  if (!edited.empty()) commit(std::move(undo), std::move(edited), Durability::power_cut);
  return ids;
}

std::vector<std::int64_t> SimulatedDatabase::owned_by(const std::string& server) const {
  std::vector<std::int64_t> ids;
  for (const auto& [id, record] : attempts_) {
    if (record->owner == server) ids.push_back(id);
  }
  return ids;
}

std::optional<store::OwnedAttempt> SimulatedDatabase::load(std::int64_t id, const std::string& server) const {
  const AttemptRecord& record = attempt(id);
  if (record.done() || record.owner != server) return std::nullopt;
  store::OwnedAttempt owned;
  owned.attempt.id = owned.stored.id = owned.rows.attempt_id = id;
  owned.rows.epoch = record.epoch;
  owned.rows.version = record.version;
  owned.stored.killed = owned.rows.cancel_stored = record.killed();
  owned.stored.monitor = record.monitor;
  owned.rows.monitor_stored = record.monitor.has_value();
  if (record.pending_from) throw Disagreement("attempt " + std::to_string(id) + " is read with tasks that do not count yet");
  for (const auto& task : record.tasks) {
    const auto index = static_cast<TaskIndex>(owned.tasks.size());
    owned.tasks.push_back(*task);
    owned.rows.task_ids.push_back(task->id);
    owned.rows.states.push_back(task->state);
    if (task->state != TaskState::running) continue;
    for (const std::string& name : {std::to_string(task->id), queue_name(*task)}) {
      const auto row = record.queue.find(name);
      if (row == record.queue.end() || !owned.rows.queued.emplace(index, name).second) continue;
      if (row->second.agent.empty()) owned.untaken.push_back(index);
    }
    if (!owned.rows.queued.contains(index)) owned.untaken.push_back(index);
  }
  for (const std::int64_t event : record.events) owned.events.push_back({event, id, "kill"});
  return owned;
}

std::vector<store::AttemptEvent> SimulatedDatabase::events_of(const std::string& server) const {
  std::vector<store::AttemptEvent> events;
  for (const auto& [id, record] : attempts_) {
    if (record->owner != server) continue;
    for (const std::int64_t event : record->events) events.push_back({event, id, "kill"});
  }
  return events;
}

std::optional<std::int64_t> SimulatedDatabase::request_kill(std::int64_t id) {
  if (attempt(id).flags != 0) return std::nullopt;
  change(id, Durability::power_cut, [&](AttemptRecord& record) {
    record.flags |= store::attempt_cancel_requested;
    record.events.push_back(next_event_);
  });
  return next_event_++;
}

void SimulatedDatabase::end_broken(std::int64_t id, const std::string& server) {
  if (attempt(id).done() || attempt(id).owner != server) return;
  change(id, Durability::power_cut, [&](AttemptRecord& record) {
    ++record.version;
    record.flags |= store::attempt_done;
    record.was_broken = true;
    record.queue.clear();
    record.events.clear();
    record.has_ownership = false;
    record.owner.clear();
  });
}

std::vector<std::int64_t> SimulatedDatabase::new_task_ids(std::size_t count) {
  std::vector<std::int64_t> ids;
  for (; count > 0; --count) ids.push_back(next_task_++);
  return ids;
}

// ---- Runs ----------------------------------------------------------------------------------------------------------------

bool SimulatedDatabase::is_taken(const RunKey& key, const std::string& server) const {
  return taken_.contains({key, server}) || forgotten_.contains({key, server});
}

bool SimulatedDatabase::hand_out(const RunKey& key, const std::string& server) {
  if (!taken_.contains({key, server})) return false;
  if (!handed_out_.insert(key).second) throw Disagreement("the run of " + text_of(key) + " is given out twice");
  return true;
}

std::int64_t SimulatedDatabase::answer(const RunKey& key) {
  answers_.emplace(next_answer_, key);
  return next_answer_++;
}

}  // namespace digdag::simulation
