#include "store/migrations.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <span>
#include <thread>

#include "store/schema.h"
#include "store/servers.h"

namespace digdag::store {
namespace {

/// A step of the original from an older schema to a newer one.
struct Migration {
  std::string_view name;
  std::span<const Sql> statements = {};
  std::string_view concurrent_index = {};  ///< built beside running work, outside of a transaction
};

// ---- What the original did, on PostgreSQL (spec/server.md 11) ------------------------------------------------------------

/// The queue hands out tasks by this function. Its text is the original's.
constexpr Sql lock_shared_tasks =
    R"(create function lock_shared_tasks(target_site_id int, target_site_max_concurrency bigint, limit_count int, lock_expire_seconds int,
  agent_id text) returns setof bigint as $$
BEGIN
  IF pg_try_advisory_xact_lock(23300, target_site_id) THEN
    RETURN QUERY
      with updated as (
        update queued_task_locks
        set lock_expire_time = cast(extract(epoch from statement_timestamp()) as bigint) + lock_expire_seconds,
            lock_agent_id = agent_id
        where id = any(
          select queued_task_locks.id
          from queued_task_locks
          where lock_expire_time is null
          and site_id = target_site_id
          and not exists (
            select * from (
              select queue_id, count(*) as count
              from queued_task_locks
              where lock_expire_time is not null
                and site_id = target_site_id
              group by queue_id
            ) runnings
            join queues on queues.id = runnings.queue_id
            where runnings.count >= queues.max_concurrency
              and runnings.queue_id = queued_task_locks.queue_id
          )
          and not exists (
            select count(*)
            from queued_task_locks
            where lock_expire_time is not null
              and site_id = target_site_id
            having count(*) >= target_site_max_concurrency
          )
          order by queue_id, priority desc, id
          limit limit_count
        )
        returning queue_id, priority, id
      )
      select id from updated
      order by queue_id, priority desc, id;
  END IF;
END;
$$ language plpgsql volatile)";

