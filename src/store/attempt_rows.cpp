#include "store/attempt_rows.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/json.h"
#include "engine/stored_task.h"
#include "engine/task_archive.h"
#include "store/attempt_events.h"
#include "store/columns.h"
#include "store/sessions.h"
#include "store/triggers.h"

namespace digdag::store {
namespace {

using engine::StoredTask;
using engine::TaskIndex;
using engine::TaskState;

/// A barrier of up to this many tasks is written as the rows of task_dependencies that Java wants; a larger one (N tasks that wait
/// for N others) is kept as a range in `tasks.native`.
constexpr std::int64_t most_named_siblings = 100;
constexpr std::string_view barrier_key = "barrier";

/// Columns of many rows, for Transaction::send_rows.
class Columns {
 public:
  explicit Columns(std::size_t width) : columns_(width) {}
  void add(std::initializer_list<SqlValue> row) {
    std::size_t i = 0;
    for (const SqlValue& value : row) columns_[i++].push_back(value);
  }
  bool empty() const { return columns_[0].empty(); }
  std::int64_t rows() const { return static_cast<std::int64_t>(columns_[0].size()); }
  const std::vector<SqlValues>& get() const { return columns_; }

 private:
  std::vector<SqlValues> columns_;
};

SqlValue keys_column(const std::vector<engine::ConfigKey>& keys) {
  Array list;
  for (const engine::ConfigKey& key : keys) list.emplace_back(key);
  return json_column(Value(std::move(list)));
}

SqlValue time_column(const std::optional<Instant>& time) { return time ? SqlValue(Timestamp::of(*time)) : SqlValue(Null{}); }

std::int64_t code(TaskState state) { return static_cast<std::int64_t>(state); }

/// Keeps a barrier that is too large for rows in `native`.
Value native_of(const StoredTask& task) {
  if (!task.barrier) return task.native;
  Value native = task.native.is_object() ? task.native : Value::object();
  native.mutable_object().set(barrier_key, Value(Array{task.barrier->first, task.barrier->last}));
  return native;
}

}  // namespace

void remove_tasks(Transaction& transaction, const std::vector<std::int64_t>& task_ids, bool all_are_there) {
  if (task_ids.empty()) return;
  transaction.send({"delete from task_dependencies where downstream_id = any($1::bigint[])",
                    "delete from task_dependencies where downstream_id in (select value from json_each($1))"},
                   {task_ids});
  transaction.send(
      {"delete from task_details where id = any($1::bigint[])", "delete from task_details where id in (select value from json_each($1))"},
      {task_ids});
  transaction.send({"delete from task_state_details where id = any($1::bigint[])",
                    "delete from task_state_details where id in (select value from json_each($1))"},
                   {task_ids});
  transaction.send({"delete from tasks where id = any($1::bigint[])", "delete from tasks where id in (select value from json_each($1))"},
                   {task_ids}, all_are_there ? std::optional(static_cast<std::int64_t>(task_ids.size())) : std::nullopt);
}

namespace {

/// The rows of one commit, gathered over all its attempts.
class Gathered {
 public:
  explicit Gathered(bool keep_tasks = false) : keep_tasks_(keep_tasks) {}
  void add(const AttemptChange& change) {
    const AttemptRows& rows = *change.rows;
    attempts_.add({rows.attempt_id, rows.version, rows.epoch});
    for (const std::int64_t event : change.events) events_.push_back(event);
    if (change.finished) return finish(change);
    const auto stored_count = static_cast<TaskIndex>(rows.states.size());
    auto result = change.results_changed.begin();
    for (const TaskIndex index : change.changed) {
      while (result != change.results_changed.end() && *result < index) ++result;
      const bool with_result = result != change.results_changed.end() && *result == index;
      StoredTask task = change.attempt->stored(index, rows.task_ids);
      if (index >= stored_count) {
        insert(change, task);
      } else {
        update(rows.states[static_cast<std::size_t>(index)], task);
        if (with_result) add_results(results_, task);
      }
      if (const auto queued = outdated(change, index); queued != rows.queued.end()) dequeued_.add({rows.site_id, queued->second});
    }
    for (const QueuedRun& run : change.runs) enqueue(change, run);
    if (change.is_part) return;
    if (change.attempt->cancel_was_requested() && !rows.cancel_stored) cancelled_.push_back(rows.attempt_id);
    write_monitor(change);
  }

