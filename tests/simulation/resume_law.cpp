#include "resume_law.h"

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace digdag::simulation {

using engine::Attempt;
using engine::TaskIndex;
using engine::TaskState;

namespace {

bool handler_name(const std::string& name) {
  for (const char* segment : {"^error", "^failure-alert", "^sla", "^check"}) {
    if (name.find(segment) != std::string::npos) return true;
  }
  return false;
}

engine::ResumedTask resumed_of(const Attempt& attempt, TaskIndex task) {
  engine::ResumedTask resumed;
  resumed.source_task_id = task + 1;
  resumed.local = attempt.local(task);
  resumed.export_config = attempt.export_config(task);
  resumed.error = attempt.error(task);
  if (const auto* result = attempt.result(task)) {
    resumed.subtask_config = result->subtask_config;
    resumed.export_params = result->export_params;
    resumed.store_params = result->store_params;
    resumed.reset_store_params = result->reset_store_params;
  }
  return resumed;
}

/// The children of a successful task that its last generation consists of.
std::vector<TaskIndex> newest_children(const Attempt& attempt, TaskIndex task) {
  std::map<std::string, TaskIndex> newest;
  const auto* result = attempt.result(task);
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    if (attempt.parent(i) != task) continue;
    const std::string tail = attempt.full_name(i).substr(attempt.full_name(task).size());
    if (tail == "^sub" && (result == nullptr || !result->subtask_config.is_object() || result->subtask_config.as_object().empty()))
      continue;
    newest[attempt.full_name(i)] = i;
  }
  std::vector<TaskIndex> children;
  for (const auto& [name, index] : newest) children.push_back(index);
  std::sort(children.begin(), children.end());
  return children;
}

void collect_subtree(const Attempt& attempt, TaskIndex task, std::vector<TaskIndex>& into) {
  for (auto child : newest_children(attempt, task)) {
    if (attempt.state(child) != TaskState::success) continue;
    into.push_back(child);
    collect_subtree(attempt, child, into);
  }
}

/// Whether it belongs to an earlier try of a task that then succeeded.
bool is_of_earlier_try(const Attempt& attempt, TaskIndex task, const std::map<std::string, TaskIndex>& newest) {
  for (TaskIndex above = attempt.parent(task); above != engine::no_task; above = attempt.parent(above)) {
    const TaskIndex last = newest.at(attempt.full_name(above));
    if (last != above && attempt.state(last) == TaskState::success) return true;
  }
  return false;
}

}  // namespace

engine::ResumedTasks taken_over(const Attempt& attempt) {
  std::map<std::string, TaskIndex> newest;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) newest[attempt.full_name(i)] = i;
  engine::ResumedTasks taken;
  std::set<std::string> covered;  // what lies below a task that is taken over: only its newest generation counts
  for (const auto& [name, index] : newest) {
    if (attempt.state(index) != TaskState::success || handler_name(name) || is_of_earlier_try(attempt, index, newest)) continue;
    bool below = false;
    for (const auto& owner : covered) below = below || name.rfind(owner + "^", 0) == 0;
    if (below) continue;
    taken.emplace(name, resumed_of(attempt, index));
    if (attempt.is_group(index)) continue;
    covered.insert(name);
    std::vector<TaskIndex> subtree;
    collect_subtree(attempt, index, subtree);
    for (auto each : subtree) taken.emplace(attempt.full_name(each), resumed_of(attempt, each));
  }
  return taken;
}

}  // namespace digdag::simulation
