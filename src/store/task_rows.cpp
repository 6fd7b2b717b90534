#include "store/task_rows.h"

#include <string>
#include <utility>

#include "base/json.h"
#include "engine/resume_source.h"
#include "store/columns.h"

namespace digdag::store {
namespace {

/// NULL stands for an empty object.
Value value_of(const Row& row, std::size_t column) {
  const auto text = row.optional_text(column);
  return text ? parse_json(*text) : Value();
}

std::vector<engine::ConfigKey> keys_of(const Row& row, std::size_t column) {
  std::vector<engine::ConfigKey> keys;
  const Value list = value_of(row, column);
  if (!list.is_array()) return keys;
  for (const Value& key : list.as_array()) {
    if (key.is_string()) keys.push_back(key.as_string());
  }
  return keys;
}

}  // namespace

std::map<std::int64_t, engine::StoredAttempt> stored_attempts(Transaction& transaction, const std::vector<std::int64_t>& attempt_ids) {
  std::map<std::int64_t, engine::StoredAttempt> attempts;
  for (const std::int64_t id : attempt_ids) attempts[id].id = id;
  static constexpr Sql monitors(
      "select attempt_id, type, config, next_run_time from session_monitors where attempt_id = any($1::bigint[]) "
      "order by id",
      "select attempt_id, type, config, next_run_time from session_monitors where attempt_id in (select value "
      "from json_each($1)) order by id");
  for (const Row& row : transaction.query(monitors, {attempt_ids})) {
    auto& monitor = attempts.at(row.integer(0)).monitor;
    if (!monitor) monitor = engine::StoredMonitor{row.text(1), value_of(row, 2), row.integer(3)};
  }
#define RESUMED(these)                                                                                                                   \
  "select attempt_id, full_name, source_task_id, updated_at, local_config, export_config, subtask_config, export_params, store_params, " \
  "error, reset_store_params from resuming_tasks where attempt_id " these
  static constexpr Sql resumed(RESUMED("= any($1::bigint[])"), RESUMED("in (select value from json_each($1))"));
#undef RESUMED
  for (const Row& row : transaction.query(resumed, {attempt_ids})) {
    engine::ResumedTask task;
    task.source_task_id = row.integer(2);
    task.updated_at = row.time(3).instant();
    task.local = value_of(row, 4);
    task.export_config = value_of(row, 5);
    task.subtask_config = value_of(row, 6);
    task.export_params = value_of(row, 7);
    task.store_params = value_of(row, 8);
    task.error = value_of(row, 9);
    task.reset_store_params = keys_of(row, 10);
    attempts.at(row.integer(0)).resumed.insert_or_assign(row.text(1), std::move(task));
  }
  return attempts;
}

void insert_resuming_tasks(Transaction& transaction, std::int64_t attempt_id, const engine::ResumedTasks& resumed) {
  if (resumed.empty()) return;
  std::vector<SqlValues> columns(12);
  for (const auto& [name, task] : resumed) {
    Array keys;
    for (const engine::ConfigKey& key : task.reset_store_params) keys.emplace_back(key);
    std::size_t i = 0;
    for (SqlValue value :
         SqlValues{attempt_id, task.source_task_id, name, task.updated_at ? SqlValue(Timestamp::of(*task.updated_at)) : transaction.now(),
                   json_column(task.local), json_column(task.export_config), json_column(task.subtask_config),
                   json_column(task.export_params), json_column(task.store_params), std::string(engine::resuming_report),
                   json_column(task.error), keys.empty() ? SqlValue(Null{}) : SqlValue(to_json(Value(std::move(keys))))}) {
      columns[i++].push_back(std::move(value));
    }
  }
  transaction.send_rows(
      {"insert into resuming_tasks (attempt_id, source_task_id, full_name, updated_at, local_config, export_config, subtask_config, "
       "export_params, store_params, report, error, reset_store_params) select * from unnest($1::bigint[], $2::bigint[], $3::text[], "
       "$4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])",
       "insert into resuming_tasks (attempt_id, source_task_id, full_name, updated_at, local_config, export_config, subtask_config, "
       "export_params, store_params, report, error, reset_store_params) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"},
      columns);
}

}  // namespace digdag::store