  /// Whoever is not the owner any more, or not at this version, changes nothing.
  void raise_versions(Transaction& transaction, const std::string& owner) const {
    std::vector<std::int64_t> ids;
    for (const SqlValue& id : attempts_.get()[0]) ids.push_back(std::get<std::int64_t>(id));
    // Locked in one order by all: nobody waits in a circle. SQLite has one writer.
    transaction.send({"select 1 from digdag_native_attempts where id = any($1::bigint[]) order by id for update", nullptr}, {ids});
    std::vector<SqlValues> owned = attempts_.get();
    owned.emplace_back(ids.size(), SqlValue(owner));
    transaction.send_rows(
        {"update digdag_native_attempts a set version = a.version + 1 from unnest($1::bigint[], $2::bigint[], $3::bigint[], "
         "$4::text[]) as e(id, version, epoch, owner) where a.id = e.id and a.version = e.version and a.epoch = e.epoch and "
         "a.owner = e.owner",
         "update digdag_native_attempts set version = version + 1 where id = $1 and version = $2 and epoch = $3 and owner = $4"},
        owned, attempts_.rows());
  }

  void send(Transaction& transaction, const QueueLease& lease) const {
    send_tasks(transaction);
    send_queue(transaction, lease);
    if (!cancelled_.empty()) {
      transaction.send({"update session_attempts set state_flags = state_flags | 1 where id = any($1::bigint[])",
                        "update session_attempts set state_flags = state_flags | 1 where id in (select value from json_each($1))"},
                       {cancelled_});
    }
    send_monitors(transaction);
    // Whoever hands an event in may have been held up until it was applied: it counts with its row, or not at all.
    if (!events_.empty()) {
      transaction.send({"delete from digdag_native_events where id = any($1::bigint[])",
                        "delete from digdag_native_events where id in (select value from json_each($1))"},
                       {events_}, static_cast<std::int64_t>(events_.size()));
    }
    send_finished(transaction);
  }

 private:
  void insert(const AttemptChange& change, StoredTask& task) {
    if (task.barrier && task.barrier->last - task.barrier->first < most_named_siblings) name_barrier(change, task);
    inserted_.add({task.id, change.rows->attempt_id, sql_value(task.parent_id), std::int64_t{task.is_group ? 1 : 0}, code(task.state),
                   std::int64_t{task.flags}, Timestamp::of(task.updated_at), time_column(task.retry_at), json_column(task.state_params),
                   task.retry_count, time_column(task.started_at), json_column(native_of(task))});
    details_.add({task.id, task.full_name, json_column(task.local), json_column(task.export_config), sql_value(task.resuming_task_id)});
    add_results(new_results_, task);
    for (const std::int64_t upstream : task.upstreams) dependencies_.add({upstream, task.id});
  }

  /// The members of a barrier are the tasks of its range that have the same parent.
  static void name_barrier(const AttemptChange& change, StoredTask& task) {
    const auto& ids = change.rows->task_ids;
    const auto first = std::lower_bound(ids.begin(), ids.end(), task.barrier->first);
    const auto last = std::upper_bound(first, ids.end(), task.barrier->last);
    const TaskIndex self = static_cast<TaskIndex>(std::lower_bound(ids.begin(), ids.end(), task.id) - ids.begin());
    const TaskIndex parent = change.attempt->parent(self);
    for (auto id = first; id != last; ++id) {
      if (change.attempt->parent(static_cast<TaskIndex>(id - ids.begin())) == parent) task.upstreams.push_back(*id);
    }
    std::sort(task.upstreams.begin(), task.upstreams.end());
    task.barrier.reset();
  }

