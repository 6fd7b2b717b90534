#include "store/schedules.h"

#include "base/error.h"
#include "store/columns.h"
#include "store/sessions.h"
#include "store/sql_by_sites.h"

namespace digdag::store {
namespace {

#define SCHEDULE                                                                                             \
  "s.id, p.site_id, s.project_id, s.workflow_definition_id, w.name, s.next_run_time, s.next_schedule_time, " \
  "s.last_session_time, s.skipped_until, s.waiting_since, s.disabled_at, s.created_at, s.updated_at"
// `cross join` keeps SQLite on the schedules first, in the order of their index; PostgreSQL chooses by itself.
#define SCHEDULES(columns)                                                    \
  "select " columns                                                           \
  " from schedules s cross join projects p cross join workflow_definitions w" \
  " where p.id = s.project_id and w.id = s.workflow_definition_id"
#define WITH_CONFIG_TABLES                                                                 \
  " cross join projects p cross join workflow_definitions w cross join workflow_configs c" \
  " where p.id = s.project_id and w.id = s.workflow_definition_id and c.id = w.config_id"
#define WITH_CONFIG(columns) "select " columns " from schedules s" WITH_CONFIG_TABLES
#define SHOWN_SCHEDULE WITH_CONFIG(SCHEDULE ", p.name, c.timezone")

constexpr std::size_t row_columns = 13;

std::optional<Instant> instant_of(const Row& row, std::size_t column) {
  const auto seconds = row.optional_integer(column);
  return seconds ? std::optional(Instant::of_seconds(*seconds)) : std::nullopt;
}

SqlValue seconds_of(const std::optional<Instant>& instant) { return instant ? SqlValue(instant->seconds()) : SqlValue(Null{}); }

/// Fills the part that every kind of schedule has.
template <typename Kind>
Kind row_of(const Row& row) {
  Kind schedule;
  schedule.id = row.integer(0);
  schedule.site_id = row.integer(1);
  schedule.project_id = row.integer(2);
  schedule.workflow_definition_id = row.integer(3);
  schedule.workflow_name = row.text(4);
  schedule.next_run_time = Instant::of_seconds(row.integer(5));
  schedule.next_session_time = Instant::of_seconds(row.integer(6));
  schedule.last_session_time = instant_of(row, 7);
  schedule.skipped_until = instant_of(row, 8);
  schedule.waiting_since = instant_of(row, 9);
  schedule.disabled_at = row.optional_time(10);
  schedule.created_at = row.time(11);
  schedule.updated_at = row.time(12);
  return schedule;
}

Schedule schedule_of(const Row& row) {
  auto schedule = row_of<Schedule>(row);
  schedule.project_name = row.text(row_columns);
  schedule.timezone = timezone_of(row.text(row_columns + 1));
  return schedule;
}

}  // namespace

// ---- Reading ----

std::vector<Schedule> schedules(Transaction& transaction, const SchedulePage& page) {
#define PAGE " and s.id > cast($2 as bigint) order by s.id limit 100"
  static constexpr Sql of_site = Sql(SHOWN_SCHEDULE " and p.site_id = $1" PAGE);
  static constexpr Sql of_project = Sql(SHOWN_SCHEDULE " and p.site_id = $1 and s.project_id = $3" PAGE);
  static constexpr Sql of_workflow = Sql(SHOWN_SCHEDULE " and p.site_id = $1 and s.project_id = $3 and w.name = $4" PAGE);
#undef PAGE
  SqlValues parameters{page.site_id, page.after_id};
  if (page.project_id) parameters.emplace_back(*page.project_id);
  if (page.project_id && page.workflow_name) parameters.emplace_back(*page.workflow_name);
  return all_of<Schedule>(transaction.query(parameters.size() == 2   ? of_site
                                            : parameters.size() == 3 ? of_project
                                                                     : of_workflow,
                                            parameters),
                          schedule_of);
}

std::optional<Schedule> schedule(Transaction& transaction, std::int64_t site_id, std::int64_t id) {
  const auto row = transaction.first(Sql(SHOWN_SCHEDULE " and p.site_id = $1 and s.id = $2"), {site_id, id});
  return row ? std::optional(schedule_of(*row)) : std::nullopt;
}

std::optional<Schedule> lock_schedule(Transaction& transaction, std::int64_t site_id, std::int64_t id) {
  static constexpr Sql sql(SHOWN_SCHEDULE " and p.site_id = $1 and s.id = $2 for update of s",
                           SHOWN_SCHEDULE " and p.site_id = $1 and s.id = $2");
  const auto row = transaction.first(sql, {site_id, id});
  return row ? std::optional(schedule_of(*row)) : std::nullopt;
}

// ---- Pushing ----

std::vector<ScheduleRow> lock_schedules_of_project(Transaction& transaction, std::int64_t project_id) {
#define OF_PROJECT SCHEDULES(SCHEDULE) " and s.project_id = $1 order by s.id"
  static constexpr Sql sql(OF_PROJECT " for update of s", OF_PROJECT);
#undef OF_PROJECT
  return all_of<ScheduleRow>(transaction.query(sql, {project_id}), row_of<ScheduleRow>);
}

void insert_schedules(Transaction& transaction, std::int64_t project_id, const std::vector<NewSchedule>& schedules) {
  if (schedules.empty()) return;
  static constexpr Sql sql(
      "insert into schedules (project_id, workflow_definition_id, next_run_time, next_schedule_time, created_at, updated_at)"
      " select project_id, definition_id, run_time, session_time, now(), now()"
      " from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as n (project_id, definition_id, run_time, session_time)",
      "insert into schedules (project_id, workflow_definition_id, next_run_time, next_schedule_time, created_at, updated_at)"
      " values ($1, $2, $3, $4, now(), now())");
  std::vector<SqlValues> columns(4);
  for (const NewSchedule& schedule : schedules) {
    columns[0].emplace_back(project_id);
    columns[1].emplace_back(schedule.workflow_definition_id);
    columns[2].emplace_back(schedule.next_run_time.seconds());
    columns[3].emplace_back(schedule.next_session_time.seconds());
  }
  transaction.send_rows(sql, columns, static_cast<std::int64_t>(schedules.size()));
}

void update_schedules(Transaction& transaction, const std::vector<ScheduleRow>& schedules) {
  if (schedules.empty()) return;
  static constexpr Sql sql(
      "update schedules s set workflow_definition_id = n.definition_id, next_run_time = n.run_time, next_schedule_time = n.session_time,"
      " last_session_time = n.last_session, skipped_until = n.skipped_until, waiting_since = n.waiting_since, updated_at = now()"
      " from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])"
      " as n (id, definition_id, run_time, session_time, last_session, skipped_until, waiting_since) where s.id = n.id",
      "update schedules set workflow_definition_id = $2, next_run_time = $3, next_schedule_time = $4, last_session_time = $5,"
      " skipped_until = $6, waiting_since = $7, updated_at = now() where id = $1");
  std::vector<SqlValues> columns(7);
  for (const ScheduleRow& schedule : schedules) {
    columns[0].emplace_back(schedule.id);
    columns[1].emplace_back(schedule.workflow_definition_id);
    columns[2].emplace_back(schedule.next_run_time.seconds());
    columns[3].emplace_back(schedule.next_session_time.seconds());
    columns[4].push_back(seconds_of(schedule.last_session_time));
    columns[5].push_back(seconds_of(schedule.skipped_until));
    columns[6].push_back(seconds_of(schedule.waiting_since));
  }
  transaction.send_rows(sql, columns, static_cast<std::int64_t>(schedules.size()));
}

void delete_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids) {
  if (ids.empty()) return;
  static constexpr Sql sql("delete from schedules where id = any($1)",
                           "delete from schedules where id in (select value from json_each($1))");
  transaction.send(sql, {ids}, static_cast<std::int64_t>(ids.size()));
}

