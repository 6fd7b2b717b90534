#include "store/triggers.h"

#include <string_view>

#include "store/schedules.h"
#include "store/sql_by_sites.h"

namespace digdag::store {

// ---- Pushing ----

void replace_triggers(Transaction& transaction, const Project& project, const std::vector<NewTrigger>& triggers) {
  delete_triggers_of_project(transaction, project.id);
  if (triggers.empty()) return;
  std::vector<SqlValues> columns(5);
  for (const NewTrigger& trigger : triggers) {
    columns[0].emplace_back(trigger.workflow_definition_id);
    columns[1].emplace_back(project.site_id);
    columns[2].emplace_back(project.id);
    columns[3].emplace_back(trigger.upstream.first);
    columns[4].emplace_back(trigger.upstream.second);
  }
#define INSERT "insert into digdag_native_triggers (workflow_definition_id, site_id, project_id, upstream_project, upstream_workflow) "
  transaction.send_rows(
      {INSERT "select * from unnest($1::bigint[], $2::int[], $3::int[], $4::text[], $5::text[])", INSERT "values ($1, $2, $3, $4, $5)"},
      columns, static_cast<std::int64_t>(triggers.size()));
#undef INSERT
}

void delete_triggers_of_project(Transaction& transaction, std::int64_t project_id) {
  transaction.send("delete from digdag_native_triggers where project_id = $1", {project_id});
}

std::vector<Trigger> lock_triggers(Transaction& transaction, std::int64_t site_id) {
  // SQLite has one writer. 23301 counts attempts (Sessions::hold_count).
  transaction.send({"select pg_advisory_xact_lock(23302, cast($1 as integer))", nullptr}, {site_id});
  std::vector<Trigger> triggers;
  for (const Row& row :
       transaction.query("select p.name, w.name, t.upstream_project, t.upstream_workflow from digdag_native_triggers t"
                         " join projects p on p.id = t.project_id join workflow_definitions w on w.id = t.workflow_definition_id"
                         " where t.site_id = $1 order by t.workflow_definition_id",
                         {site_id}))
    triggers.push_back({{row.text(0), row.text(1)}, {row.text(2), row.text(3)}});
  return triggers;
}

// ---- Starting ----

void insert_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& succeeded_attempt_ids) {
  // Where there is no trigger at all, which is asked first, this costs nothing. PostgreSQL is kept on the attempts first, also by a plan
  // that it made while there was none. A project that was deleted has no name.
#define ENDED(chosen)                                                                                              \
  "(select a.id, s.session_time, p.site_id, p.name, s.workflow_name from session_attempts a cross join sessions s" \
  " cross join projects p where a.id" chosen " and s.id = a.session_id and p.id = a.project_id)"
#define INSERT(ended)                                                                                                                   \
  "insert into digdag_native_triggered_starts (site_id, workflow_definition_id, session_time, upstream_attempt_id, created_at) select " \
  "t.site_id, t.workflow_definition_id, e.session_time, e.id, now() from " ended                                                        \
  " e cross join digdag_native_triggers t where exists "                                                                                \
  "(select 1 from digdag_native_triggers) and t.site_id = e.site_id and t.upstream_project = e.name and t.upstream_workflow = "         \
  "e.workflow_name"
  static constexpr Sql sql("with ended as materialized " ENDED(" = any($1::bigint[])") ", owed as (" INSERT("ended") " returning 1)"
                           " select pg_notify('digdag', 'schedules') from owed limit 1",
                           INSERT(ENDED(" in (select value from json_each($1))")));
#undef INSERT
#undef ENDED
  static_assert(std::string_view(schedules_notice) == "schedules");
  transaction.send(sql, {succeeded_attempt_ids});
}

std::vector<TriggeredStart> triggered_starts(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most) {
  static constexpr BySites sql = BY_SITES(
      "select t.id, t.site_id, t.workflow_definition_id, t.session_time, t.upstream_attempt_id, length(c.config)"
      " from digdag_native_triggered_starts t cross join workflow_definitions w cross join workflow_configs c"
      " where w.id = t.workflow_definition_id and c.id = w.config_id and coalesce(t.not_before, 0) <= cast($1 as bigint)",
      "t.site_id", "$3", " order by t.id limit cast($2 as bigint)");
  std::vector<TriggeredStart> starts;
  for (const Row& row : sql.query(transaction, sites, {now.seconds(), most})) {
    starts.push_back({.id = row.integer(0),
                      .site_id = row.integer(1),
                      .workflow_definition_id = row.integer(2),
                      .session_time = Instant::of_seconds(row.integer(3)),
                      .upstream_attempt_id = row.integer(4),
                      .config_bytes = row.integer(5)});
  }
  return starts;
}

std::vector<std::int64_t> lock_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& ids) {
  static constexpr Sql sql("select id from digdag_native_triggered_starts where id = any($1) order by id for update skip locked",
                           "select id from digdag_native_triggered_starts where id in (select value from json_each($1)) order by id");
  std::vector<std::int64_t> locked;
  for (const Row& row : transaction.query(sql, {ids})) locked.push_back(row.integer(0));
  return locked;
}

void remove_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return;
  transaction.send({"delete from digdag_native_triggered_starts where id = any($1::bigint[])",
                    "delete from digdag_native_triggered_starts where id in (select value from json_each($1))"},
                   {ids}, static_cast<std::int64_t>(ids.size()));
}

void put_off_triggered_start(Transaction& transaction, std::int64_t id, Instant until) {
  transaction.send("update digdag_native_triggered_starts set not_before = $2 where id = $1", {id, until.seconds()});
}

}  // namespace digdag::store