  void update(TaskState was, const StoredTask& task) {
    updated_.add({task.id, code(was), code(task.state), std::int64_t{task.flags}, Timestamp::of(task.updated_at),
                  time_column(task.retry_at), json_column(task.state_params), task.retry_count, time_column(task.started_at),
                  json_column(native_of(task))});
  }

  static void add_results(Columns& columns, const StoredTask& task) {
    columns.add({task.id, json_column(task.subtask_config), json_column(task.export_params), json_column(task.store_params),
                 json_column(task.error), keys_column(task.reset_store_params)});
  }

  void enqueue(const AttemptChange& change, const QueuedRun& run) {
    const std::string name = unique_name(change, run.task);
    const auto queued = change.rows->queued.find(run.task);
    if (queued != change.rows->queued.end() && queued->second == name) {
      // Its row waits, or its former run was lost: the same row is taken by the new run.
      taken_.add({change.rows->site_id, name, std::int64_t{run.lease}, std::int64_t{run.taken ? 1 : 0}});
      return;
    }
    enqueued_.add({change.rows->site_id, name, std::int64_t{run.lease}, std::int64_t{run.taken ? 1 : 0}});
  }

 public:
  /// `<task id>`, or `<task id>.r<retry count>` of one that was retried.
  static std::string unique_name(const AttemptChange& change, TaskIndex task) {
    const std::int64_t retries = change.attempt->retry_count(task);
    const std::string id = std::to_string(change.rows->task_ids[static_cast<std::size_t>(task)]);
    return retries == 0 ? id : id + ".r" + std::to_string(retries);
  }
  /// The row of the queue of a run that is over, if it has one. Also where a poll without delay ends and begins a run in one commit:
  /// whoever reads the rows back looks for the name of the new one.
  static std::unordered_map<TaskIndex, std::string>::iterator outdated(const AttemptChange& change, TaskIndex task) {
    std::unordered_map<TaskIndex, std::string>& queued = change.rows->queued;
    const auto found = queued.find(task);
    const bool is_current =
        found != queued.end() && change.attempt->state(task) == TaskState::running && found->second == unique_name(change, task);
    return is_current ? queued.end() : found;
  }

 private:
  void write_monitor(const AttemptChange& change) {
    const auto monitor = change.attempt->monitor();
    if (monitor && !change.rows->monitor_stored)
      monitors_.add({change.rows->attempt_id, monitor->next_run_time, monitor->type, json_column(monitor->config)});
    else if (!monitor && change.rows->monitor_stored)
      gone_monitors_.push_back(change.rows->attempt_id);
  }

  void finish(const AttemptChange& change) {
    const engine::Attempt& attempt = *change.attempt;
    std::vector<StoredTask> tasks;
    tasks.reserve(attempt.size());
    for (std::size_t i = 0; i < attempt.size(); ++i) tasks.push_back(attempt.stored(static_cast<TaskIndex>(i), change.rows->task_ids));
    engine::expand_barriers(tasks);
    std::int64_t flags = attempt_done;
    if (attempt.success()) {
      flags |= attempt_success;
      succeeded_ids_.push_back(change.rows->attempt_id);
    }
    if (attempt.cancel_was_requested()) flags |= attempt_cancel_requested;
    archives_.add({change.rows->attempt_id, engine::to_archive(change.rows->attempt_id, tasks)});
    finished_.add({change.rows->attempt_id, flags});
    finished_ids_.push_back(change.rows->attempt_id);
    for (std::size_t i = 0; i < change.rows->states.size() && !keep_tasks_; ++i) removed_.push_back(change.rows->task_ids[i]);
    for (const auto& [task, name] : change.rows->queued) dequeued_.add({change.rows->site_id, name});
  }