void delete_schedules_of_project(Transaction& transaction, std::int64_t project_id) {
  transaction.send("delete from schedules where project_id = $1", {project_id});
}

void set_schedule_disabled(Transaction& transaction, std::int64_t id, bool disabled) {
  static constexpr Sql disable("update schedules set disabled_at = now(), updated_at = now() where id = $1");
  static constexpr Sql enable("update schedules set disabled_at = null, updated_at = now() where id = $1");
  transaction.send(disabled ? disable : enable, {id}, 1);
}

// ---- Starting sessions ----

std::vector<DueSchedule> due_schedules(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most) {
  // The rest is looked up for those alone that are wanted: thousands may be due.
#define IN_ORDER " order by s.next_run_time, s.id"
#define DUE "select * from schedules s where s.disabled_at is null and s.next_run_time <= cast($1 as bigint)"
  static constexpr BySites sql =
      BY_SITES("select " SCHEDULE ", length(c.config) from (" DUE, "(select site_id from projects where id = s.project_id)", "$3",
               IN_ORDER " limit cast($2 as bigint)) s" WITH_CONFIG_TABLES IN_ORDER);
#undef DUE
#undef IN_ORDER
  return all_of<DueSchedule>(sql.query(transaction, sites, {now.seconds(), most}), [](const Row& row) {
    auto due = row_of<DueSchedule>(row);
    due.config_bytes = row.integer(row_columns);
    return due;
  });
}

