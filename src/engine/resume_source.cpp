#include "engine/resume_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "dig/compiler.h"

namespace digdag::engine {

namespace {

ResumedTask taken(const StoredTask& task) {
  ResumedTask resumed;
  resumed.source_task_id = task.id;
  resumed.updated_at = task.updated_at;
  resumed.local = task.local.is_null() ? Value::object() : task.local;
  resumed.export_config = task.export_config.is_null() ? Value::object() : task.export_config;
  resumed.subtask_config = task.subtask_config;
  resumed.export_params = task.export_params;
  resumed.store_params = task.store_params;
  resumed.error = task.error;
  resumed.reset_store_params = task.reset_store_params;
  if (const Value* origins = task.native.find("origins")) resumed.origins = *origins;
  return resumed;
}

/// The tasks of the earlier attempt with what of them counts.
class Source {
 public:
  explicit Source(const std::vector<StoredTask>& tasks);

  std::optional<std::size_t> place(std::optional<std::int64_t> id) const {
    const auto found = id ? places_.find(*id) : places_.end();
    return found == places_.end() ? std::nullopt : std::optional(found->second);
  }
  /// Of each name the newest row, ascending.
  const std::vector<std::size_t>& newest() const { return newest_; }
  /// It belongs to an earlier try of a task that then succeeded: what that task generated is what its last try did (E-22).
  bool outdated(std::size_t place) const { return outdated_[place]; }

 private:
  bool is_outdated(std::size_t place) const;

  const std::vector<StoredTask>& tasks_;
  std::unordered_map<std::int64_t, std::size_t> places_;
  std::unordered_map<std::string_view, std::size_t> by_name_;
  std::vector<bool> outdated_;
  std::vector<std::size_t> newest_;
};

Source::Source(const std::vector<StoredTask>& tasks) : tasks_(tasks) {
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    places_.emplace(tasks[i].id, i);
    by_name_[tasks[i].full_name] = i;
  }
  for (std::size_t i = 0; i < tasks.size(); ++i) outdated_.push_back(is_outdated(i));
  for (const auto& [name, row] : by_name_) {
    if (!outdated_[row]) newest_.push_back(row);
  }
  std::sort(newest_.begin(), newest_.end());
}

/// Those above it were asked before.
bool Source::is_outdated(std::size_t row) const {
  const auto above = place(tasks_[row].parent_id);
  if (!above || *above >= row) return false;
  if (outdated_[*above]) return true;
  const StoredTask& parent = tasks_[*above];
  const std::size_t newest = by_name_.at(parent.full_name);
  if (newest != *above) return tasks_[newest].state == TaskState::success;
  // Nothing that failed belongs to the last try of what succeeded; that may have had no tasks at all.
  const auto higher = place(parent.parent_id);
  if (higher && parent.state != TaskState::success && tasks_[*higher].state == TaskState::success) return true;
  const bool generated_nothing = parent.state == TaskState::success && !parent.is_group && parent.subtask_config.is_null();
  return generated_nothing && tasks_[row].full_name == parent.full_name + "^sub";
}

/// What stands before a task: the tasks it waits for and those they wait for, and the same of its ancestors, with all below them.
class Before {
 public:
  Before(const Source& source, const std::vector<StoredTask>& tasks) : source_(source), tasks_(tasks) {
    expand_barriers(tasks_);
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      if (tasks_[i].parent_id) children_[*tasks_[i].parent_id].push_back(i);
    }
    found_.resize(tasks_.size());
  }

