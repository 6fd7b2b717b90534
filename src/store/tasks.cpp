#include "store/tasks.h"

#include <algorithm>
#include <optional>
#include <string>

#include "base/json.h"
#include "engine/task_archive.h"
#include "store/columns.h"

namespace digdag::store {
namespace {

Value value_of(const std::optional<std::string>& column) { return column ? json_of(column) : Value(); }

/// A barrier that was too large for rows of task_dependencies: `[first, last]` in `native` (store/attempt_rows.cpp).
void take_barrier(engine::StoredTask& task) {
  const Value* barrier = task.native.is_object() ? task.native.find("barrier") : nullptr;
  if (barrier == nullptr || !barrier->is_array() || barrier->as_array().size() != 2) return;
  const Array ends = barrier->as_array();
  task.barrier = engine::StoredSiblings{ends[0].as_integer(), ends[1].as_integer()};
  task.native.mutable_object().erase("barrier");
  if (task.native.as_object().size() == 0) task.native = Value();
}

engine::StoredTask task_of(const Row& row) {
  engine::StoredTask task;
  task.id = row.integer(0);
  task.parent_id = row.optional_integer(1);
  task.is_group = row.integer(2) == 1;
  task.state = engine::state_of_code(row.integer(3));
  task.flags = static_cast<std::uint8_t>(row.integer(4));
  task.updated_at = row.time(5).instant();
  if (const auto time = row.optional_time(6)) task.retry_at = time->instant();
  if (const auto time = row.optional_time(7)) task.started_at = time->instant();
  task.state_params = value_of(row.optional_text(8));
  task.retry_count = row.integer(9);
  task.full_name = row.text(10);
  task.local = value_of(row.optional_text(11));
  task.export_config = value_of(row.optional_text(12));
  task.resuming_task_id = row.optional_integer(13);
  task.subtask_config = value_of(row.optional_text(14));
  task.export_params = value_of(row.optional_text(15));
  task.store_params = value_of(row.optional_text(16));
  task.error = value_of(row.optional_text(17));
  const Value reset = value_of(row.optional_text(18));
  if (reset.is_array()) {
    for (const Value& key : reset.as_array()) task.reset_store_params.push_back(key.as_string());
  }
  const Value upstreams = value_of(row.optional_text(19));
  if (upstreams.is_array()) {
    for (const Value& id : upstreams.as_array()) task.upstreams.push_back(id.as_integer());
    std::sort(task.upstreams.begin(), task.upstreams.end());
  }
  task.native = value_of(row.optional_text(20));
  take_barrier(task);
  return task;
}

}  // namespace

std::map<std::int64_t, std::vector<engine::StoredTask>> live_tasks(Transaction& transaction, const std::vector<std::int64_t>& attempt_ids) {
  // One statement for rows and edges: an attempt that ends meanwhile is either here or in the archive, whole. Rows of a large attempt
  // come and go in steps: they count from `pending_from` on only when all are there, and not any more once it is done.
#define TASKS(upstreams, these)                                                                                                           \
  "select t.id, t.parent_id, t.task_type, t.state, t.state_flags, t.updated_at, t.retry_at, t.started_at, t.state_params, t.retry_count," \
  " d.full_name, d.local_config, d.export_config, d.resuming_task_id, s.subtask_config, s.export_params, s.store_params, s.error,"        \
  " s.reset_store_params, (select " upstreams                                                                                             \
  " from task_dependencies e where e.downstream_id = t.id), t.native, t.attempt_id from tasks t"                                          \
  " join task_details d on d.id = t.id left join task_state_details s on s.id = t.id"                                                     \
  " join session_attempts a on a.id = t.attempt_id left join digdag_native_attempts o on o.id = t.attempt_id"                             \
  " where t.attempt_id " these " and a.state_flags & 2 = 0 and (o.pending_from is null or t.id < o.pending_from) order by t.id"
  static constexpr Sql sql(TASKS("cast(json_agg(e.upstream_id) as text)", "= any($1::bigint[])"),
                           TASKS("json_group_array(e.upstream_id)", "in (select value from json_each($1))"));
#undef TASKS
  std::map<std::int64_t, std::vector<engine::StoredTask>> tasks;
  for (const Row& row : transaction.query(sql, {attempt_ids})) tasks[row.integer(21)].push_back(task_of(row));
  return tasks;
}

std::vector<engine::StoredTask> tasks_of_attempt(Transaction& transaction, std::int64_t attempt_id) {
  std::vector<engine::StoredTask> tasks = std::move(live_tasks(transaction, {attempt_id})[attempt_id]);
  engine::expand_barriers(tasks);
  if (!tasks.empty()) return tasks;
  const std::optional<Row> archive = transaction.first("select tasks from task_archives where id = $1", {attempt_id});
  return archive ? engine::from_archive(archive->text(0)) : tasks;
}

bool has_ended(Transaction& transaction, std::int64_t attempt_id, std::string_view name_prefix) {
  const auto open = transaction.first(
      "select 1 from tasks t join task_details d on d.id = t.id where t.attempt_id = $1 and t.state < cast($3 as integer)"
      " and substr(d.full_name, 1, length(cast($2 as text))) = cast($2 as text) limit 1",
      {attempt_id, std::string(name_prefix), static_cast<std::int64_t>(engine::TaskState::group_error)});
  return !open && transaction.first("select 1 from tasks where attempt_id = $1 limit 1", {attempt_id});
}

}  // namespace digdag::store