std::optional<Instant> earliest_run_time(Transaction& transaction, const SiteSelection& sites) {
  static constexpr BySites sql =
      BY_SITES("select s.next_run_time from schedules s cross join projects p where p.id = s.project_id and s.disabled_at is null",
               "p.site_id", "$1", " order by s.next_run_time limit 1");
  const Rows rows = sql.query(transaction, sites, {});
  return rows.empty() ? std::nullopt : std::optional(Instant::of_seconds(rows.front().integer(0)));
}

std::vector<ScheduleRow> lock_free_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids) {
  static constexpr Sql sql(SCHEDULES(SCHEDULE) " and s.id = any($1) and s.disabled_at is null for update of s skip locked",
                           SCHEDULES(SCHEDULE) " and s.id in (select value from json_each($1)) and s.disabled_at is null");
  return all_of<ScheduleRow>(transaction.query(sql, {ids}), row_of<ScheduleRow>);
}

std::vector<ScheduledWorkflow> scheduled_workflows(Transaction& transaction, const std::vector<std::int64_t>& workflow_definition_ids) {
#define WORKFLOWS                                                                                                    \
  "select w.id, w.name, p.id, p.site_id, p.name, p.created_at, r.id, r.name, r.default_params, c.timezone, c.config" \
  " from workflow_definitions w join workflow_configs c on c.id = w.config_id"                                       \
  " join revisions r on r.id = w.revision_id join projects p on p.id = r.project_id where p.deleted_at is null and w.id"
  static constexpr Sql sql(WORKFLOWS " = any($1)", WORKFLOWS " in (select value from json_each($1))");
#undef WORKFLOWS
  return all_of<ScheduledWorkflow>(transaction.query(sql, {workflow_definition_ids}), [](const Row& row) {
    ScheduledWorkflow scheduled{.workflow_definition_id = row.integer(0), .workflow = {}, .problem = {}};
    try {
      scheduled.workflow = WorkflowDefinition{
          .id = row.integer(0),
          .name = row.text(1),
          .project = {.id = row.integer(2), .site_id = row.integer(3), .name = row.text(4), .created_at = row.time(5), .deleted_at = {}},
          .revision_id = row.integer(6),
          .revision_name = row.text(7),
          .revision_default_params = json_of(row.optional_text(8)),
          .timezone = timezone_of(row.text(9)),
          .config = json_of(row.optional_text(10))};
    } catch (const Error& error) {
      scheduled.problem = error.chain();
    }
    return scheduled;
  });
}

bool has_active_attempt(Transaction& transaction, std::int64_t site_id, std::int64_t project_id, std::string_view workflow_name) {
  // From the attempts that are not done, which have an index and are few, not from all sessions of the workflow.
  static constexpr Sql sql(
      "select 1 from session_attempts a cross join sessions s where s.id = a.session_id and s.last_attempt_id = a.id"
      " and a.site_id = $1 and a.state_flags & 2 = 0 and a.state_flags = 0 and s.project_id = $2 and s.workflow_name = $3 limit 1");
  return transaction.first(sql, {site_id, project_id, std::string(workflow_name)}).has_value();
}

std::optional<Instant> latest_session_before(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name, Instant t) {
  static constexpr Sql sql(
      "select session_time from sessions where project_id = $1 and workflow_name = $2 and session_time < cast($3 as bigint)"
      " order by session_time desc limit 1");
  const auto row = transaction.first(sql, {project_id, std::string(workflow_name), t.seconds()});
  return row ? std::optional(Instant::of_seconds(row->integer(0))) : std::nullopt;
}

std::vector<Instant> sessions_with_attempt(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name,
                                           const std::vector<Instant>& session_times, std::string_view attempt_name) {
#define WITH_ATTEMPT                                                                              \
  "select s.session_time from sessions s cross join session_attempts a where a.session_id = s.id" \
  " and s.project_id = $1 and s.workflow_name = $2 and a.attempt_name = $3 and s.session_time"
  static constexpr Sql sql(WITH_ATTEMPT " = any($4) order by 1", WITH_ATTEMPT " in (select value from json_each($4)) order by 1");
#undef WITH_ATTEMPT
  std::vector<std::int64_t> seconds;
  seconds.reserve(session_times.size());
  for (const Instant t : session_times) seconds.push_back(t.seconds());
  return all_of<Instant>(transaction.query(sql, {project_id, std::string(workflow_name), std::string(attempt_name), std::move(seconds)}),
                         [](const Row& row) { return Instant::of_seconds(row.integer(0)); });
}

