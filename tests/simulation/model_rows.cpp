#include "model.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "dig/compiler.h"
#include "model_config.h"

namespace digdag::simulation {

using engine::TaskState;

// ---- Inserting ----------------------------------------------------------------------------------------------------------

int Model::insert_tree(const dig::TaskTree& tree, int parent, std::uint8_t flags) {
  const int base = static_cast<int>(rows_.size());
  // Taken over is what the pool has, but no handler by itself (E-21), and no group with a task that has to run (E-24).
  std::vector<bool> taken;
  for (const auto& task : tree.tasks) taken.push_back(resumed_.count(task.full_name) > 0 && !is_handler(task.full_name));
  for (std::size_t i = tree.tasks.size(); i-- > 0;) {
    const auto above = tree.tasks[i].parent;
    if (!taken[i] && above >= 0) taken[static_cast<std::size_t>(above)] = false;
  }
  for (std::size_t i = 0; i < tree.tasks.size(); ++i) {
    const auto& task = tree.tasks[i];
    Row row;
    row.full_name = task.full_name;
    row.parent = task.parent < 0 ? parent : base + task.parent;
    for (auto up : dig::all_upstreams(tree, static_cast<std::int32_t>(i))) row.upstreams.push_back(base + up);
    std::sort(row.upstreams.begin(), row.upstreams.end());
    row.upstreams.erase(std::unique(row.upstreams.begin(), row.upstreams.end()), row.upstreams.end());
    row.group = task.group;
    row.window = task.window;
    row.in_window = task.parent >= 0 && tree.tasks[task.parent].window > 0;
    row.flags = flags;
    row.local = or_empty(task.local);
    row.export_config = or_empty(task.export_params);
    if (taken[i]) {
      take_over(row, resumed_.at(row.full_name));
      row.state = TaskState::success;  // T4
    }
    rows_.push_back(std::move(row));
  }
  for (int i = base, end = static_cast<int>(rows_.size()); i < end; ++i) {
    if (rows_[i].resumed) insert_taken_over_subtree(i);
  }
  return base;
}

/// 16.5, E-23
void Model::take_over(Row& row, const engine::ResumedTask& old) const {
  row.resumed = true;
  row.local = or_empty(old.local);
  row.export_config = or_empty(old.export_config);
  row.has_result = true;
  row.subtask_config = or_empty(old.subtask_config);
  row.export_params = or_empty(old.export_params);
  row.store_params = or_empty(old.store_params);
  row.resets = old.reset_store_params;
  row.error = or_empty(old.error);
}

/// E-22: what the task generated comes with it.
void Model::insert_taken_over_subtree(int owner) {
  std::vector<std::pair<std::int64_t, std::string>> names;
  const std::string prefix = rows_[owner].full_name + "^";
  for (const auto& [name, task] : resumed_) {
    if (name.rfind(prefix, 0) == 0) names.emplace_back(task.source_task_id, name);
  }
  std::sort(names.begin(), names.end());
  std::map<std::string, int> inserted{{rows_[owner].full_name, owner}};
  for (const auto& [id, name] : names) {
    const auto& old = resumed_.at(name);
    Row row;
    row.full_name = name;
    std::size_t longest = 0;
    for (const auto& [above, index] : inserted) {
      if (above.size() >= longest && name.rfind(above, 0) == 0) longest = above.size(), row.parent = index;
    }
    row.state = TaskState::success;
    take_over(row, old);
    row.group = dig::operator_of(row.local).empty();
    // As the run that generated it would have set it (execution.md 4).
    row.flags = name.substr(name.rfind('^')).rfind("^sub", 0) == 0 ? engine::initial_task : 0;
    inserted[name] = static_cast<int>(rows_.size());
    rows_.push_back(std::move(row));
  }
}

/// Handlers are exempt from the task limit (E-11). What keeps a broken one from starting is told in `problem` (E-12).
bool Model::add_error_task(int i, const Value& error, bool with_stores, Value& problem) {
  Value config = member(merged_config(i), "_error");
  if (is_empty(config)) return false;
  Value exports = or_empty(member(config, "_export"));
  std::vector<int> below;
  if (with_stores) descendants_of(i, below);
  for (int each : below) apply_store(exports, each);
  exports.mutable_object().erase("error");
  exports.mutable_object().set("error", error);
  config.mutable_object().set("_export", exports);
  try {
    insert_tree(dig::compile(rows_[i].full_name, "^error", config), i, 0);
    return true;
  } catch (const Error& broken) {
    problem = with_member(problem, "error_handler", "_error could not start: " + broken.message_with_kind());
    return false;
  }
}

void Model::check_limit(std::size_t current, std::size_t adding) const {
  const auto limit = static_cast<std::size_t>(options_.task_limit);
  if (limit == 0 || current + adding <= limit) return;
  throw limit_error(limit, current, adding);
}

// ---- Reading ------------------------------------------------------------------------------------------------------------

bool Model::done() const { return engine::is_done(rows_[0].state); }
bool Model::success() const { return rows_[0].state == TaskState::success; }
Wanted Model::take_wanted() { return std::exchange(wanted_, {}); }

Value Model::params_of(int task) const {
  std::vector<int> path;
  for (int i = task; i >= 0; i = rows_[i].parent) path.insert(path.begin(), i);
  Value params = or_empty(params_);
  for (int node : path) {
    std::vector<int> upstreams;
    transitive_upstreams(node, upstreams);
    if (const int from = rows_[node].sees_siblings_from; from >= 0) {
      upstreams.clear();
      for (int sibling : children_of(rows_[node].parent)) {
        const bool check = rows_[sibling].full_name == rows_[node].full_name;  // of an earlier round
        if (sibling < node && sibling >= from && !check) upstreams.push_back(sibling);
      }
    }
    for (int up : upstreams) {
      apply_store(params, up);
      std::vector<int> below;
      descendants_of(up, below);
      for (int each : below) apply_store(params, each);
    }
    if (node == task) break;
    Value exports = rows_[node].export_config;
    merge(exports, rows_[node].export_params);
    merge(params, exports);
    apply_store(params, node);
  }
  merge(params, rows_[task].export_config);
  params.mutable_object().erase("_check");
  params.mutable_object().erase("_error");
  return params;
}

void Model::apply_store(Value& params, int row) const {
  for (const auto& key : rows_[row].resets) remove_key(params, key);
  merge(params, rows_[row].store_params);
}

Value Model::merged_config(int row) const {
  Value config = rows_[row].export_config;
  merge(config, rows_[row].local);
  return config;
}

bool Model::in_handler(int row) const {
  const std::string& name = rows_[row].full_name;
  return name.find("^error") != name.npos || name.find("^failure-alert") != name.npos || name.find("^sla") != name.npos;
}

bool Model::all_success(const std::vector<int>& rows) const {
  return std::all_of(rows.begin(), rows.end(), [this](int i) { return rows_[i].state == TaskState::success; });
}

std::vector<int> Model::children_of(int row) const {
  std::vector<int> children;
  for (std::size_t i = 0; i < rows_.size(); ++i) {
    if (rows_[i].parent == row) children.push_back(static_cast<int>(i));
  }
  return children;
}

void Model::descendants_of(int row, std::vector<int>& into) const {
  for (int child : children_of(row)) {
    into.push_back(child);
    descendants_of(child, into);
  }
}

/// Ascending, each once.
void Model::transitive_upstreams(int row, std::vector<int>& into) const {
  std::set<int> all;
  std::vector<int> open = rows_[row].upstreams;
  while (!open.empty()) {
    const int up = open.back();
    open.pop_back();
    if (!all.insert(up).second) continue;
    open.insert(open.end(), rows_[up].upstreams.begin(), rows_[up].upstreams.end());
  }
  into.assign(all.begin(), all.end());
}

}  // namespace digdag::simulation