 public:
  void send_tasks(Transaction& transaction) const {
    if (!updated_.empty()) {
      transaction.send_rows(
          {"update tasks t set state = e.becomes, state_flags = e.flags, updated_at = e.updated_at, retry_at = e.retry_at, state_params = "
           "e.state_params, retry_count = e.retry_count, started_at = e.started_at, native = e.native from unnest($1::bigint[], "
           "$2::smallint[], "
           "$3::smallint[], $4::smallint[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::int[], $9::timestamptz[], $10::text[]) "
           "as e(id, "
           "was, becomes, flags, updated_at, retry_at, state_params, retry_count, started_at, native) where t.id = e.id and t.state = "
           "e.was",
           "update tasks set state = $3, state_flags = $4, updated_at = $5, retry_at = $6, state_params = $7, retry_count = $8, started_at "
           "= $9, "
           "native = $10 where id = $1 and state = $2"},
          updated_.get(), updated_.rows());
    }
    if (!results_.empty()) {
      transaction.send_rows(
          {"update task_state_details d set subtask_config = e.subtask_config, export_params = e.export_params, store_params = "
           "e.store_params, error "
           "= e.error, reset_store_params = e.reset_store_params from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], "
           "$6::text[]) as e(id, subtask_config, export_params, store_params, error, reset_store_params) where d.id = e.id",
           "update task_state_details set subtask_config = $2, export_params = $3, store_params = $4, error = $5, reset_store_params = $6 "
           "where id "
           "= $1"},
          results_.get(), results_.rows());
    }
    if (inserted_.empty()) return;
    transaction.send_rows(
        {"insert into tasks (id, attempt_id, parent_id, task_type, state, state_flags, updated_at, retry_at, state_params, retry_count, "
         "started_at, native) select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[], "
         "$6::smallint[], "
         "$7::timestamptz[], $8::timestamptz[], $9::text[], $10::int[], $11::timestamptz[], $12::text[])",
         "insert into tasks (id, attempt_id, parent_id, task_type, state, state_flags, updated_at, retry_at, state_params, retry_count, "
         "started_at, native) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"},
        inserted_.get());
    transaction.send_rows(
        {"insert into task_details (id, full_name, local_config, export_config, resuming_task_id) select * from "
         "unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[])",
         "insert into task_details (id, full_name, local_config, export_config, resuming_task_id) values ($1, $2, $3, $4, $5)"},
        details_.get());
    transaction.send_rows(
        {"insert into task_state_details (id, subtask_config, export_params, store_params, error, reset_store_params) select * from "
         "unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])",
         "insert into task_state_details (id, subtask_config, export_params, store_params, error, reset_store_params) values ($1, $2, $3, "
         "$4, "
         "$5, $6)"},
        new_results_.get());
    if (!dependencies_.empty()) {
      transaction.send_rows({"insert into task_dependencies (upstream_id, downstream_id) select * from unnest($1::bigint[], $2::bigint[])",
                             "insert into task_dependencies (upstream_id, downstream_id) values ($1, $2)"},
                            dependencies_.get());
    }
  }

  void send_monitors(Transaction& transaction) const {
    if (!monitors_.empty()) {
      transaction.send_rows(
          {"insert into session_monitors (attempt_id, next_run_time, type, config, created_at, updated_at) select attempt_id, "
           "next_run_time, type, config, now(), now() from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) as "
           "e(attempt_id, next_run_time, type, config)",
           "insert into session_monitors (attempt_id, next_run_time, type, config, created_at, updated_at) values ($1, $2, $3, $4, "
           "now(), now())"},
          monitors_.get());
    }
    if (!gone_monitors_.empty()) {
      transaction.send({"delete from session_monitors where attempt_id = any($1::bigint[])",
                        "delete from session_monitors where attempt_id in (select value from json_each($1))"},
                       {gone_monitors_});
    }
  }