constexpr Sql sessions_index_to_descending[] = {
    "create index sessions_on_project_id_desc on sessions (project_id, id desc)",
    "drop index sessions_on_project_id",
};
constexpr Sql resuming_tasks[] = {
    "create table resuming_tasks (id bigserial primary key, attempt_id bigint not null references session_attempts (id), source_task_id "
    "bigint not null, full_name text not null, updated_at timestamptz not null, local_config text, export_config text, subtask_config "
    "text, export_params text, store_params text, report text, error text)",
    "create index resuming_tasks_on_attempt_id_and_full_name on resuming_tasks (attempt_id, full_name)",
    "alter table task_details add column resuming_task_id bigint",
};
constexpr Sql deletable_projects[] = {
    "alter table projects add column deleted_at timestamptz, add column deleted_name text, alter column name drop not null",
};
constexpr Sql user_info[] = {"alter table revisions add column user_info text"};
constexpr Sql new_queue[] = {
    "drop table queued_task_locks",
    "drop table queued_shared_task_locks",
    R"(create table queued_task_locks (
  id bigserial primary key, site_id int, queue_id int, priority int not null, retry_count int not null default 0, lock_expire_time bigint,
  lock_agent_id text))",
    "insert into queued_task_locks (id, site_id, priority) select id, site_id, priority from queued_tasks",
    "alter table queues add column shared_site_id int",
    "drop table resource_types",
    R"(alter table queued_tasks alter column task_id drop not null, alter column queue_id drop not null, alter column data drop not null,
  drop column priority, drop column resource_type_id)",
    "create unique index queued_tasks_on_site_id_task_id on queued_tasks (site_id, task_id)",
    lock_shared_tasks,
    "create index queued_tasks_shared_grouping on queued_task_locks (site_id, queue_id) where site_id is not null and lock_expire_time is "
    "not null",
    "create index queued_tasks_ordering on queued_task_locks (site_id, queue_id, priority desc, id) where lock_expire_time is null",
    "create index queued_tasks_expiration on queued_task_locks (lock_expire_time) where lock_expire_time is not null",
};
constexpr Sql secrets[] = {
    "create table secrets (id bigserial primary key, site_id bigint not null, project_id bigint not null references projects (id), scope "
    "text not null, engine text not null, key text not null, value text not null, updated_at timestamptz not null)",
    "create index secrets_on_site_id_and_project_id_and_scope_and_key on secrets (site_id, project_id, scope, key)",
};
constexpr Sql finished_at[] = {"alter table session_attempts add column finished_at timestamptz"};
constexpr Sql unique_names[] = {
    "drop index queued_tasks_on_queue_id_task_id",
    "drop index queued_tasks_on_site_id_task_id",
    "alter table queued_tasks alter column task_id type text",
    "alter table queued_tasks rename column task_id to unique_name",
    "alter table queued_tasks alter column unique_name set not null",
    "create unique index queued_tasks_on_site_id_unique_name on queued_tasks (site_id, unique_name)",
    "create unique index queued_tasks_on_queue_id_unique_name on queued_tasks (queue_id, unique_name) where queue_id is not null",
    "alter table tasks add column retry_count int default 0",
};
constexpr Sql unique_secrets[] = {
    "delete from secrets newer using secrets older where newer.site_id = older.site_id and newer.project_id = older.project_id and "
    "newer.scope = older.scope and newer.key = older.key and newer.id > older.id",
    "create unique index secrets_unique_on_site_id_and_project_id_and_scope_and_key on secrets (site_id, project_id, scope, key)",
    "drop index secrets_on_site_id_and_project_id_and_scope_and_key",
};
constexpr Sql disabled_at[] = {
    "alter table schedules add column disabled_at timestamptz",
    "drop index schedules_on_next_run_time",
    "create index schedules_on_next_run_time on schedules (next_run_time) where disabled_at is null",
};
constexpr Sql workflow_order[] = {
    "create index workflow_definitions_on_revision_id_and_id on workflow_definitions (revision_id, id)",
    "create index projects_on_site_id_and_id on projects (site_id, id) where deleted_at is null",
};
constexpr Sql reset_params[] = {
    "alter table task_state_details add column reset_store_params text",
    "alter table resuming_tasks add column reset_store_params text",
};
constexpr Sql running_attempts[] = {
    "create index session_attempts_on_state_flags_and_created_at on session_attempts (created_at, id) where state_flags = 0",
};
constexpr Sql started_at[] = {
    "alter table tasks add column started_at timestamptz",
    "create index tasks_on_state_and_started_at on tasks (state, started_at, id) where started_at is not null",
};
constexpr Sql delayed_attempts[] = {
    "create table delayed_session_attempts (id bigint primary key references session_attempts (id), dependent_session_id bigint, "
    "next_run_time bigint not null, updated_at timestamptz not null)",
    "create index delayed_session_attempts_on_next_run_time on delayed_session_attempts (next_run_time)",
};
constexpr Sql attempt_index[] = {"alter table session_attempts add column \"index\" int"};
constexpr Sql attempt_index_filled[] = {
    "update session_attempts a set \"index\" = ranked.number from (select id, rank() over (partition by session_id order by id) as number "
    "from "
    "session_attempts) ranked where a.id = ranked.id",
    "alter table session_attempts alter column \"index\" set not null",
    "create unique index session_attempts_on_session_id_and_index on session_attempts (session_id, \"index\" desc)",
};
constexpr Sql last_attempt_times[] = {
    "alter table sessions add column last_attempt_created_at timestamptz",
    "update sessions s set last_attempt_created_at = a.created_at from session_attempts a where a.id = s.last_attempt_id",
    "create index sessions_on_project_id_and_workflow_name_and_last_attempt_creat on sessions (project_id, workflow_name, "
    "last_attempt_created_at desc)",
};
constexpr Sql concurrent_attempts[] = {
    "drop index concurrently if exists session_attempts_on_site_id_and_state_flags_partial_2",
    "create index concurrently session_attempts_on_site_id_and_state_flags_partial_2 on session_attempts (site_id) where state_flags & 2 = "
    "0",
};
constexpr Sql concurrent_sessions[] = {
    "drop index concurrently if exists sessions_on_project_id_and_workflow_name_desc",
    "create index concurrently sessions_on_project_id_and_workflow_name_desc on sessions (project_id, workflow_name, id desc)",
};
constexpr Sql concurrent_last_attempts[] = {
    "drop index concurrently if exists sessions_on_last_attempt_id",
    "create index concurrently sessions_on_last_attempt_id on sessions (last_attempt_id)",
};
constexpr Sql running_attempts_replaced[] = {
    "create index session_attempts_on_state_flags_and_created_at_partial on session_attempts (id, created_at) where state_flags = 0",
    "drop index session_attempts_on_state_flags_and_created_at",
};
constexpr Sql project_metadata[] = {
    "create table project_metadata (id serial primary key, site_id int not null, project_id int not null references projects (id), key "
    "text "
    "not null, value text not null, created_at timestamptz not null)",
    "create unique index project_metadata_on_key_and_value_and_project_id_and_site_id on project_metadata (key, value, project_id, "
    "site_id)",
    "create index project_metadata_on_site_id_and_key_and_value on project_metadata (site_id, key, value)",
    "create index project_metadata_on_project_id_and_site_id_and_key on project_metadata (project_id, site_id, key)",
};

