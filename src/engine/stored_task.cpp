#include "engine/stored_task.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "engine/attempt_impl.h"

namespace digdag::engine {

namespace {
Value null_if_empty(const Value& value) { return is_empty_object(value) ? Value() : value; }
std::optional<Instant> instant_of(std::int64_t millis) { return millis == Task::never ? std::nullopt : std::optional(Instant{millis}); }
}  // namespace

// ---- States --------------------------------------------------------------------------------------------------------------

TaskState state_of_code(std::int64_t code) {
  if (code >= 0 && code <= static_cast<std::int64_t>(TaskState::canceled)) return static_cast<TaskState>(code);
  throw Error("illegal state", fmt::format("unknown state of a task: {}", code));
}

TaskState state_of_name(std::string_view name) {
  for (auto code = static_cast<std::uint8_t>(TaskState::blocked); code <= static_cast<std::uint8_t>(TaskState::canceled); ++code) {
    if (to_string(static_cast<TaskState>(code)) == name) return static_cast<TaskState>(code);
  }
  throw Error("illegal state", fmt::format("unknown state of a task: '{}'", name));
}

// ---- Origins -------------------------------------------------------------------------------------------------------------

Value to_value(const dig::Origins& origins) {
  if (origins.empty()) return {};
  std::vector<Object::Member> members;
  for (const auto& [pointer, origin] : origins.all()) {
    if (origin == dig::Origin::code) continue;
    members.push_back({pointer, origin == dig::Origin::data ? "data" : "stored", {}});
  }
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  return members.empty() ? Value() : Value(Object(std::move(members)));
}

dig::Origins origins_of(const Value& value) {
  dig::Origins origins;
  if (!value.is_object()) return origins;
  for (const auto& member : value.as_object()) {
    if (member.value == Value("data")) origins.set(member.key, dig::Origin::data);
    if (member.value == Value("stored")) origins.set(member.key, dig::Origin::stored);
  }
  return origins;
}

// ---- Writing -------------------------------------------------------------------------------------------------------------

StoredTask Attempt::stored(TaskIndex task, const std::vector<std::int64_t>& ids) const {
  const Rows& rows = impl_->rows;
  const Task& row = rows[task];
  const auto id_of = [&](TaskIndex i) { return ids[static_cast<std::size_t>(i)]; };
  StoredTask stored;
  stored.id = id_of(task);
  if (row.parent != no_task) stored.parent_id = id_of(row.parent);
  stored.is_group = row.group;
  stored.state = row.state;
  stored.flags = row.flags;
  stored.updated_at = Instant{row.updated_at == Task::never ? 0 : row.updated_at};
  stored.started_at = instant_of(row.started_at);
  stored.retry_count = row.retry_count;
  stored.full_name = rows.full_name(task);
  stored.local = null_if_empty(row.local);
  stored.export_config = null_if_empty(row.export_config);
  if (row.resumed_from != 0) stored.resuming_task_id = row.resumed_from;
  if (row.extra) {
    stored.retry_at = row.extra->retry_at;
    stored.state_params = null_if_empty(row.extra->state);
    stored.error = null_if_empty(row.extra->error);
  }
  if (row.result) {
    stored.subtask_config = null_if_empty(row.result->subtask_config);
    stored.export_params = null_if_empty(row.result->export_params);
    stored.store_params = null_if_empty(row.result->store_params);
    stored.reset_store_params = row.result->reset_store_params;
  }
  for (const TaskIndex upstream : rows.listed_upstreams(task)) stored.upstreams.push_back(id_of(upstream));
  if (const auto awaited = rows.awaited_siblings(task)) stored.barrier = StoredSiblings{id_of(awaited->first), id_of(awaited->second)};
  stored.native = impl_->native(task);
  return stored;
}

Lease Attempt::Impl::usual_lease(TaskIndex task) const {
  const Task& row = rows[task];
  if (row.group || row.started_at == Task::never) return 0;
  const bool waits = row.state == TaskState::retry_waiting || row.state == TaskState::group_retry_waiting || row.state == TaskState::ready;
  return row.retry_count + (waits ? 0 : 1);
}

Value Attempt::Impl::native(TaskIndex task) const {
  const Task& row = rows[task];
  Value native;
  const auto say = [&](std::string_view key, Value value) {
    if (native.is_null()) native = Value::object();
    native.mutable_object().set(key, std::move(value));
  };
  const bool open = !is_done(row.state);
  if (row.lease != usual_lease(task)) say("lease", static_cast<std::int64_t>(row.lease));
  if (open && row.lost_runs > 0) say("lost", static_cast<std::int64_t>(row.lost_runs));
  if (open && row.cleans_up && row.state == TaskState::running) say("cleanup", true);
  // The children of a group begin with those of its file, so the name of the first one tells where another try begins.
  if (rows.begins_generation(task) && !(rows[row.parent].group && rows[rows[row.parent].first_child].name == row.name))
    say("generation", true);
  if (!row.extra) return native;
  const TaskExtra& extra = *row.extra;
  if (open) {
    if (extra.deadline) say("deadline", extra.deadline->millis);
    if (extra.timed_out && (row.state == TaskState::running || row.state == TaskState::planned)) say("timed_out", true);
    if (extra.retry_is_evaluated) {
      say("retry", extra.evaluated_retry);
    } else if (!extra.evaluated_retry.is_null()) {
      say("poll_retry", extra.evaluated_retry);
    }
    if (!extra.evaluated_limits.is_null()) say("limits", extra.evaluated_limits);
    if (extra.retry_is_impossible) say("no_retry", true);
    if (row.group && extra.starts_generation && row.first_child != no_task) say("empty_try", true);
  }
  const Value origins = to_value(extra.export_origins);
  const bool usual = row.name == "^error" && origins == Value::object({{error_pointer, "data"}});
  if (!origins.is_null() && !usual) say("origins", origins);
  return native;
}

std::optional<StoredMonitor> Attempt::monitor() const {
  if (!impl_->monitor || !impl_->monitor_due) return std::nullopt;
  return StoredMonitor{"sla", impl_->monitor->config, impl_->monitor_due->seconds()};
}

std::vector<Running> Attempt::running() const {
  std::vector<Running> runs;
  for (std::size_t i = 0; i < impl_->rows.size(); ++i) {
    const auto task = static_cast<TaskIndex>(i);
    const Task& row = impl_->rows[task];
    if (row.state == TaskState::running) runs.push_back({task, row.lease, row.cleans_up, row.cancel_is_requested()});
  }
  return runs;
}

// ---- Barriers ------------------------------------------------------------------------------------------------------------

void expand_barriers(std::vector<StoredTask>& tasks) {
  std::unordered_map<std::int64_t, std::vector<std::int64_t>> children;  // of the parents of those who wait, ascending
  for (const StoredTask& task : tasks) {
    if (task.barrier && task.parent_id) children[*task.parent_id];
  }
  if (children.empty()) return;
  for (const StoredTask& task : tasks) {
    const auto siblings = task.parent_id ? children.find(*task.parent_id) : children.end();
    if (siblings != children.end()) siblings->second.push_back(task.id);
  }
  for (StoredTask& task : tasks) {
    const auto barrier = std::exchange(task.barrier, std::nullopt);
    if (!barrier || !task.parent_id) continue;
    const std::vector<std::int64_t>& siblings = children[*task.parent_id];
    const auto first = std::lower_bound(siblings.begin(), siblings.end(), barrier->first);
    const auto end = std::upper_bound(first, siblings.end(), barrier->last);
    std::vector<std::int64_t> all;
    all.reserve(task.upstreams.size() + static_cast<std::size_t>(end - first));
    std::set_union(task.upstreams.begin(), task.upstreams.end(), first, end, std::back_inserter(all));
    task.upstreams = std::move(all);
  }
}

}  // namespace digdag::engine
