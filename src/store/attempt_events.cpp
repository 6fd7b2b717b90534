#include "store/attempt_events.h"

#include <map>

namespace digdag::store {

std::int64_t insert_kill(Transaction& transaction, std::int64_t attempt_id) {
  const std::int64_t id =
      transaction
          .query("insert into digdag_native_events (attempt_id, kind, created_at) values ($1, 'kill', now()) returning id", {attempt_id})
          .at(0)
          .integer(0);
  transaction.notify(attempts_notice);
  return id;
}

bool kill_is_due(Transaction& transaction, std::int64_t attempt_id) {
  return transaction.first("select 1 from digdag_native_events where attempt_id = $1 and kind = 'kill'", {attempt_id}).has_value();
}

std::optional<std::int64_t> request_kill(Transaction& transaction, std::int64_t attempt_id) {
  if (!transaction.changes_one("update session_attempts set state_flags = state_flags | 1 where id = $1 and state_flags = 0", {attempt_id}))
    return std::nullopt;
  return insert_kill(transaction, attempt_id);
}

std::vector<std::int64_t> attempts_older_than(Transaction& transaction, std::int64_t seconds, std::int64_t most) {
  static constexpr Sql sql(
      "select id from session_attempts where state_flags = 0 and created_at < now() - make_interval(secs => cast($1 as double precision)) "
      "order by id "
      "limit $2",
      "select id from session_attempts where state_flags = 0 and created_at < now() - $1 * 1000000 order by id limit $2");
  std::vector<std::int64_t> ids;
  for (const Row& row : transaction.query(sql, {seconds, most})) ids.push_back(row.integer(0));
  return ids;
}

std::vector<std::pair<std::int64_t, std::string>> attempts_with_tasks_older_than(Transaction& transaction, std::int64_t seconds,
                                                                                 std::int64_t most) {
#define OLD(age)                                                                                                       \
  "select attempt_id, id from tasks where state in (2, 3, 4) and started_at is not null and started_at < now() - " age \
  " and state_flags & 1 = 0 order by id limit $2"
  static constexpr Sql sql(OLD("make_interval(secs => cast($1 as double precision))"), OLD("$1 * 1000000"));
#undef OLD
  std::map<std::int64_t, std::string> tasks;
  for (const Row& row : transaction.query(sql, {seconds, most})) {
    std::string& ids = tasks[row.integer(0)];
    ids += (ids.empty() ? "" : ",") + std::to_string(row.integer(1));
  }
  return {tasks.begin(), tasks.end()};
}

}  // namespace digdag::store