 private:
  void send_queue(Transaction& transaction, const QueueLease& lease) const {
    const auto with_lease = [&](const Columns& columns) {
      std::vector<SqlValues> all = columns.get();
      all.emplace_back(all[0].size(), SqlValue(lease.agent_id));
      all.emplace_back(all[0].size(), SqlValue(lease.seconds));
      return all;
    };
    if (!dequeued_.empty()) {
      transaction.send_rows(
          {"with q as (delete from queued_tasks q using unnest($1::int[], $2::text[]) as e(site_id, unique_name) where q.site_id = "
           "e.site_id and q.unique_name = e.unique_name returning q.id) delete from queued_task_locks l using q where l.id = q.id",
           "delete from queued_task_locks where id = (select id from queued_tasks where site_id = $1 and unique_name = $2)"},
          dequeued_.get());
      transaction.send_rows({nullptr, "delete from queued_tasks where site_id = $1 and unique_name = $2"}, dequeued_.get());
    }
    if (!enqueued_.empty()) {
      const auto rows = with_lease(enqueued_);
      transaction.send_rows({"with e as (select * from unnest($1::int[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[]) "
                             "as e(site_id, unique_name, "
                             "lease, taken, agent, seconds)), q as (insert into queued_tasks (site_id, unique_name, created_at) select "
                             "site_id, unique_name, now() "
                             "from e returning id, site_id, unique_name) insert into queued_task_locks (id, site_id, priority, "
                             "lock_expire_time, lock_agent_id, "
                             "lease) select q.id, q.site_id, 0, case when e.taken = 1 then extract(epoch from now())::bigint + e.seconds "
                             "end, case when e.taken = 1 "
                             "then e.agent end, e.lease from q join e on q.site_id = e.site_id and q.unique_name = e.unique_name",
                             "insert into queued_tasks (site_id, unique_name, created_at) values ($1, $2, now())"},
                            rows);
      transaction.send_rows({nullptr,
                             "insert into queued_task_locks (id, site_id, priority, retry_count, lock_expire_time, lock_agent_id, lease) "
                             "select id, site_id, 0, 0, case "
                             "when $4 = 1 then now() / 1000000 + $6 end, case when $4 = 1 then $5 end, $3 from queued_tasks where site_id "
                             "= $1 and unique_name = $2"},
                            rows);
    }
    if (!taken_.empty()) {
      transaction.send_rows({"update queued_task_locks l set lock_expire_time = case when e.taken = 1 then extract(epoch from "
                             "now())::bigint + e.seconds end, "
                             "lock_agent_id = case when e.taken = 1 then e.agent end, lease = e.lease from unnest($1::int[], $2::text[], "
                             "$3::bigint[], $4::bigint[], "
                             "$5::text[], $6::bigint[]) as e(site_id, unique_name, lease, taken, agent, seconds) join queued_tasks q on "
                             "q.site_id = e.site_id and "
                             "q.unique_name = e.unique_name where l.id = q.id",
                             "update queued_task_locks set lock_expire_time = case when $4 = 1 then now() / 1000000 + $6 end, "
                             "lock_agent_id = case when $4 = 1 then "
                             "$5 end, lease = $3 where id = (select id from queued_tasks where site_id = $1 and unique_name = $2)"},
                            with_lease(taken_), taken_.rows());
    }
  }

  void send_finished(Transaction& transaction) const {
    if (finished_ids_.empty()) return;
    transaction.send_rows(
        {"insert into task_archives (id, tasks, created_at) select id, tasks, now() from unnest($1::bigint[], $2::text[]) as "
         "e(id, tasks)",
         "insert into task_archives (id, tasks, created_at) values ($1, $2, now())"},
        archives_.get());
    remove_tasks(transaction, removed_, true);
    transaction.send({"delete from resuming_tasks where attempt_id = any($1::bigint[])",
                      "delete from resuming_tasks where attempt_id in (select value from json_each($1))"},
                     {finished_ids_});
    transaction.send({"delete from session_monitors where attempt_id = any($1::bigint[])",
                      "delete from session_monitors where attempt_id in (select value from json_each($1))"},
                     {finished_ids_});
    transaction.send_rows(
        {"update session_attempts a set state_flags = a.state_flags | e.flags, finished_at = now() from unnest($1::bigint[], "
         "$2::smallint[]) as e(id, flags) where a.id = e.id",
         "update session_attempts set state_flags = state_flags | $2, finished_at = now() where id = $1"},
        finished_.get(), finished_.rows());
    // After their attempts, which whoever kills one locks first: a kill that comes meanwhile must not stay behind.
    transaction.send({"delete from digdag_native_events where attempt_id = any($1::bigint[])",
                      "delete from digdag_native_events where attempt_id in (select value from json_each($1))"},
                     {finished_ids_});
    if (!succeeded_ids_.empty()) insert_triggered_starts(transaction, succeeded_ids_);
    if (!keep_tasks_) {
      transaction.send({"delete from digdag_native_attempts where id = any($1::bigint[])",
                        "delete from digdag_native_attempts where id in (select value from json_each($1))"},
                       {finished_ids_});
    }
  }

