#include "store/owned_attempts.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "engine/task_archive.h"
#include "store/attempt_events.h"
#include "store/sql_by_sites.h"
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
void find_queued(Transaction& transaction, std::vector<OwnedAttempt>& attempts) {
  std::map<std::pair<std::int64_t, std::string>, std::pair<OwnedAttempt*, TaskIndex>> tasks;  // by site and name
  for (OwnedAttempt& owned : attempts) {
    for (std::size_t i = 0; i < owned.tasks.size(); ++i) {
      const engine::StoredTask& task = owned.tasks[i];
      if (task.state != engine::TaskState::running) continue;
      const std::string id = std::to_string(task.id);
      const std::pair place(&owned, static_cast<TaskIndex>(i));
      tasks.emplace(std::pair(owned.rows.site_id, id), place);
      if (task.retry_count > 0) tasks.emplace(std::pair(owned.rows.site_id, id + ".r" + std::to_string(task.retry_count)), place);
    }
  }
  if (tasks.empty()) return;
  std::vector<std::int64_t> sites;
  std::vector<std::string> names;
  for (const auto& [key, place] : tasks) {
    if (sites.empty() || sites.back() != key.first) sites.push_back(key.first);
    names.push_back(key.second);
  }
#define QUEUED "select q.site_id, q.unique_name, l.lock_expire_time from queued_tasks q join queued_task_locks l on l.id = q.id where "
  static constexpr Sql sql(QUEUED "q.site_id = any($1::int[]) and q.unique_name = any($2::text[])",
                           QUEUED "q.site_id in (select value from json_each($1)) and q.unique_name in (select value from json_each($2))");
#undef QUEUED
  for (const Row& row : transaction.query(sql, {sites, names})) {
    const auto found = tasks.find({row.integer(0), row.text(1)});
    if (found == tasks.end()) continue;
    const auto& [owned, task] = found->second;
    owned->rows.queued.insert_or_assign(task, row.text(1));
    if (row.is_null(2)) owned->untaken.push_back(task);
  }
  // Without a row in the queue it waited for a place at the agent of its owner: it was given to nobody.
  for (OwnedAttempt& owned : attempts) {
    for (std::size_t i = 0; i < owned.tasks.size(); ++i) {
      const auto task = static_cast<TaskIndex>(i);
      if (owned.tasks[i].state == engine::TaskState::running && !owned.rows.queued.contains(task)) owned.untaken.push_back(task);
    }
  }
}

/// The rows of the queue of all tasks of an attempt, found by their names: the queue and the attempt may both have 100,000 rows.
void remove_queued(Transaction& transaction, std::int64_t attempt_id) {
#define QUEUED                                                                                                             \
  "where id in (select id from queued_tasks where site_id = (select site_id from session_attempts where id = $1) and "     \
  "unique_name in (select cast(id as text) from tasks where attempt_id = $1 union all select cast(id as text) || '.r' || " \
  "retry_count from tasks where attempt_id = $1 and retry_count > 0))"
  transaction.send("delete from queued_task_locks " QUEUED, {attempt_id});
  transaction.send("delete from queued_tasks " QUEUED, {attempt_id});
#undef QUEUED
}

