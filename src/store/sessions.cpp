#include "store/sessions.h"

#include <limits>

#include "store/columns.h"

namespace digdag::store {
namespace {

#define ATTEMPT                                                                                                                    \
  "sa.id, sa.\"index\", sa.site_id, sa.project_id, coalesce(p.name, p.deleted_name), s.workflow_name, sa.workflow_definition_id, " \
  "s.id, s.session_uuid, s.session_time, sa.timezone, sa.attempt_name, sa.state_flags, sa.params, sa.created_at, sa.finished_at"

SessionAttempt attempt_of(const Row& row) {
  return {.id = row.integer(0),
          .index = row.integer(1),
          .site_id = row.integer(2),
          .project_id = row.integer(3),
          .project_name = row.optional_text(4).value_or(""),
          .workflow_name = row.text(5),
          .workflow_definition_id = row.optional_integer(6),
          .session_id = row.integer(7),
          .session_uuid = row.text(8),
          .session_time = Instant::of_seconds(row.integer(9)),
          .timezone = timezone_of(row.text(10)),
          .retry_attempt_name = row.text(11).empty() ? std::nullopt : row.optional_text(11),
          .flags = static_cast<std::uint8_t>(row.integer(12)),
          .params = json_of(row.optional_text(13)),
          .created_at = row.time(14),
          .finished_at = row.optional_time(15)};
}

std::vector<SessionAttempt> attempts_of(const Rows& rows) {
  std::vector<SessionAttempt> attempts;
  attempts.reserve(rows.size());
  for (const Row& row : rows) attempts.push_back(attempt_of(row));
  return attempts;
}

std::optional<SessionAttempt> attempt_of(const std::optional<Row>& row) { return row ? std::optional(attempt_of(*row)) : std::nullopt; }

}  // namespace

// `cross join` keeps SQLite, which knows nothing of how many rows there are, on the table whose index has the order of the page;
// PostgreSQL chooses by itself.

// ---- Reading ----

/// A list with the filters that are ours, in each order; what runs is found by its index.
struct Sessions::ChosenSql {
  Sql newest, oldest, newest_running, oldest_running;
};

#define CHOSEN(from, running, contains, id, after, order)                                                           \
  "select " ATTEMPT " from " from                                                                                   \
  " cross join projects p where s.id = sa.session_id and p.id = sa.project_id and p.site_id = $1"                   \
  " and (cast($2 as bigint) = 0 or sa.project_id = $2) and (cast($3 as text) = '' or s.workflow_name = $3)" running \
  " and sa.state_flags & cast($4 as bigint) = $5 and sa.created_at >= $6 and (cast($7 as text) = '' or " contains   \
  "(s.workflow_name, cast($7 as text)) > 0) and (cast($8 as bigint) = 0 or s.id = $8) and " id " " after            \
  " cast($9 as bigint) order by " id order " limit cast($10 as bigint)"
#define BOTH(from, running, id, after, order) \
  Sql(CHOSEN(from, running, "strpos", id, after, order), CHOSEN(from, running, "instr", id, after, order))
#define RUNNING " and sa.site_id = $1 and sa.state_flags & 2 = 0"
#define ALL_ORDERS(from, condition, id)                                                         \
  {                                                                                             \
    BOTH(from, condition, id, "<", " desc"), BOTH(from, condition, id, ">", ""),                \
        BOTH("session_attempts sa cross join sessions s", condition RUNNING, id, "<", " desc"), \
        BOTH("session_attempts sa cross join sessions s", condition RUNNING, id, ">", "")       \
  }
#define LAST_ATTEMPT " and s.last_attempt_id = sa.id"

std::vector<SessionAttempt> Sessions::chosen(const ChosenSql& sql, const Filter& filter, const Page& page, std::int64_t session_id) {
  std::int64_t mask = 0, flags = 0;
  switch (filter.status.value_or(Status::running)) {
    case Status::running: break;  // by the statement
    case Status::success: mask = flags = attempt_success; break;
    case Status::error: mask = attempt_cancel_requested | attempt_done | attempt_success, flags = attempt_done; break;
    case Status::killed:
      mask = attempt_cancel_requested | attempt_done | attempt_success, flags = attempt_cancel_requested | attempt_done;
      break;
  }
  const bool running = filter.status == Status::running;
  const Sql& statement =
      running ? (filter.oldest_first ? sql.oldest_running : sql.newest_running) : (filter.oldest_first ? sql.oldest : sql.newest);
  std::int64_t last_id = page.before_id;
  if (filter.oldest_first && last_id == std::numeric_limits<std::int64_t>::max()) last_id = 0;
  return attempts_of(transaction_.query(
      statement, {site_id_, filter.project_id.value_or(0), filter.project_id ? filter.workflow_name.value_or("") : "", mask, flags,
                  filter.since ? Timestamp::of(*filter.since) : Timestamp{}, filter.name_part, session_id, last_id, page.size}));
}

std::vector<SessionAttempt> Sessions::sessions(const Filter& filter, const Page& page) {
  static constexpr ChosenSql filtered = ALL_ORDERS("sessions s cross join session_attempts sa", LAST_ATTEMPT, "s.id");
  if (!filter.plain()) return chosen(filtered, filter, page);
#define LIST(condition, last_id, size)                                                                                                  \
  "select " ATTEMPT                                                                                                                     \
  " from sessions s cross join session_attempts sa cross join projects p where sa.id = s.last_attempt_id"                               \
  " and p.id = s.project_id and p.site_id = $1" condition " and s.id < cast(" last_id " as bigint) order by s.id desc limit cast(" size \
  " as bigint)"
  static constexpr Sql all = LIST("", "$2", "$3");
  static constexpr Sql of_project = LIST(" and s.project_id = $2", "$3", "$4");
  static constexpr Sql of_workflow = LIST(" and s.project_id = $2 and s.workflow_name = $3", "$4", "$5");
#undef LIST
  return page_of(all, of_project, of_workflow, filter, page);
}

std::optional<SessionAttempt> Sessions::session(std::int64_t session_id) {
  return attempt_of(transaction_.first("select " ATTEMPT " from sessions s join session_attempts sa on sa.id = s.last_attempt_id"
                                       " join projects p on p.id = s.project_id where s.id = $1 and p.site_id = $2",
                                       {session_id, site_id_}));
}

std::vector<SessionAttempt> Sessions::attempts(const Filter& filter, bool retried, const Page& page) {
  if (!retried) return last_attempts(filter, page);
  static constexpr ChosenSql filtered = ALL_ORDERS("session_attempts sa cross join sessions s", "", "sa.id");
  if (!filter.plain()) return chosen(filtered, filter, page);
#define LIST(condition, last_id, size)                                                               \
  "select " ATTEMPT                                                                                  \
  " from session_attempts sa cross join sessions s cross join projects p where s.id = sa.session_id" \
  " and p.id = sa.project_id and " condition " and sa.id < cast(" last_id " as bigint) order by sa.id desc limit cast(" size " as bigint)"
#define PROJECT "p.site_id = $1 and sa.project_id = $2"
  static constexpr Sql all = LIST("sa.site_id = $1", "$2", "$3");
  static constexpr Sql of_project = LIST(PROJECT, "$3", "$4");
  static constexpr Sql of_workflow = LIST(PROJECT " and s.workflow_name = $3", "$4", "$5");
#undef LIST
#undef PROJECT
  return page_of(all, of_project, of_workflow, filter, page);
}

std::vector<SessionAttempt> Sessions::last_attempts(const Filter& filter, const Page& page) {
  static constexpr ChosenSql filtered = ALL_ORDERS("sessions s cross join session_attempts sa", LAST_ATTEMPT, "s.last_attempt_id");
  if (!filter.plain()) return chosen(filtered, filter, page);
    // Sessions come first: that an attempt is the last one of its session, PostgreSQL takes for rare, and would look at all of them.
#define LIST(condition, last_id, size)                                                                    \
  "select " ATTEMPT                                                                                       \
  " from sessions s cross join session_attempts sa cross join projects p where sa.id = s.last_attempt_id" \
  " and p.id = s.project_id and p.site_id = $1" condition " and s.last_attempt_id < cast(" last_id        \
  " as bigint)"                                                                                           \
  " order by s.last_attempt_id desc limit cast(" size " as bigint)"
  static constexpr Sql all = LIST("", "$2", "$3");
  static constexpr Sql of_project(
      LIST(" and s.project_id = $2", "$3", "$4"),
      "select " ATTEMPT
      " from session_attempts sa cross join sessions s cross join projects p where s.id = sa.session_id"
      " and s.last_attempt_id = sa.id and p.id = sa.project_id and p.site_id = $1 and sa.project_id = $2 and sa.id < $3"
      " order by sa.id desc limit $4");
  static constexpr Sql of_workflow = LIST(" and s.project_id = $2 and s.workflow_name = $3", "$4", "$5");
#undef LIST
  return page_of(all, of_project, of_workflow, filter, page);
}

std::vector<SessionAttempt> Sessions::page_of(const Sql& all, const Sql& of_project, const Sql& of_workflow, const Filter& filter,
                                              const Page& page) {
  if (!filter.project_id) return attempts_of(transaction_.query(all, {site_id_, page.before_id, page.size}));
  if (!filter.workflow_name) return attempts_of(transaction_.query(of_project, {site_id_, *filter.project_id, page.before_id, page.size}));
  return attempts_of(transaction_.query(of_workflow, {site_id_, *filter.project_id, *filter.workflow_name, page.before_id, page.size}));
}

#define ONE "select " ATTEMPT " from session_attempts sa join sessions s on s.id = sa.session_id join projects p on p.id = sa.project_id"

std::vector<SessionAttempt> Sessions::attempts_of_session(std::int64_t session_id, const Filter& filter, const Page& page) {
  static constexpr ChosenSql filtered = ALL_ORDERS("sessions s cross join session_attempts sa", "", "sa.id");
  if (!filter.plain()) return chosen(filtered, filter, page, session_id);
  return attempts_of(transaction_.query(ONE " where sa.session_id = $1 and p.site_id = $2 and sa.id < cast($3 as bigint)"
                                            " order by sa.id desc limit cast($4 as bigint)",
                                        {session_id, site_id_, page.before_id, page.size}));
}

std::optional<SessionAttempt> Sessions::attempt(std::int64_t attempt_id) {
  return attempt_of(transaction_.first(ONE " where sa.id = $1 and p.site_id = $2", {attempt_id, site_id_}));
}

std::vector<SessionAttempt> attempts_of_ids(Transaction& transaction, const std::vector<std::int64_t>& ids) {
  static constexpr Sql sql(ONE " where sa.id = any($1::bigint[]) order by sa.id",
                           ONE " where sa.id in (select value from json_each($1)) order by sa.id");
  return attempts_of(transaction.query(sql, {ids}));
}

std::vector<SessionAttempt> Sessions::retries(std::int64_t session_id) {
  return attempts_of(transaction_.query(ONE " where sa.session_id = $1 and p.site_id = $2 order by sa.\"index\"", {session_id, site_id_}));
}

// ---- Starting ----

std::vector<SessionAttempt> Sessions::running_of_workflow(std::int64_t project_id, std::string_view workflow_name) {
  return attempts_of(transaction_.query(ONE
                                        " where sa.site_id = $1 and sa.state_flags & 2 = 0 and sa.project_id = $2 and s.workflow_name = $3"
                                        " and not exists (select 1 from delayed_session_attempts d where d.id = sa.id) order by sa.id",
                                        {site_id_, project_id, std::string(workflow_name)}));
}

std::int64_t Sessions::least_awaited(const std::vector<SessionAttempt>& attempts) {
  std::int64_t session = attempts.front().session_id, fewest = std::numeric_limits<std::int64_t>::max();
  if (attempts.size() == 1) return session;
  for (const SessionAttempt& attempt : attempts) {
    const std::int64_t waiting =
        transaction_.query("select count(*) from delayed_session_attempts where dependent_session_id = $1", {attempt.session_id})
            .front()
            .integer(0);
    if (waiting >= fewest) continue;
    fewest = waiting;
    session = attempt.session_id;
  }
  return session;
}

void Sessions::insert_delayed(std::int64_t attempt_id, const Wait& wait) {
#define INSERT "insert into delayed_session_attempts (id, dependent_session_id, in_turn, next_run_time, updated_at) values ($1, $2, $3, "
  static constexpr Sql sql(INSERT "extract(epoch from now())::bigint, now())", INSERT "now() / 1000000, now())");
#undef INSERT
  transaction_.send(sql, {attempt_id, wait.after_session == 0 ? SqlValue(Null{}) : SqlValue(wait.after_session),
                          wait.in_turn ? SqlValue(std::int64_t{1}) : SqlValue(Null{})});
}

std::optional<Sessions::Waiting> Sessions::waiting_before(const SessionKey& key, std::int64_t attempt_id) {
  const auto row = transaction_.first(
      "select d.id, d.dependent_session_id from delayed_session_attempts d cross join session_attempts a cross join sessions s"
      " where a.id = d.id and s.id = a.session_id and d.in_turn = 1 and s.project_id = $1 and s.workflow_name = $2"
      " and (s.session_time < cast($3 as bigint) or s.session_time = cast($3 as bigint) and d.id < cast($4 as bigint))"
      " order by s.session_time, d.id limit 1",
      {key.project_id, key.workflow_name, key.session_time.seconds(), attempt_id});
  return row ? std::optional(Waiting{row->integer(0), row->optional_integer(1).value_or(0)}) : std::nullopt;
}

bool Sessions::let_go(std::int64_t attempt_id) {
  return transaction_.changes_one("update delayed_session_attempts set dependent_session_id = null, updated_at = now() where id = $1",
                                  {attempt_id});
}

bool Sessions::remove_delayed(std::int64_t attempt_id) {
  return transaction_.changes_one("delete from delayed_session_attempts where id = $1", {attempt_id});
}

std::int64_t Sessions::unfinished() {
  return transaction_
      .query(
          "select count(*) from session_attempts sa where sa.site_id = $1 and sa.state_flags & 2 = 0"
          " and not exists (select 1 from delayed_session_attempts d where d.id = sa.id)",
          {site_id_})
      .front()
      .integer(0);
}

void Sessions::hold_count() {
  // SQLite has one writer. 23301: 23300 is the lock of the original's task queue.
  static constexpr Sql sql("select pg_advisory_xact_lock(23301, cast($1 as integer))", "select $1");
  transaction_.send(sql, {site_id_});
}

Sessions::Session Sessions::put_session(const SessionKey& key, std::string_view uuid) {
  // An update that changes nothing locks the row that is there already.
#define PUT(uuid_parameter)                                                                                          \
  "insert into sessions (project_id, workflow_name, session_time, session_uuid) values ($1, $2, $3, " uuid_parameter \
  ") on conflict (project_id, workflow_name, session_time) do update set last_attempt_id = sessions.last_attempt_id" \
  " returning id, session_uuid"
  static constexpr Sql sql(PUT("cast($4 as uuid)"), PUT("$4"));
#undef PUT
  const Row row = transaction_.query(sql, {key.project_id, key.workflow_name, key.session_time.seconds(), std::string(uuid)}).front();
  return {row.integer(0), row.text(1)};
}

std::optional<std::int64_t> Sessions::find_session(const SessionKey& key) {
  const auto row = transaction_.first("select id from sessions where project_id = $1 and workflow_name = $2 and session_time = $3",
                                      {key.project_id, key.workflow_name, key.session_time.seconds()});
  return row ? std::optional(row->integer(0)) : std::nullopt;
}

std::optional<InsertedAttempt> Sessions::insert_attempt(const NewAttempt& attempt) {
  const std::optional<Row> row = transaction_.first(
      "insert into session_attempts (session_id, site_id, project_id, attempt_name, workflow_definition_id, state_flags, timezone, params,"
      " created_at, \"index\") select cast($1 as bigint), cast($2 as integer), cast($3 as integer), cast($4 as text), cast($5 as bigint),"
      " 0, cast($6 as text), cast($7 as text), now(), coalesce(max(\"index\"), 0) + 1 from session_attempts where session_id = $1"
      " on conflict do nothing returning id, \"index\", created_at",
      {attempt.session_id, site_id_, attempt.project_id, attempt.retry_attempt_name.value_or(""), sql_value(attempt.workflow_definition_id),
       attempt.timezone.id(), json_column(attempt.params)});
  if (!row) return std::nullopt;
  const InsertedAttempt inserted{row->integer(0), row->integer(1), row->time(2)};
  transaction_.send("update sessions set last_attempt_id = $1, last_attempt_created_at = $2 where id = $3",
                    {inserted.id, inserted.created_at, attempt.session_id});
  return inserted;
}

std::optional<SessionAttempt> Sessions::conflicting(std::int64_t session_id, const std::optional<std::string>& retry_attempt_name) {
  if (!retry_attempt_name) return session(session_id);
  return attempt_of(transaction_.first(ONE " where sa.session_id = $1 and sa.attempt_name = $2 and p.site_id = $3",
                                       {session_id, *retry_attempt_name, site_id_}));
}

// ---- Ending ----

std::optional<SessionAttempt> Sessions::lock_attempt(std::int64_t attempt_id) {
  static constexpr Sql sql(ONE " where sa.id = $1 and p.site_id = $2 for update of sa", ONE " where sa.id = $1 and p.site_id = $2");
  return attempt_of(transaction_.first(sql, {attempt_id, site_id_}));
}

void Sessions::request_cancel(std::int64_t attempt_id) {
  transaction_.send("update session_attempts set state_flags = state_flags | 1 where id = $1", {attempt_id}, 1);
}

}  // namespace digdag::store