/// The first one made the first tables: where it is missing there is nothing yet, and `original_schema` makes all in one step.
constexpr Migration originals[] = {
    {"20151204221156"},
    {"20160602123456", sessions_index_to_descending},
    {"20160602184025", resuming_tasks},
    {"20160610154832", deletable_projects},
    {"20160623123456", user_info},
    {"20160719172538", new_queue},
    {"20160817123456", secrets},
    {"20160818043815", finished_at},
    {"20160818220026", unique_names},
    {"20160908175551", unique_secrets},
    {"20160926123456", disabled_at},
    {"20160928203753", workflow_order},
    {"20161005225356", reset_params},
    {"20161028112233", running_attempts},
    {"20161110112233", started_at},
    {"20161209001857", delayed_attempts},
    {"20170116082921", attempt_index},
    {"20170116090744", attempt_index_filled},
    {"20170223220127", last_attempt_times},
    {"20190318175338", concurrent_attempts, "session_attempts_on_site_id_and_state_flags_partial_2"},
    {"20191105105927", concurrent_sessions, "sessions_on_project_id_and_workflow_name_desc"},
    {"20200716114008", concurrent_last_attempts, "sessions_on_last_attempt_id"},
    {"20200803184355", running_attempts_replaced},
    {"20221021035534", project_metadata},
};

// ---- How it is done ------------------------------------------------------------------------------------------------------

/// Ours, in their own table: the original never sees them.
constexpr std::string_view native_name = "20261121000000";

/// The tables of names.
constexpr Sql has_originals = {"select 1 where to_regclass('schema_migrations') is not null",
                               "select 1 from sqlite_master where name = 'schema_migrations'"};
constexpr Sql has_natives = {"select 1 where to_regclass('digdag_native_migrations') is not null",
                             "select 1 from sqlite_master where name = 'digdag_native_migrations'"};
constexpr Sql record_original = "insert into schema_migrations (name, created_at) values ($1, now())";

bool is_postgresql(const Database& database) { return database.type() == "postgresql"; }

std::set<std::string, std::less<>> names(Transaction& transaction, const Sql& has_table, const Sql& select) {
  std::set<std::string, std::less<>> found;
  if (!transaction.first(has_table)) return found;
  for (const Row& row : transaction.query(select)) found.insert(row.text(0));
  return found;
}
std::set<std::string, std::less<>> original_names(Transaction& transaction) {
  return names(transaction, has_originals, "select name from schema_migrations");
}
std::set<std::string, std::less<>> native_names(Transaction& transaction) {
  return names(transaction, has_natives, "select name from digdag_native_migrations");
}

