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

engine::StoredAttempt stored_attempt(Transaction& transaction, std::int64_t attempt_id) {
  engine::StoredAttempt attempt;
  attempt.id = attempt_id;
  if (const auto row =
          transaction.first("select type, config, next_run_time from session_monitors where attempt_id = $1 order by id", {attempt_id}))
    attempt.monitor = engine::StoredMonitor{row->text(0), value_of(*row, 1), row->integer(2)};
  for (const Row& row :
       transaction.query("select full_name, source_task_id, updated_at, local_config, export_config, subtask_config, "
                         "export_params, store_params, error, reset_store_params from resuming_tasks where attempt_id = $1",
                         {attempt_id})) {
    engine::ResumedTask task;
    task.source_task_id = row.integer(1);
    task.updated_at = row.time(2).instant();
    task.local = value_of(row, 3);
    task.export_config = value_of(row, 4);
    task.subtask_config = value_of(row, 5);
    task.export_params = value_of(row, 6);
    task.store_params = value_of(row, 7);
    task.error = value_of(row, 8);
    task.reset_store_params = keys_of(row, 9);
    attempt.resumed.insert_or_assign(row.text(0), std::move(task));
  }
  return attempt;
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
