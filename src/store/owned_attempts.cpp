#include "store/owned_attempts.h"

#include <algorithm>
#include <map>
#include <utility>

#include "engine/task_archive.h"
#include "store/attempt_events.h"
#include "store/task_rows.h"
#include "store/tasks.h"

namespace digdag::store {
namespace {

using engine::TaskIndex;

/// Task ids are taken from the sequence in blocks of at least this many: a question to the database for each would cost more. They
/// outlive a power cut, so that nobody gets them again.
constexpr std::size_t id_block = 1000;

/// `count` new ids of the original's sequence, ascending.
std::vector<std::int64_t> new_task_ids(Transaction& transaction, std::size_t count) {
  transaction.send({nullptr,
                    "insert into sqlite_sequence (name, seq) select 'tasks', 0 where not exists (select 1 from sqlite_sequence where "
                    "name = 'tasks')"});
  const Rows rows = transaction.query({"select nextval('tasks_id_seq') from generate_series(1, cast($1 as int))",
                                       "update sqlite_sequence set seq = seq + $1 where name = 'tasks' returning seq"},
                                      {static_cast<std::int64_t>(count)});
  std::vector<std::int64_t> ids;
  ids.reserve(count);
  if (rows.size() == 1) {  // SQLite: the last one
    const std::int64_t last = rows[0].integer(0);
    for (std::size_t i = count; i > 0; --i) ids.push_back(last - static_cast<std::int64_t>(i) + 1);
  } else {
    for (const Row& row : rows) ids.push_back(row.integer(0));
  }
  return ids;
}

/// The rows of the queue of tasks that run: named after the task, with or without the number of the retry (spec/execution.md 31c).
void find_queued(Transaction& transaction, OwnedAttempt& owned) {
  std::map<std::string, TaskIndex> names;
  for (std::size_t i = 0; i < owned.tasks.size(); ++i) {
    const engine::StoredTask& task = owned.tasks[i];
    if (task.state != engine::TaskState::running) continue;
    const std::string id = std::to_string(task.id);
    names.emplace(id, static_cast<TaskIndex>(i));
    if (task.retry_count > 0) names.emplace(id + ".r" + std::to_string(task.retry_count), static_cast<TaskIndex>(i));
  }
  if (names.empty()) return;
  std::vector<std::string> wanted;
  wanted.reserve(names.size());
  for (const auto& [name, task] : names) wanted.push_back(name);
#define QUEUED \
  "select q.unique_name, l.lock_expire_time from queued_tasks q join queued_task_locks l on l.id = q.id where q.site_id = $1 and "
  static constexpr Sql sql(QUEUED "q.unique_name = any($2::text[])", QUEUED "q.unique_name in (select value from json_each($2))");
#undef QUEUED
  for (const Row& row : transaction.query(sql, {owned.rows.site_id, wanted})) {
    const TaskIndex task = names.at(row.text(0));
    owned.rows.queued.insert_or_assign(task, row.text(0));
    if (row.is_null(1)) owned.untaken.push_back(task);
  }
  // Without a row in the queue it waited for a place at the agent of its owner: it was given to nobody.
  for (std::size_t i = 0; i < owned.tasks.size(); ++i) {
    const auto task = static_cast<TaskIndex>(i);
    if (owned.tasks[i].state == engine::TaskState::running && !owned.rows.queued.contains(task)) owned.untaken.push_back(task);
  }
}

/// What can be read of the rows, with the error on the root.
std::string archive_of_broken(Transaction& transaction, std::int64_t attempt_id, const std::string& message) {
  std::vector<engine::StoredTask> tasks;
  try {
    tasks = live_tasks(transaction, attempt_id);
  } catch (const DatabaseError&) {
    throw;
  } catch (const Error&) {
    return "[]";
  }
  if (!tasks.empty()) {
    tasks[0].state = engine::TaskState::group_error;
    tasks[0].error = Value::object({{"message", message}});
  }
  engine::expand_barriers(tasks);
  return engine::to_archive(attempt_id, tasks);
}

}  // namespace

OwnedAttempts::OwnedAttempts(Database& database, std::string server_id, QueueLease lease)
    : database_(database), server_id_(std::move(server_id)), lease_(std::move(lease)) {}

void OwnedAttempts::number_tasks(AttemptRows& rows, std::size_t size) {
  if (rows.task_ids.size() >= size) return;
  const std::size_t wanted = size - rows.task_ids.size();
  const std::lock_guard lock(mutex_);
  // Ids of an attempt ascend; spare ones may be older than those that another server gave it.
  if (spare_ids_.size() < wanted || (!rows.task_ids.empty() && spare_ids_.back() < rows.task_ids.back())) {
    // A database that crashes must not give the spare ones a second time.
    spare_ids_ = database_.write([&](Transaction& transaction) { return new_task_ids(transaction, std::max(wanted, id_block)); },
                                 Durability::power_cut, std::nullopt);
    std::reverse(spare_ids_.begin(), spare_ids_.end());
  }
  rows.task_ids.reserve(size);
  while (rows.task_ids.size() < size) {
    rows.task_ids.push_back(spare_ids_.back());
    spare_ids_.pop_back();
  }
}

void OwnedAttempts::commit(std::vector<AttemptChange>& changes) {
  database_.write([&](Transaction& transaction) { write_changes(transaction, changes, server_id_, lease_); }, Durability::process,
                  std::nullopt);
  note_committed(changes);
}

void OwnedAttempts::commit_part(AttemptChange part, std::optional<std::int64_t> pending_from, bool clear_pending) {
  std::vector<AttemptChange> parts{std::move(part)};
  database_.write(
      [&](Transaction& transaction) {
        write_changes(transaction, parts, server_id_, lease_);
        if (pending_from)
          transaction.send("update digdag_native_attempts set pending_from = coalesce(pending_from, $2) where id = $1",
                           {parts[0].rows->attempt_id, *pending_from}, 1);
        if (clear_pending)
          transaction.send("update digdag_native_attempts set pending_from = null where id = $1", {parts[0].rows->attempt_id}, 1);
      },
      Durability::process, std::nullopt);
  note_committed(parts);
}

void OwnedAttempts::commit_in_steps(AttemptChange& change) {
  if (change.finished) return end_in_steps(change);
  AttemptRows& rows = *change.rows;
  const auto stored = static_cast<TaskIndex>(rows.states.size());
  std::vector<TaskIndex> added, released, others;
  for (const TaskIndex task : change.changed) {
    if (task >= stored)
      added.push_back(task);
    else if (rows.states[static_cast<std::size_t>(task)] == engine::TaskState::blocked)
      released.push_back(task);  // by what stands in `others`: that must be stored first
    else
      others.push_back(task);
  }
  const auto part = [&](std::vector<TaskIndex> tasks) { return AttemptChange{&rows, change.attempt, std::move(tasks), {}, {}, {}, false}; };
  const auto in_steps = [&](const std::vector<TaskIndex>& tasks, const auto& work) {
    for (std::size_t i = 0; i < tasks.size(); i += rows_in_a_step)
      work(std::vector<TaskIndex>(tasks.begin() + static_cast<std::ptrdiff_t>(i),
                                  tasks.begin() + static_cast<std::ptrdiff_t>(std::min(i + rows_in_a_step, tasks.size()))));
  };
  bool pending = false;
  in_steps(added, [&](std::vector<TaskIndex> tasks) {
    const bool is_first = !std::exchange(pending, true);
    commit_part(part(std::move(tasks)), is_first ? std::optional(rows.task_ids[static_cast<std::size_t>(added.front())]) : std::nullopt,
                false);
  });
  AttemptChange cause = part(std::move(others));
  cause.results_changed = change.results_changed;
  std::erase_if(cause.results_changed, [&](TaskIndex task) { return task >= stored; });
  cause.events = change.events;
  commit_part(std::move(cause), std::nullopt, true);
  in_steps(released, [&](std::vector<TaskIndex> tasks) { commit_part(part(std::move(tasks)), std::nullopt, false); });
  for (std::size_t i = 0; i < change.runs.size(); i += rows_in_a_step) {
    AttemptChange runs = part({});
    runs.runs.assign(change.runs.begin() + static_cast<std::ptrdiff_t>(i),
                     change.runs.begin() + static_cast<std::ptrdiff_t>(std::min(i + rows_in_a_step, change.runs.size())));
    commit_part(std::move(runs), std::nullopt, false);
  }
}

void OwnedAttempts::end_in_steps(AttemptChange& change) {
  AttemptRows& rows = *change.rows;
  if (!rows.end_stored) {
    database_.write([&](Transaction& transaction) { write_end(transaction, change, server_id_); }, Durability::process, std::nullopt);
    rows.end_stored = true;
  }
  for (std::size_t end = rows.states.size(); end > 0;) {
    const std::size_t begin = end > rows_in_a_step ? end - rows_in_a_step : 0;
    const std::vector<std::int64_t> ids(rows.task_ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                        rows.task_ids.begin() + static_cast<std::ptrdiff_t>(end));
    database_.write([&](Transaction& transaction) { remove_tasks(transaction, ids); }, Durability::process, std::nullopt);
    end = begin;
  }
  database_.write(
      [&](Transaction& transaction) { transaction.send("delete from digdag_native_attempts where id = $1", {rows.attempt_id}); },
      Durability::process, std::nullopt);
}

void OwnedAttempts::remove_tasks_from(std::int64_t attempt_id, std::int64_t first_task_id) {
  while (true) {
    const bool more = database_.write(
        [&](Transaction& transaction) {
          std::vector<std::int64_t> ids;
          for (const Row& row : transaction.query("select id from tasks where attempt_id = $1 and id >= $2 order by id desc limit $3",
                                                  {attempt_id, first_task_id, static_cast<std::int64_t>(rows_in_a_step)})) {
            ids.push_back(row.integer(0));
          }
          remove_tasks(transaction, ids);
          return ids.size() == rows_in_a_step;
        },
        Durability::process, std::nullopt);
    if (!more) return;
  }
}

void OwnedAttempts::remove_pending(std::int64_t attempt_id) {
  const std::optional<std::int64_t> from = database_.read(
      [&](Transaction& transaction) {
        const auto row = transaction.first("select pending_from from digdag_native_attempts where id = $1", {attempt_id});
        return row ? row->optional_integer(0) : std::nullopt;
      },
      std::nullopt);
  if (!from) return;
  remove_tasks_from(attempt_id, *from);
  database_.write(
      [&](Transaction& transaction) {
        transaction.send("update digdag_native_attempts set pending_from = null where id = $1", {attempt_id});
      },
      Durability::process, std::nullopt);
}

void OwnedAttempts::remove_leftovers() {
  std::vector<std::int64_t> ids;
  database_.read(
      [&](Transaction& transaction) {
        ids.clear();
        for (const Row& row :
             transaction.query("select o.id from digdag_native_attempts o join session_attempts a on a.id = o.id where o.owner is null "
                               "and a.state_flags & 2 = 2"))
          ids.push_back(row.integer(0));
      },
      std::nullopt);
  for (const std::int64_t id : ids) {
    remove_tasks_from(id, 0);
    database_.write(
        [&](Transaction& transaction) { transaction.send("delete from digdag_native_attempts where id = $1 and owner is null", {id}); },
        Durability::process, std::nullopt);
  }
}

// Outlives a power cut: an epoch that were given twice would let memory of the first one pass for that of the second.
std::vector<std::int64_t> OwnedAttempts::claim(std::int64_t limit) {
  return database_.write(
      [&](Transaction& transaction) {
        std::vector<std::int64_t> ids;
        // An owner without a row: it was removed as dead while a start of it was being committed.
        for (const Row& row : transaction.query(
                 "with free as (select a.id from session_attempts a left join digdag_native_attempts o on o.id = a.id where "
                 "a.state_flags & 2 = 0 and (o.owner is null or not exists (select 1 from digdag_native_servers s where s.id = o.owner)) "
                 "and not exists (select 1 from delayed_session_attempts d where d.id = a.id) order by a.id limit $2) "
                 "insert into digdag_native_attempts (id, owner, epoch, version) select id, $1, 1, 0 from free where true on conflict (id) "
                 "do update set owner = excluded.owner, epoch = digdag_native_attempts.epoch + 1, version = "
                 "digdag_native_attempts.version + 1 where digdag_native_attempts.owner is null or not exists (select 1 from "
                 "digdag_native_servers s where s.id = digdag_native_attempts.owner) returning id",
                 {server_id_, limit})) {
          ids.push_back(row.integer(0));
        }
        std::sort(ids.begin(), ids.end());
        return ids;
      },
      Durability::power_cut);
}

std::vector<std::int64_t> OwnedAttempts::ids() {
  return database_.read([&](Transaction& transaction) {
    std::vector<std::int64_t> ids;
    for (const Row& row : transaction.query("select id from digdag_native_attempts where owner = $1", {server_id_}))
      ids.push_back(row.integer(0));
    return ids;
  });
}

std::optional<OwnedAttempt> OwnedAttempts::load(std::int64_t attempt_id) {
  remove_pending(attempt_id);
  return database_.read([&](Transaction& transaction) -> std::optional<OwnedAttempt> {
    const auto row = transaction.first(
        "select o.epoch, o.version, a.site_id from digdag_native_attempts o join session_attempts a on a.id = o.id where o.id = $1 and "
        "o.owner = $2 and a.state_flags & 2 = 0",
        {attempt_id, server_id_});
    if (!row) return std::nullopt;
    OwnedAttempt owned;
    owned.rows.attempt_id = attempt_id;
    owned.rows.epoch = row->integer(0);
    owned.rows.version = row->integer(1);
    owned.rows.site_id = row->integer(2);
    const auto attempt = Sessions(transaction, owned.rows.site_id).attempt(attempt_id);
    if (!attempt) return std::nullopt;
    owned.attempt = *attempt;
    if (attempt->workflow_definition_id)
      owned.workflow = Projects(transaction, owned.rows.site_id).workflow(*attempt->workflow_definition_id);
    owned.stored = stored_attempt(transaction, attempt_id);
    owned.stored.killed = attempt->cancel_requested();
    owned.tasks = live_tasks(transaction, attempt_id);
    for (const engine::StoredTask& task : owned.tasks) {
      owned.rows.task_ids.push_back(task.id);
      owned.rows.states.push_back(task.state);
    }
    owned.rows.cancel_stored = owned.stored.killed;
    owned.rows.monitor_stored = owned.stored.monitor.has_value();
    find_queued(transaction, owned);
    for (const Row& event : transaction.query("select id, kind from digdag_native_events where attempt_id = $1 order by id", {attempt_id}))
      owned.events.push_back({event.integer(0), attempt_id, event.text(1)});
    return owned;
  });
}

std::vector<AttemptEvent> OwnedAttempts::events() {
  return database_.read([&](Transaction& transaction) {
    std::vector<AttemptEvent> events;
    for (const Row& row :
         transaction.query("select e.id, e.attempt_id, e.kind from digdag_native_events e join digdag_native_attempts o on "
                           "o.id = e.attempt_id where o.owner = $1 order by e.id",
                           {server_id_})) {
      events.push_back({row.integer(0), row.integer(1), row.text(2)});
    }
    return events;
  });
}

void OwnedAttempts::end_broken(std::int64_t attempt_id, const std::string& message) {
  database_.write(
      [&](Transaction& transaction) {
        if (!transaction.changes_one("update digdag_native_attempts set version = version + 1 where id = $1 and owner = $2",
                                     {attempt_id, server_id_}))
          return;
        transaction.execute("insert into task_archives (id, tasks, created_at) values ($1, $2, now()) on conflict (id) do nothing",
                            {attempt_id, archive_of_broken(transaction, attempt_id, message)});
        transaction.send(
            "delete from queued_task_locks where id in (select q.id from queued_tasks q join tasks t on q.unique_name = cast(t.id as "
            "text) or q.unique_name like cast(t.id as text) || '.r%' where t.attempt_id = $1)",
            {attempt_id});
        transaction.send(
            "delete from queued_tasks where id in (select q.id from queued_tasks q join tasks t on q.unique_name = cast(t.id as text) or "
            "q.unique_name like cast(t.id as text) || '.r%' where t.attempt_id = $1)",
            {attempt_id});
        transaction.send("delete from task_dependencies where downstream_id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from task_details where id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from task_state_details where id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from tasks where attempt_id = $1", {attempt_id});
        transaction.send("delete from resuming_tasks where attempt_id = $1", {attempt_id});
        transaction.send("delete from session_monitors where attempt_id = $1", {attempt_id});
        transaction.send("delete from digdag_native_events where attempt_id = $1", {attempt_id});
        transaction.send("update session_attempts set state_flags = state_flags | 2, finished_at = now() where id = $1", {attempt_id}, 1);
        transaction.send("delete from digdag_native_attempts where id = $1", {attempt_id});
      },
      Durability::power_cut);
}

void OwnedAttempts::release() {
  database_.write(
      [&](Transaction& transaction) {
        transaction.send("update digdag_native_attempts set owner = null where owner = $1", {server_id_});
        transaction.send(
            "update queued_task_locks set lock_expire_time = null, lock_agent_id = null where lock_agent_id = $1 and lease is not null",
            {lease_.agent_id});
        transaction.notify(attempts_notice);
      },
      Durability::power_cut);
}

void OwnedAttempts::renew() {
  database_.write(
      [&](Transaction& transaction) {
        transaction.send(
            {"update queued_task_locks set lock_expire_time = extract(epoch from now())::bigint + $2 where lock_agent_id = $1 and "
             "lease is not null",
             "update queued_task_locks set lock_expire_time = now() / 1000000 + $2 where lock_agent_id = $1 and lease is not null"},
            {lease_.agent_id, lease_.seconds});
      },
      Durability::process);
}

}  // namespace digdag::store
