#include "store/schema.h"

#include "store/sql_for_both.h"

namespace digdag::store {
namespace {

// Names, types and order of columns are the original's: an old server must be able to go on with it (spec/decisions.md V-40, V-45).
// Columns that it added later come last. Names of indexes end where PostgreSQL cut them.
constexpr Sql original[] = {
    for_both<"create table projects ("
             "id serial primary key, site_id int not null, name text, created_at timestamptz not null, deleted_at timestamptz, "
             "deleted_name text)">(),
    for_both<"create unique index projects_on_site_id_and_name on projects (site_id, name)">(),
    for_both<"create index projects_on_site_id_and_id on projects (site_id, id) where deleted_at is null">(),

    for_both<"create table project_metadata ("
             "id serial primary key, site_id int not null, project_id int not null references projects (id), key text not null, value text "
             "not null, "
             "created_at timestamptz not null)">(),
    for_both<"create unique index project_metadata_on_key_and_value_and_project_id_and_site_id on project_metadata (key, value, "
             "project_id, site_id)">(),
    for_both<"create index project_metadata_on_site_id_and_key_and_value on project_metadata (site_id, key, value)">(),
    for_both<"create index project_metadata_on_project_id_and_site_id_and_key on project_metadata (project_id, site_id, key)">(),

    for_both<"create table revisions ("
             "id serial primary key, project_id int not null references projects (id), name text not null, default_params text, "
             "archive_type text not null, archive_path text, archive_md5 bytea, created_at timestamptz not null, user_info text)">(),
    for_both<"create unique index revisions_on_project_id_and_name on revisions (project_id, name)">(),
    for_both<"create index revisions_on_project_id_and_id on revisions (project_id, id desc)">(),

    for_both<"create table revision_archives (id serial primary key references revisions (id), archive_data bytea not null)">(),

    for_both<
        "create table workflow_configs ("
        "id serial primary key, project_id int not null references projects (id), config_digest bigint not null, timezone text not null, "
        "config text not null)">(),
    for_both<"create index workflow_configs_on_project_id_and_config_digest on workflow_configs (project_id, config_digest)">(),

    for_both<"create table workflow_definitions ("
             "id bigserial primary key, config_id int not null references workflow_configs (id), revision_id int not null references "
             "revisions (id), "
             "name text not null)">(),
    for_both<"create unique index workflow_definitions_on_revision_id_and_name on workflow_definitions (revision_id, name)">(),
    for_both<"create index workflow_definitions_on_revision_id_and_id on workflow_definitions (revision_id, id)">(),

    for_both<
        "create table schedules ("
        "id serial primary key, project_id int not null references projects (id), "
        "workflow_definition_id bigint not null references workflow_definitions (id), next_run_time bigint not null, "
        "next_schedule_time bigint not null, last_session_time bigint, created_at timestamptz not null, updated_at timestamptz not null, "
        "disabled_at timestamptz)">(),
    for_both<"create index schedules_on_project_id on schedules (project_id)">(),
    for_both<"create unique index schedules_on_workflow_definition_id on schedules (workflow_definition_id)">(),
    for_both<"create index schedules_on_next_run_time on schedules (next_run_time) where disabled_at is null">(),

    for_both<"create table sessions ("
             "id bigserial primary key, project_id int not null references projects (id), workflow_name text not null, session_time bigint "
             "not null, "
             "session_uuid uuid not null default (gen_random_uuid()), last_attempt_id bigint, last_attempt_created_at timestamptz)">(),
    for_both<"create unique index sessions_on_project_id_and_workflow_name_and_session_time on sessions (project_id, workflow_name, "
             "session_time)">(),
    for_both<"create index sessions_on_project_id_and_workflow_name_and_last_attempt_creat on sessions ("
             "project_id, workflow_name, last_attempt_created_at desc)">(),
    for_both<"create index sessions_on_project_id_and_workflow_name_desc on sessions (project_id, workflow_name, id desc)">(),
    for_both<"create index sessions_on_project_id_desc on sessions (project_id, id desc)">(),
    for_both<"create index sessions_on_last_attempt_id on sessions (last_attempt_id)">(),

    for_both<"create table session_attempts ("
             "id bigserial primary key, session_id bigint not null references sessions (id), site_id int not null, "
             "project_id int not null references projects (id), attempt_name text not null, "
             "workflow_definition_id bigint references workflow_definitions (id), state_flags smallint not null, timezone text not null, "
             "params text, "
             "created_at timestamptz not null, finished_at timestamptz, \"index\" int not null)">(),
    for_both<"create unique index session_attempts_on_session_id_and_attempt_name on session_attempts (session_id, attempt_name)">(),
    for_both<"create unique index session_attempts_on_session_id_and_index on session_attempts (session_id, \"index\" desc)">(),
    for_both<"create index session_attempts_on_project_id on session_attempts (project_id, id desc)">(),
    for_both<"create index session_attempts_on_site_id on session_attempts (site_id, id desc)">(),
    for_both<"create index session_attempts_on_workflow_definition_id on session_attempts (workflow_definition_id, id desc)">(),
    for_both<
        "create index session_attempts_on_site_id_and_state_flags_partial_2 on session_attempts (site_id) where state_flags & 2 = 0">(),
    for_both<
        "create index session_attempts_on_state_flags_and_created_at_partial on session_attempts (id, created_at) where state_flags = 0">(),

    for_both<"create table delayed_session_attempts ("
             "id bigint primary key references session_attempts (id), dependent_session_id bigint, next_run_time bigint not null, "
             "updated_at timestamptz not null)">(),
    for_both<"create index delayed_session_attempts_on_next_run_time on delayed_session_attempts (next_run_time)">(),

    for_both<"create table session_monitors ("
             "id bigserial primary key, attempt_id bigint not null, next_run_time bigint not null, type text not null, config text, "
             "created_at timestamptz not null, updated_at timestamptz not null)">(),
    for_both<"create index session_monitors_on_attempt_id on session_monitors (attempt_id)">(),
    for_both<"create index session_monitors_on_next_run_time on session_monitors (next_run_time)">(),

    for_both<"create table task_archives (id bigint primary key references session_attempts (id), tasks text not null, created_at "
             "timestamptz not null)">(),

    for_both<
        "create table tasks ("
        "id bigserial primary key, attempt_id bigint not null references session_attempts (id), parent_id bigint references tasks (id), "
        "task_type smallint not null, state smallint not null, state_flags smallint not null, updated_at timestamptz not null, "
        "retry_at timestamptz, state_params text, retry_count int default 0, started_at timestamptz)">(),
    for_both<"create index tasks_on_attempt_id on tasks (attempt_id, id)">(),
    for_both<"create index tasks_on_parent_id_and_state on tasks (parent_id, state)">(),
    for_both<"create index tasks_on_state_and_id on tasks (state, id) where state = 0 or state = 1 or state = 5">(),
    for_both<"create index tasks_on_state_and_started_at on tasks (state, started_at, id) where started_at is not null">(),

    for_both<"create table task_details ("
             "id bigint primary key references tasks (id), full_name text not null, local_config text, export_config text, "
             "resuming_task_id bigint)">(),

    for_both<
        "create table task_state_details ("
        "id bigint primary key references tasks (id), subtask_config text, export_params text, store_params text, report text, error text, "
        "reset_store_params text)">(),

    for_both<"create table task_dependencies (id bigserial primary key, upstream_id bigint not null, downstream_id bigint not null)">(),
    for_both<"create index task_dependencies_on_downstream_id on task_dependencies (downstream_id)">(),

    for_both<"create table resuming_tasks ("
             "id bigserial primary key, attempt_id bigint not null references session_attempts (id), source_task_id bigint not null, "
             "full_name text not null, updated_at timestamptz not null, local_config text, export_config text, subtask_config text, "
             "export_params text, store_params text, report text, error text, reset_store_params text)">(),
    for_both<"create index resuming_tasks_on_attempt_id_and_full_name on resuming_tasks (attempt_id, full_name)">(),

    for_both<"create table queue_settings ("
             "id serial primary key, site_id int not null, name text not null, config text, created_at timestamptz not null, "
             "updated_at timestamptz not null)">(),
    for_both<"create unique index queue_settings_on_site_id_and_name on queue_settings (site_id, name)">(),
    for_both<"create index queue_settings_on_site_id on queue_settings (site_id, id)">(),

    for_both<
        "create table queues (id serial primary key references queue_settings (id), max_concurrency int not null, shared_site_id int)">(),

    for_both<"create table queued_tasks ("
             "id bigserial primary key, site_id int not null, queue_id int, unique_name text not null, created_at timestamptz not null, "
             "data bytea)">(),
    for_both<"create unique index queued_tasks_on_site_id_unique_name on queued_tasks (site_id, unique_name)">(),
    for_both<
        "create unique index queued_tasks_on_queue_id_unique_name on queued_tasks (queue_id, unique_name) where queue_id is not null">(),

    for_both<"create table queued_task_locks ("
             "id bigserial primary key, site_id int, queue_id int, priority int not null, retry_count int not null default 0, "
             "lock_expire_time bigint, lock_agent_id text)">(),
    for_both<"create index queued_tasks_expiration on queued_task_locks (lock_expire_time) where lock_expire_time is not null">(),
    for_both<
        "create index queued_tasks_ordering on queued_task_locks (site_id, queue_id, priority desc, id) where lock_expire_time is null">(),
    for_both<"create index queued_tasks_shared_grouping on queued_task_locks (site_id, queue_id) where site_id is not null and "
             "lock_expire_time is not null">(),

    for_both<"create table secrets ("
             "id bigserial primary key, site_id bigint not null, project_id bigint not null references projects (id), scope text not null, "
             "engine text not null, key text not null, value text not null, updated_at timestamptz not null)">(),
    for_both<
        "create unique index secrets_unique_on_site_id_and_project_id_and_scope_and_key on secrets (site_id, project_id, scope, key)">(),
};

constexpr Sql native[] = {
    for_both<"create table digdag_native_attempts ("
             "id bigint primary key, owner text, epoch bigint not null, version bigint not null, pending_from bigint)">(),
    for_both<"create index digdag_native_attempts_on_owner on digdag_native_attempts (owner)">(),

    for_both<"create table digdag_native_events ("
             "id bigserial primary key, attempt_id bigint not null, kind text not null, payload text, created_at timestamptz not null)">(),
    for_both<"create index digdag_native_events_on_attempt_id on digdag_native_events (attempt_id)">(),

    for_both<"create table digdag_native_servers ("
             "id text primary key, host text not null, boot_id text not null, pid bigint not null, process_start bigint not null, agent_id "
             "text not null, "
             "lease_expires_at timestamptz not null, lock_key bigint not null, started_at timestamptz not null)">(),

    for_both<"create table digdag_native_commits (id text primary key, number bigint not null, at timestamptz not null)">(),

    for_both<"create table digdag_native_triggers ("
             "workflow_definition_id bigint primary key, site_id int not null, project_id int not null, upstream_project text not null, "
             "upstream_workflow text not null)">(),
    for_both<"create index digdag_native_triggers_on_upstream on digdag_native_triggers (site_id, upstream_project, upstream_workflow)">(),
    for_both<"create index digdag_native_triggers_on_project_id on digdag_native_triggers (project_id)">(),
    for_both<"create table digdag_native_triggered_starts ("
             "id bigserial primary key, site_id int not null, workflow_definition_id bigint not null, session_time bigint not null, "
             "upstream_attempt_id bigint not null, not_before bigint, created_at timestamptz not null)">(),

    // For the last attempts of a workflow. PostgreSQL finds its way by what it knows of the tables.
    Sql("select 1", "create index digdag_native_sessions_on_last_attempt on sessions (project_id, workflow_name, last_attempt_id desc)"),

    for_both<"alter table queued_task_locks add column lease bigint">(),
    for_both<"alter table tasks add column native text">(),
    for_both<"alter table schedules add column skipped_until bigint">(),
    for_both<"alter table schedules add column waiting_since bigint">(),
    for_both<"create index digdag_native_schedules_on_waiting_since on schedules (waiting_since) where waiting_since is not null">(),
    for_both<"alter table session_attempts add column native text">(),
    for_both<"alter table delayed_session_attempts add column in_turn smallint">(),
};

}  // namespace

std::span<const Sql> original_schema() { return original; }
std::span<const Sql> native_schema() { return native; }

}  // namespace digdag::store