  const bool keep_tasks_;
  Columns attempts_{3}, updated_{10}, results_{6}, inserted_{12}, details_{5}, new_results_{6}, dependencies_{2};
  Columns enqueued_{4}, taken_{4}, dequeued_{2}, monitors_{4}, archives_{2}, finished_{2};
  std::vector<std::int64_t> events_, cancelled_, gone_monitors_, finished_ids_, succeeded_ids_, removed_;
};

/// `version`: what `note_committed` makes of it where a change is part of the same transaction.
void insert_row_of_owner(Transaction& transaction, AttemptRows& rows, const std::string& owner, std::int64_t version) {
  rows.epoch = 1;
  rows.version = 0;
  transaction.send("insert into digdag_native_attempts (id, owner, epoch, version) values ($1, $2, 1, $3)",
                   {rows.attempt_id, owner.empty() ? SqlValue(Null{}) : SqlValue(owner), version});
}

}  // namespace

void write_changes(Transaction& transaction, const std::vector<AttemptChange>& changes, const std::string& owner, const QueueLease& lease) {
  std::vector<const AttemptChange*> ordered;
  ordered.reserve(changes.size());
  for (const AttemptChange& change : changes) ordered.push_back(&change);
  std::sort(ordered.begin(), ordered.end(),
            [](const AttemptChange* a, const AttemptChange* b) { return a->rows->attempt_id < b->rows->attempt_id; });
  Gathered gathered;
  for (const AttemptChange* change : ordered) gathered.add(*change);
  gathered.raise_versions(transaction, owner);
  gathered.send(transaction, lease);
}

void write_new(Transaction& transaction, AttemptChange& change, const std::string& owner, const QueueLease& lease) {
  insert_row_of_owner(transaction, *change.rows, owner, 1);
  Gathered gathered;
  gathered.add(change);
  gathered.send(transaction, lease);
}

void write_end(Transaction& transaction, const AttemptChange& change, const std::string& owner) {
  Gathered gathered(true);
  gathered.add(change);
  gathered.raise_versions(transaction, owner);
  gathered.send(transaction, {});
}

void write_first(Transaction& transaction, const std::vector<AttemptChange>& changes) {
  Gathered gathered;
  for (const AttemptChange& change : changes) gathered.add(change);
  gathered.send_tasks(transaction);
  gathered.send_monitors(transaction);
}

void note_committed(std::vector<AttemptChange>& changes) {
  for (AttemptChange& change : changes) {
    AttemptRows& rows = *change.rows;
    ++rows.version;
    if (change.finished) continue;
    for (const TaskIndex index : change.changed) {
      const auto at = static_cast<std::size_t>(index);
      if (at >= rows.states.size()) rows.states.resize(at + 1);
      rows.states[at] = change.attempt->state(index);
      if (const auto queued = Gathered::outdated(change, index); queued != rows.queued.end()) rows.queued.erase(queued);
    }
    for (const QueuedRun& run : change.runs) rows.queued.insert_or_assign(run.task, Gathered::unique_name(change, run.task));
    if (change.is_part) continue;
    rows.cancel_stored = rows.cancel_stored || change.attempt->cancel_was_requested();
    rows.monitor_stored = change.attempt->monitor().has_value();
  }
}

void insert_ownership(Transaction& transaction, AttemptRows& rows, const std::string& owner) {
  insert_row_of_owner(transaction, rows, owner, 0);
  if (owner.empty()) transaction.notify(attempts_notice);
}

}  // namespace digdag::store
