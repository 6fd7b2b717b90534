#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/attempt_impl.h"

namespace digdag::engine {

bool names_handler(std::string_view full_name) {
  for (const std::string_view handler : {"^error", "^failure-alert", "^sla", "^check"}) {
    for (std::size_t at = full_name.find(handler); at != std::string_view::npos; at = full_name.find(handler, at + 1)) {
      const std::size_t end = at + handler.size();
      if (end == full_name.size() || full_name[end] == '+' || full_name[end] == '^') return true;
    }
  }
  return false;
}

namespace {
/// Where a generated task belongs. A `^` may also stand inside of the name that a user gave (`+a^b`).
std::unordered_map<std::string, TaskIndex>::const_iterator parent_among(const std::unordered_map<std::string, TaskIndex>& tasks,
                                                                        std::string_view full_name) {
  for (std::size_t end = full_name.find_last_of("+^"); end != std::string_view::npos && end > 0;
       end = full_name.find_last_of("+^", end - 1)) {
    const std::string_view own = full_name.substr(end);
    if (own.front() == '^' && own != "^sub" && own != "^check") continue;
    const auto found = tasks.find(std::string(full_name.substr(0, end)));
    if (found != tasks.end()) return found;
  }
  return tasks.end();
}
}  // namespace

void Attempt::Impl::take_over(TaskIndex first) {
  if (pool.empty()) return;
  const auto end = static_cast<TaskIndex>(rows.size());
  std::vector<std::string> names;
  for (TaskIndex i = first; i < end; ++i) {
    const TaskIndex parent = rows[i].parent;
    names.push_back(parent >= first ? names[static_cast<std::size_t>(parent - first)] + rows[i].name : rows.full_name(i));
  }
  // Children stand after their parents. A group with a task that is to run is not done (E-24).
  for (TaskIndex i = end - 1; i >= first; --i) {
    const std::string& name = names[static_cast<std::size_t>(i - first)];
    const auto resumed = pool.find(name);
    bool taken = i != 0 && resumed != pool.end() && !names_handler(name);
    for (TaskIndex child = rows[i].first_child; taken && child != no_task; child = rows[child].next_sibling) {
      taken = rows[child].state == TaskState::success;
    }
    if (taken) take_over_row(i, resumed->second);
  }
  for (TaskIndex i = first; i < end; ++i) {
    if (rows[i].state != TaskState::success) continue;
    if (dig::is_operator(rows[i].local)) take_over_generated(i, names[static_cast<std::size_t>(i - first)]);
    rows.succeeded(i);
  }
}

void Attempt::Impl::take_over_row(TaskIndex task, const ResumedTask& resumed) {
  Task& row = rows[task];
  row.state = TaskState::success;
  row.resumed_from = resumed.source_task_id;
  if (resumed.updated_at) row.updated_at = resumed.updated_at->millis;
  const Value local = resumed.local.is_null() ? row.local : resumed.local;
  const Value export_config = resumed.export_config.is_null() ? row.export_config : resumed.export_config;
  rows.set_config(task, local, export_config);
  TaskResult result;
  result.subtask_config = resumed.subtask_config;
  result.export_params = resumed.export_params;
  result.store_params = resumed.store_params;
  result.reset_store_params = resumed.reset_store_params;
  if (!result.empty()) row.result = std::make_unique<TaskResult>(std::move(result));
  if (!is_empty_object(resumed.store_params) || !resumed.reset_store_params.empty()) rows.mark_stores(task);
  if (!resumed.origins.is_null()) rows.extra(task).export_origins = origins_of(resumed.origins);
  if (!is_empty_object(resumed.error)) {
    rows.extra(task).error = resumed.error;
    rows.mark_errors(task);
  }
}

void Attempt::Impl::take_over_generated(TaskIndex task, const std::string& full_name) {
  // E-22: the newest generation of what it generated, in the order of the earlier attempt.
  std::vector<std::pair<const std::string*, const ResumedTask*>> found;
  const std::string prefix = full_name + "^";
  for (auto at = pool.lower_bound(prefix); at != pool.end() && at->first.starts_with(prefix); ++at) {
    found.emplace_back(&at->first, &at->second);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.second->source_task_id < b.second->source_task_id; });
  std::unordered_map<std::string, TaskIndex> indexes{{full_name, task}};
  std::unordered_map<TaskIndex, std::int64_t> sources{{task, 0}};
  for (const auto& [name, resumed] : found) {
    const auto parent = parent_among(indexes, *name);
    const std::size_t end = parent == indexes.end() ? 0 : parent->first.size();
    if (parent == indexes.end() || (parent->second != task && resumed->source_task_id < sources.at(parent->second))) continue;
    Task row;
    row.name = name->substr(end);
    row.group = !dig::is_operator(resumed->local);
    row.flags = initial_task;
    const TaskIndex index = rows.append(std::move(row), parent->second);
    if (started) touch(index);
    take_over_row(index, *resumed);
    indexes.emplace(*name, index);
    sources.emplace(index, resumed->source_task_id);
  }
}

}  // namespace digdag::engine