// ---- The attempt limit ----

std::vector<std::int64_t> sites_with_waiting_schedules(Transaction& transaction, const SiteSelection& sites) {
  static constexpr BySites sql = BY_SITES(
      "select distinct p.site_id from schedules s cross join projects p where p.id = s.project_id"
      " and s.waiting_since is not null and s.disabled_at is null",
      "p.site_id", "$1", "");
  return all_of<std::int64_t>(sql.query(transaction, sites, {}), [](const Row& row) { return row.integer(0); });
}

std::int64_t wake_waiting_schedules(Transaction& transaction, std::int64_t site_id, std::int64_t attempt_limit, Instant now) {
  static constexpr Sql running(
      "select count(*) from session_attempts a where a.site_id = $1 and a.state_flags & 2 = 0"
      " and not exists (select 1 from delayed_session_attempts d where d.id = a.id)");
#define LONGEST_WAITING                                                            \
  "update schedules set next_run_time = $2, updated_at = now() where id in"        \
  " (select s.id from schedules s cross join projects p where p.id = s.project_id" \
  " and p.site_id = $1 and s.waiting_since is not null and s.disabled_at is null"  \
  " and s.next_run_time > cast($2 as bigint) order by s.waiting_since, s.id limit cast($3 as bigint)"
  static constexpr Sql wake(LONGEST_WAITING " for update of s skip locked)", LONGEST_WAITING ")");
#undef LONGEST_WAITING
  constexpr std::int64_t many = 1000;
  const std::int64_t free = attempt_limit > 0 ? attempt_limit - transaction.first(running, {site_id}).value().integer(0) : many;
  return free > 0 ? transaction.execute(wake, {site_id, now.seconds(), free}) : 0;
}

// ---- Delayed attempts ----

std::vector<DelayedAttempt> ready_delayed_attempts(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most) {
  // `<> 2` is the index of the session; `= 0` has one of all that is not done, which PostgreSQL takes for small and reads for each row.
  static constexpr BySites sql = BY_SITES(
      "select d.id, a.site_id from delayed_session_attempts d cross join session_attempts a cross join sessions s"
      " where a.id = d.id and s.id = a.session_id and d.next_run_time <= cast($1 as bigint) and not exists"
      " (select 1 from session_attempts b where b.session_id = d.dependent_session_id and b.state_flags & 2 <> 2)",
      "a.site_id", "$3", " order by s.session_time, d.id limit cast($2 as bigint)");
  return all_of<DelayedAttempt>(sql.query(transaction, sites, {now.seconds(), most}), [](const Row& row) {
    return DelayedAttempt{row.integer(0), row.integer(1)};
  });
}

void delay_attempts(Transaction& transaction, const std::vector<DelayedAfter>& attempts) {
  if (attempts.empty()) return;
  static constexpr Sql sql(
      "update delayed_session_attempts d set dependent_session_id = n.session_id"
      " from unnest($1::bigint[], $2::bigint[]) as n (attempt_id, session_id) where d.id = n.attempt_id",
      "update delayed_session_attempts set dependent_session_id = $2 where id = $1");
  std::vector<SqlValues> columns(2);
  for (const DelayedAfter& attempt : attempts) {
    columns[0].emplace_back(attempt.attempt_id);
    columns[1].emplace_back(attempt.session_id);
  }
  transaction.send_rows(sql, columns, static_cast<std::int64_t>(attempts.size()));
}

void put_off_delayed_attempt(Transaction& transaction, std::int64_t attempt_id, Instant until) {
  transaction.execute("update delayed_session_attempts set next_run_time = $2, updated_at = now() where id = $1",
                      {attempt_id, until.seconds()});
}

bool end_delayed_attempt(Transaction& transaction, std::int64_t attempt_id, std::uint8_t flags) {
  // The attempt first, as whoever kills or starts it locks it.
  const bool waits = transaction.changes_one(
      "update session_attempts set state_flags = state_flags | cast($2 as smallint), finished_at = now() where id = $1"
      " and state_flags & 2 = 0 and exists (select 1 from delayed_session_attempts d where d.id = session_attempts.id)",
      {attempt_id, static_cast<std::int64_t>(flags | attempt_done)});
  if (!waits) return false;
  transaction.send("delete from delayed_session_attempts where id = $1", {attempt_id});
  transaction.send("delete from session_monitors where attempt_id = $1", {attempt_id});
  transaction.send("delete from resuming_tasks where attempt_id = $1", {attempt_id});
  return true;
}

}  // namespace digdag::store