/// What can be read of the rows, with the error on the root.
std::string archive_of_broken(Transaction& transaction, std::int64_t attempt_id, const std::string& message) {
  std::vector<engine::StoredTask> tasks;
  try {
    tasks = std::move(live_tasks(transaction, {attempt_id})[attempt_id]);
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

void OwnedAttempts::commit_in_steps(AttemptChange& change) {
  if (change.finished) return end_in_steps(change);
  for (ChangeStep& step : steps_of(change, rows_in_a_step)) {
    commit_step(step);
    if (step.completes) change.events.clear();
  }
}

void OwnedAttempts::commit_step(ChangeStep& step) {
  const std::int64_t id = step.part.rows->attempt_id;
  std::vector<AttemptChange> parts{std::move(step.part)};
  database_.write(
      [&](Transaction& transaction) {
        write_changes(transaction, parts, server_id_, lease_);
        if (step.pending_from)
          transaction.send("update digdag_native_attempts set pending_from = coalesce(pending_from, $2) where id = $1",
                           {id, *step.pending_from}, 1);
        if (step.completes) transaction.send("update digdag_native_attempts set pending_from = null where id = $1", {id}, 1);
      },
      Durability::process, std::nullopt);
  note_committed(parts);
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

bool OwnedAttempts::remove_some_tasks(Transaction& transaction, std::int64_t attempt_id, std::int64_t first_task_id) {
  std::vector<std::int64_t> ids;
  for (const Row& row : transaction.query("select id from tasks where attempt_id = $1 and id >= $2 order by id desc limit $3",
                                          {attempt_id, first_task_id, static_cast<std::int64_t>(rows_in_a_step)})) {
    ids.push_back(row.integer(0));
  }
  remove_tasks(transaction, ids);
  return ids.size() == rows_in_a_step;
}

// Of an attempt that has another owner by now, they are that one's: it may be writing them.
// Outlives a power cut: what came back would count with the next change, whose owner does not know of it.
void OwnedAttempts::remove_pending(std::int64_t attempt_id) {
  for (bool more = true; more;) {
    more = database_.write(
        [&](Transaction& transaction) {
          static constexpr Sql sql(
              "select pending_from from digdag_native_attempts where id = $1 and owner = $2 and pending_from is not null for update",
              "select pending_from from digdag_native_attempts where id = $1 and owner = $2 and pending_from is not null");
          const auto pending = transaction.first(sql, {attempt_id, server_id_});
          if (!pending) return false;
          if (remove_some_tasks(transaction, attempt_id, pending->integer(0))) return true;
          transaction.send("update digdag_native_attempts set pending_from = null where id = $1", {attempt_id});
          return false;
        },
        Durability::power_cut, std::nullopt);
  }
}

void OwnedAttempts::remove_leftovers() {
  const auto ids = database_.read(
      [&](Transaction& transaction) {
        std::vector<std::int64_t> left;
        for (const Row& row :
             transaction.query("select o.id from digdag_native_attempts o join session_attempts a on a.id = o.id where o.owner is null "
                               "and a.state_flags & 2 = 2"))
          left.push_back(row.integer(0));
        return left;
      },
      std::nullopt);
  for (const std::int64_t id : ids) remove_rows(id);
}

void OwnedAttempts::remove_rows(std::int64_t attempt_id) {
  for (bool more = true; more;) {
    more = database_.write(
        [&](Transaction& transaction) {
          if (remove_some_tasks(transaction, attempt_id, 0)) return true;
          transaction.send("delete from digdag_native_attempts where id = $1", {attempt_id});
          return false;
        },
        Durability::process, std::nullopt);
  }
}

// Outlives a power cut: an epoch that were given twice would let memory of the first one pass for that of the second.
std::vector<std::int64_t> OwnedAttempts::claim(std::int64_t limit, const SiteSelection& sites) {
  // An owner without a row: it was removed as dead while a start of it was being committed.
  static constexpr BySites sql = BY_SITES(
      "with free as (select a.id from session_attempts a left join digdag_native_attempts o on o.id = a.id where a.state_flags & 2 = 0 "
      "and (o.owner is null or not exists (select 1 from digdag_native_servers s where s.id = o.owner)) and not exists (select 1 from "
      "delayed_session_attempts d where d.id = a.id)",
      "a.site_id", "$3",
      " order by a.id limit $2) insert into digdag_native_attempts (id, owner, epoch, version) select id, $1, 1, 0 from free where true "
      "on conflict (id) do update set owner = excluded.owner, epoch = digdag_native_attempts.epoch + 1, version = "
      "digdag_native_attempts.version + 1 where digdag_native_attempts.owner is null or not exists (select 1 from digdag_native_servers "
      "s where s.id = digdag_native_attempts.owner) returning id");
  return database_.write(
      [&](Transaction& transaction) {
        std::vector<std::int64_t> ids;
        for (const Row& row : sql.query(transaction, sites, {server_id_, limit})) ids.push_back(row.integer(0));
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

void OwnedAttempts::load(const std::vector<std::int64_t>& attempt_ids, const Loaded& loaded, const Unreadable& unreadable) {
  if (attempt_ids.empty()) return;
  for (const std::vector<std::int64_t>& portion : portions(attempt_ids)) {
    std::vector<OwnedAttempt> attempts;
    std::optional<Error> trouble;
    try {
      attempts = load_together(portion);
    } catch (const DatabaseError&) {
      throw;
    } catch (const Error& error) {
      trouble = error;
    } catch (const std::exception& error) {
      trouble = Error("internal", error.what());
    }
    if (trouble && portion.size() == 1) {
      unreadable(portion[0], *trouble);
    } else if (trouble) {
      for (const std::int64_t id : portion) load({id}, loaded, unreadable);
    }
    for (OwnedAttempt& attempt : attempts) loaded(std::move(attempt));
  }
}

/// Those that are ours and not done, after the removal of what does not count; so many together as fit into memory.
std::vector<std::vector<std::int64_t>> OwnedAttempts::portions(const std::vector<std::int64_t>& attempt_ids) {
  struct Sized {
    std::int64_t id, tasks;
    bool is_pending, is_done;
  };
#define SIZES(these)                                                                                               \
  "select o.id, (select count(*) from tasks t where t.attempt_id = o.id), o.pending_from, a.state_flags & 2 from " \
  "digdag_native_attempts o join session_attempts a on a.id = o.id where o.id " these " and o.owner = $2 order by o.id"
  static constexpr Sql sql(SIZES("= any($1::bigint[])"), SIZES("in (select value from json_each($1))"));
#undef SIZES
  const auto ours = database_.read([&](Transaction& transaction) {
    std::vector<Sized> all;
    for (const Row& row : transaction.query(sql, {attempt_ids, server_id_}))
      all.push_back({row.integer(0), row.integer(1), !row.is_null(2), row.integer(3) != 0});
    return all;
  });
  std::vector<std::vector<std::int64_t>> portions;
  std::int64_t tasks = 0;
  for (const Sized& attempt : ours) {
    if (attempt.is_done) {  // while its end was being stored, something was in the way
      remove_rows(attempt.id);
      continue;
    }
    if (attempt.is_pending) remove_pending(attempt.id);
    if (portions.empty() || tasks + attempt.tasks > tasks_read_together || portions.back().size() == attempts_read_together) {
      portions.emplace_back();
      tasks = 0;
    }
    portions.back().push_back(attempt.id);
    tasks += attempt.tasks;
  }
  return portions;
}

std::vector<OwnedAttempt> OwnedAttempts::load_together(const std::vector<std::int64_t>& attempt_ids) {
  static constexpr Sql owners(
      "select id, epoch, version from digdag_native_attempts where id = any($1::bigint[]) and owner = $2",
      "select id, epoch, version from digdag_native_attempts where id in (select value from json_each($1)) and owner = $2");
  static constexpr Sql events("select id, attempt_id, kind from digdag_native_events where attempt_id = any($1::bigint[]) order by id",
                              "select id, attempt_id, kind from digdag_native_events where attempt_id in (select value from json_each($1)) "
                              "order by id");
  return database_.read([&](Transaction& transaction) {
    std::map<std::int64_t, std::pair<std::int64_t, std::int64_t>> ours;
    for (const Row& row : transaction.query(owners, {attempt_ids, server_id_})) ours[row.integer(0)] = {row.integer(1), row.integer(2)};
    std::vector<OwnedAttempt> all;
    std::vector<std::int64_t> definitions;
    for (SessionAttempt& attempt : attempts_of_ids(transaction, attempt_ids)) {
      if (attempt.done() || !ours.contains(attempt.id)) continue;
      if (attempt.workflow_definition_id) definitions.push_back(*attempt.workflow_definition_id);
      all.emplace_back().attempt = std::move(attempt);
    }
    std::map<std::int64_t, WorkflowDefinition> workflows;
    for (WorkflowDefinition& workflow : workflows_of_ids(transaction, definitions)) workflows.emplace(workflow.id, std::move(workflow));
    auto stored = stored_attempts(transaction, attempt_ids);
    auto tasks = live_tasks(transaction, attempt_ids);
    std::map<std::int64_t, std::vector<AttemptEvent>> handed_over;
    for (const Row& row : transaction.query(events, {attempt_ids}))
      handed_over[row.integer(1)].push_back({row.integer(0), row.integer(1), row.text(2)});
    for (OwnedAttempt& owned : all) {
      const std::int64_t id = owned.attempt.id;
      owned.rows.attempt_id = id;
      owned.rows.site_id = owned.attempt.site_id;
      std::tie(owned.rows.epoch, owned.rows.version) = ours.at(id);
      const auto workflow = workflows.find(owned.attempt.workflow_definition_id.value_or(0));
      if (workflow != workflows.end()) owned.workflow = workflow->second;
      owned.stored = std::move(stored.at(id));
      owned.stored.killed = owned.attempt.cancel_requested();
      owned.tasks = std::move(tasks[id]);
      for (const engine::StoredTask& task : owned.tasks) {
        owned.rows.task_ids.push_back(task.id);
        owned.rows.states.push_back(task.state);
      }
      owned.rows.cancel_stored = owned.stored.killed;
      owned.rows.monitor_stored = owned.stored.monitor.has_value();
      owned.events = std::move(handed_over[id]);
    }
    find_queued(transaction, all);
    return all;
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
        remove_queued(transaction, attempt_id);
        transaction.send("delete from task_dependencies where downstream_id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from task_details where id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from task_state_details where id in (select id from tasks where attempt_id = $1)", {attempt_id});
        transaction.send("delete from tasks where attempt_id = $1", {attempt_id});
        transaction.send("delete from resuming_tasks where attempt_id = $1", {attempt_id});
        transaction.send("delete from session_monitors where attempt_id = $1", {attempt_id});
        transaction.send("update session_attempts set state_flags = state_flags | 2, finished_at = now() where id = $1", {attempt_id}, 1);
        transaction.send("delete from digdag_native_events where attempt_id = $1", {attempt_id});
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