/// One server at a time, also of the original.
void lock(Transaction& transaction) { transaction.send("lock table schema_migrations in exclusive mode"); }

/// Makes the whole schema of the original where nothing is there; false where something is.
bool make_original_schema(Database& database) {
  return database.write([&](Transaction& transaction) {
    const bool locks = is_postgresql(database);
    // Before the table exists that could be locked.
    if (locks) transaction.query("select pg_advisory_xact_lock(23299, 1)");
    if (!transaction.first(has_originals)) {
      transaction.send("create table schema_migrations (name text not null, created_at timestamptz not null)");
    }
    if (locks) lock(transaction);
    if (!original_names(transaction).empty()) return false;
    for (const Sql& statement : original_schema()) transaction.send(statement);
    if (locks) transaction.send(lock_shared_tasks);
    for (const Migration& migration : originals) transaction.send(record_original, {std::string(migration.name)});
    return true;
  });
}

void apply(Database& database, const Migration& migration) {
  database.write([&](Transaction& transaction) {
    lock(transaction);
    if (original_names(transaction).contains(migration.name)) return;
    for (const Sql& statement : migration.statements) transaction.send(statement);
    transaction.send(record_original, {std::string(migration.name)});
  });
}

/// The lock is tried again and again: a statement that waits for it would be waited for by the one that builds the index.
void apply_beside_work(Database& database, const Migration& migration) {
  for (bool locked = false; !locked;) {
    database.write_one_by_one([&](Transaction& statements) {
      locked = statements.query("select pg_try_advisory_lock(23299, 0)").at(0).boolean(0);
      if (!locked || original_names(statements).contains(migration.name)) return;
      const auto valid =
          statements.first("select indisvalid from pg_index where indexrelid = to_regclass($1)", {std::string(migration.concurrent_index)});
      if (!valid || !valid->boolean(0)) {  // one whose building was broken off is there, but not valid
        for (const Sql& statement : migration.statements) statements.send(statement);
      }
      statements.send(record_original, {std::string(migration.name)});
    });
    if (!locked) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

/// False where it is there already.
bool add_native_schema(Database& database) {
  return database.write([&](Transaction& transaction) {
    if (is_postgresql(database)) lock(transaction);
    if (native_names(transaction).contains(native_name)) return false;
    transaction.send("create table digdag_native_migrations (name text primary key, created_at timestamptz not null)");
    for (const Sql& statement : native_schema()) transaction.send(statement);
    transaction.send("insert into digdag_native_migrations (name, created_at) values ($1, now())", {std::string(native_name)});
    return true;
  });
}

}  // namespace

MigrationState check_migrations(Database& database) {
  return database.read([](Transaction& transaction) {
    MigrationState state;
    state.has_tables = transaction.first(has_originals).has_value();
    const auto done = original_names(transaction), done_natives = native_names(transaction);
    for (const Migration& migration : originals) {
      if (!done.contains(migration.name)) state.missing.emplace_back(migration.name);
    }
    if (!done_natives.contains(native_name)) state.missing.emplace_back(native_name);
    return state;
  });
}

bool migrate(Database& database) {
  const MigrationState before = check_migrations(database);
  if (before.missing.empty()) {
    if (is_postgresql(database)) database.write([](Transaction& transaction) { forget_old_commits(transaction); });
    return false;
  }
  if (!make_original_schema(database)) {
    const std::vector<std::string> missing = check_migrations(database).missing;  // another server may have made it just now
    for (const Migration& migration : originals) {
      if (std::find(missing.begin(), missing.end(), migration.name) == missing.end()) continue;
      if (migration.statements.empty()) {
        throw Error("database", "the table schema_migrations does not name the first migration " + std::string(migration.name))
            .hint("this database was not made by digdag; name another one, or one without that table");
      }
      migration.concurrent_index.empty() ? apply(database, migration) : apply_beside_work(database, migration);
    }
  }
  add_native_schema(database);
  return true;
}

}  // namespace digdag::store