  /// By place, ascending.
  std::vector<std::size_t> of(std::size_t task) {
    for (auto i = std::optional(task); i; i = source_.place(tasks_[*i].parent_id)) add_upstreams(*i);
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (found_[i]) result.push_back(i);
    }
    return result;
  }

 private:
  void add_upstreams(std::size_t task) {
    std::vector<std::size_t> open{task};
    while (!open.empty()) {
      const std::size_t next = open.back();
      open.pop_back();
      for (const std::int64_t id : tasks_[next].upstreams) {
        const auto upstream = source_.place(id);
        if (!upstream || found_[*upstream]) continue;
        add_subtree(*upstream);
        open.push_back(*upstream);
      }
    }
  }
  /// Of a task that was tried several times what the last try consists of: no name stands twice in one.
  void add_subtree(std::size_t root) {
    std::vector<std::size_t> open{root};
    while (!open.empty()) {
      const std::size_t task = open.back();
      open.pop_back();
      found_[task] = true;
      const auto children = children_.find(tasks_[task].id);
      if (children == children_.end()) continue;
      std::map<std::string_view, std::size_t> generation;
      for (const std::size_t child : children->second) {
        if (source_.outdated(child)) continue;
        if (generation.count(tasks_[child].full_name)) generation.clear();
        generation.emplace(tasks_[child].full_name, child);
      }
      for (const auto& [name, child] : generation) open.push_back(child);
    }
  }

  const Source& source_;
  std::vector<StoredTask> tasks_;
  std::unordered_map<std::int64_t, std::vector<std::size_t>> children_;
  std::vector<bool> found_;
};

}  // namespace

ResumedTasks resume_failed(const std::vector<StoredTask>& tasks) {
  const Source source(tasks);
  ResumedTasks resumed;
  for (const std::size_t row : source.newest()) {
    const StoredTask& task = tasks[row];
    if (task.state != TaskState::success) continue;
    if (!task.parent_id) throw Error("illegal argument", "Resuming successfully completed attempts is not supported");
    resumed.emplace(task.full_name, taken(task));
  }
  return resumed;
}

ResumedTasks resume_from(std::string_view pattern, const std::vector<StoredTask>& tasks) {
  const Source source(tasks);
  std::vector<std::string> names;
  names.reserve(source.newest().size());
  for (const std::size_t row : source.newest()) names.push_back(tasks[row].full_name);
  const std::size_t from = source.newest()[dig::match_task(pattern, names)];
  ResumedTasks resumed;
  for (const std::size_t row : Before(source, tasks).of(from)) {
    const StoredTask& task = tasks[row];
    if (task.state != TaskState::success)
      throw Error("illegal resume", fmt::format("Resuming non-successful tasks is not allowed: task_id={} ({})", task.id, task.full_name));
    resumed.insert_or_assign(task.full_name, taken(task));
  }
  return resumed;
}

ResumedTasks without_changed(ResumedTasks resumed, const std::vector<StoredTask>& source, const dig::TaskTree& tree) {
  std::unordered_map<std::string_view, const StoredTask*> before;
  for (const StoredTask& task : source) before[task.full_name] = &task;
  const auto same = [](const Value& stored, const Value& now) { return stored.is_null() ? now == Value::object() : stored == now; };
  const std::size_t size = tree.tasks.size();
  std::vector<bool> export_changed(size), all_below(size), touched(size);  // touched: it, or a task below it, runs again
  for (std::size_t i = 0; i < size; ++i) {
    const dig::TaskDefinition& task = tree.tasks[i];
    const auto parent = static_cast<std::size_t>(std::max(0, task.parent));
    const auto found = before.find(task.full_name);
    const StoredTask* const old = found == before.end() ? nullptr : found->second;
    export_changed[i] = export_changed[parent] || (old != nullptr && !same(old->export_config, task.export_params));
    const auto upstreams = dig::all_upstreams(tree, static_cast<std::int32_t>(i));
    all_below[i] = all_below[parent] || export_changed[i] || std::any_of(upstreams.begin(), upstreams.end(), [&](std::int32_t upstream) {
                     return touched[static_cast<std::size_t>(upstream)];
                   });
    if (!all_below[i] && old != nullptr && same(old->local, task.local)) continue;
    for (std::int32_t above = static_cast<std::int32_t>(i); above >= 0; above = tree.tasks[static_cast<std::size_t>(above)].parent)
      touched[static_cast<std::size_t>(above)] = true;
    resumed.erase(task.full_name);
    const std::string generated = task.full_name + "^";
    const auto first = resumed.lower_bound(generated);
    resumed.erase(first, std::find_if(first, resumed.end(), [&](const auto& entry) { return !entry.first.starts_with(generated); }));
  }
  return resumed;
}

ResumedTasks for_generated_tasks(const ResumedTasks& resumed) {
  ResumedTasks generated;
  for (const auto& [name, task] : resumed) {
    if (name.find('^') != std::string::npos) generated.emplace(name, task);
  }
  return generated;
}

}  // namespace digdag::engine
