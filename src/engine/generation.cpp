#include <fmt/format.h>

#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "base/json_pointer.h"
#include "engine/attempt_impl.h"

namespace digdag::engine {

namespace {
/// Tasks beyond the limit that handlers may have (spec/decisions.md E-11).
constexpr std::int64_t extra_handler_tasks = 1000;

/// Bytes of the JSON text, about: what a size limit needs.
std::int64_t size_of(const Value& value) {
  switch (value.kind()) {
    case Kind::null: return 4;
    case Kind::boolean: return 5;
    case Kind::integer:
    case Kind::number: return 8;
    case Kind::big_integer:
    case Kind::string: return static_cast<std::int64_t>(value.as_string().size()) + 2;
    case Kind::array: {
      std::int64_t size = 2;
      for (const Value& element : value.as_array()) size += size_of(element) + 1;
      return size;
    }
    case Kind::object: {
      std::int64_t size = 2;
      for (const auto& member : value.as_object()) size += static_cast<std::int64_t>(member.key.size()) + 4 + size_of(member.value);
      return size;
    }
  }
  return 0;
}

dig::TaskTree single_task(std::string name, std::string_view type, std::string_view command) {
  dig::TaskDefinition task;
  task.name = std::move(name);
  task.local = Value::object({{"_type", type}, {"_command", command}});
  task.export_params = Value::object();
  dig::TaskTree tree;
  tree.tasks.push_back(std::move(task));
  return tree;
}
}  // namespace

// ---- Results -------------------------------------------------------------------------------------------------------------

std::optional<Error> Attempt::Impl::size_problem(const TaskResult& result, const Value& state) const {
  if (options.params_size_limit <= 0) return std::nullopt;
  std::int64_t size = 0;
  for (const Value* value : {&result.store_params, &result.export_params, &state}) {
    if (!is_empty_object(*value)) size += size_of(*value);
  }
  if (size <= options.params_size_limit) return std::nullopt;
  return Error(
      "params size limit exceeded",
      fmt::format("Too large params. Limit: {} bytes of stored, exported and state params, Current: {}", options.params_size_limit, size));
}

std::optional<Error> Attempt::Impl::limit_problem(std::size_t current, std::size_t adding, bool handler) const {
  if (options.task_limit <= 0) return std::nullopt;
  const std::int64_t limit = options.task_limit + (handler ? extra_handler_tasks : 0);
  if (static_cast<std::int64_t>(current + adding) <= limit) return std::nullopt;
  return Error("task limit exceeded", fmt::format("Too many tasks. Limit: {}, Current: {}, Adding: {}", limit, current, adding));
}

void Attempt::Impl::succeed(TaskIndex task, const TaskResult& result) {
  const bool handler = rows[task].in_handler;
  dig::TaskTree sub, check;
  try {
    if (auto problem = size_problem(result, rows[task].extra ? rows[task].extra->state : Value())) throw std::move(*problem);
    const Value check_config = own_object(task, "_check");
    if (!is_empty_object(result.subtask_config)) {
      if (!result.subtask_config.is_object())
        throw config_error("Generated tasks must be an object but got " + to_json(result.subtask_config));
      sub = dig::compile(rows.full_name(task), "^sub", result.subtask_config);
      if (auto problem = limit_problem(rows.size(), sub.tasks.size(), handler)) throw std::move(*problem);
    }
    if (!is_empty_object(check_config)) {
      check = dig::compile(rows.full_name(task), "^check", check_config);
      if (auto problem = limit_problem(rows.size() + sub.tasks.size(), check.tasks.size(), handler)) throw std::move(*problem);
    }
  } catch (const Error& e) {
    fail(task, error_object(e));
    return;
  }
  const bool had_error = rows[task].extra && !rows[task].extra->error.is_null();
  if (rows[task].result || !result.empty() || had_error) touch_results(task);
  rows[task].result = result.empty() ? nullptr : std::make_unique<TaskResult>(result);
  if (rows[task].extra) rows[task].extra->error = Value();
  if (!is_empty_object(result.store_params) || !result.reset_store_params.empty()) rows.mark_stores(task);
  scopes.erase(task);
  if (sub.tasks.empty() && check.tasks.empty()) {
    finish(task, TaskState::success);
    return;
  }
  TaskIndex sub_root = no_task;
  const auto first_new = static_cast<TaskIndex>(rows.size());
  if (!sub.tasks.empty()) {
    sub_root = generate(sub, task, initial_task);
    mark_literals(sub_root, result.literal_paths);
  }
  if (!check.tasks.empty()) {
    const TaskIndex check_root = generate(check, task, 0);
    if (sub_root != no_task) rows.add_upstreams(check_root, {sub_root});
    rows.count_visible_siblings(check_root);
  }
  if (sub_root != no_task) take_over(sub_root);
  plan(task, first_new);
}

TaskIndex Attempt::Impl::generate(const dig::TaskTree& tree, TaskIndex parent, std::uint8_t flags) {
  if (rows[parent].extra && rows[parent].extra->starts_generation) touch(parent);  // its row told that it has no task yet
  const TaskIndex root = rows.insert(tree, parent, flags);
  for (auto i = static_cast<std::size_t>(root); i < rows.size(); ++i) touch(static_cast<TaskIndex>(i));
  return root;
}

/// `/+loop-0/_export/i` in the config of the tree is `/i` in the exports of its task `+loop-0`.
void Attempt::Impl::mark_literals(TaskIndex root, const std::vector<std::string>& pointers) {
  std::unordered_map<TaskIndex, std::unordered_map<std::string_view, TaskIndex>> children;  // of the parents met so far
  const auto child_of = [&](TaskIndex parent, std::string_view name) {
    const auto [place, is_new] = children.try_emplace(parent);
    if (is_new) {
      for (TaskIndex child = rows[parent].first_child; child != no_task; child = rows[child].next_sibling)
        place->second.emplace(rows[child].name, child);
    }
    const auto found = place->second.find(name);
    return found == place->second.end() ? no_task : found->second;
  };
  for (const std::string& pointer : pointers) {
    const std::vector<std::string> keys = pointer_keys(pointer);
    TaskIndex task = root;
    std::size_t step = 0;
    for (; step < keys.size() && keys[step].starts_with('+'); ++step) {
      const TaskIndex child = child_of(task, keys[step]);
      if (child == no_task) break;
      task = child;
    }
    if (step + 1 >= keys.size() || keys[step] != "_export") continue;
    std::string path;
    for (++step; step < keys.size(); ++step) path = pointer_to(path, keys[step]);
    rows.extra(task).export_origins.set(path, dig::Origin::data);
  }
}

// ---- Tasks that the engine itself adds -----------------------------------------------------------------------------------

bool Attempt::Impl::add_group_check(TaskIndex task) {
  if (!options.group_check || !rows[task].group) return false;
  if (rows[task].extra && rows[task].extra->check_was_added) return false;
  dig::TaskTree check;
  try {
    const Value config = own_object(task, "_check");
    if (is_empty_object(config)) return false;
    check = dig::compile(rows.full_name(task), "^check", config);
    if (auto problem = limit_problem(rows.size(), check.tasks.size(), rows[task].in_handler)) throw std::move(*problem);
  } catch (const Error& e) {
    TaskExtra& extra = rows.extra(task);
    extra.error = error_object(e);
    extra.failed_itself = true;
    rows.mark_errors(task);
    touch_results(task);
    settle_failed(task);
    return true;
  }
  rows.extra(task).check_was_added = true;
  const TaskIndex root = generate(check, task, 0);
  rows[root].visible_siblings = rows[root].ordinal;  // all of them succeeded
  plan(task, root);
  return true;
}

void Attempt::Impl::add_failure_alert() { generate(single_task("^failure-alert", "notify", "Workflow session attempt failed"), 0, 0); }

void Attempt::Impl::add_monitor_tasks() {
  if (rows[0].cancel_is_requested()) return;
  dig::TaskTree tasks;
  try {
    tasks = dig::compile(rows.full_name(0), "^sla", monitor->tasks);
  } catch (const Error& e) {
    note(Note::Kind::error, 0, "Could not start the tasks of sla: " + e.message_with_kind());
    return;
  }
  std::vector<TaskIndex> roots;
  if (monitor->alert) roots.push_back(generate(single_task("^sla^alert", "notify", "SLA violation"), 0, 0));
  if (monitor->fail) roots.push_back(generate(single_task("^sla^fail", "fail", "SLA violation"), 0, 0));
  roots.push_back(generate(tasks, 0, 0));
  if (rows[0].state == TaskState::planned) releasable.insert(releasable.end(), roots.begin(), roots.end());
}

Value Attempt::Impl::merged_errors(TaskIndex task) const {
  Value errors = Value::object();
  const auto collect = [&](bool with_handlers) {
    rows.visit_tree(task, [&](TaskIndex i) {
      if (!rows[i].errors_below || (!with_handlers && i != task && is_handler_name(rows[i].name))) return false;
      if (i != task && rows[i].extra && rows[i].extra->error.is_object()) merge(errors, rows[i].extra->error);
      return true;
    });
    if (rows[task].extra && rows[task].extra->error.is_object()) merge(errors, rows[task].extra->error);
  };
  collect(false);
  if (is_empty_object(errors)) collect(true);
  return errors;
}

bool Attempt::Impl::add_error_handler(TaskIndex task, Value& error, bool with_stores) {
  try {
    Value config = own_object(task, "_error");
    if (is_empty_object(config)) return false;
    const Value* exported = config.find("_export");
    if (exported && !exported->is_object()) throw config_error("Parameter '_export' must be an object");
    Params params = Params().with(exported ? *exported : Value());
    if (with_stores) {
      rows.visit_tree(task, [&](TaskIndex i) {
        if (!rows[i].stores_below) return false;
        if (i != task) params = with_store(params, i);
        return true;
      });
    }
    // What an error says is data, never a template (spec/decisions.md L-20, L-21).
    params = params.without({"error"}).with(Value::object({{"error", with_stores ? merged_errors(task) : error}}), dig::Origin::data);
    config.mutable_object().set("_export", params.to_value());
    const dig::TaskTree tree = dig::compile(rows.full_name(task), "^error", config);
    if (auto problem = limit_problem(rows.size(), tree.tasks.size(), true)) throw std::move(*problem);
    const TaskIndex root = generate(tree, task, 0);
    rows.extra(root).export_origins = params.origins();
    return true;
  } catch (const Error& e) {
    note(Note::Kind::warning, task, "Found a broken _error task. Skipping this task. " + e.message_with_kind());
    if (!error.is_object()) error = Value::object();
    error.mutable_object().set("error_handler", "_error could not start: " + e.message_with_kind());
    return false;
  }
}

// ---- Another try of a group ----------------------------------------------------------------------------------------------

namespace {
/// The tasks of the file below `parent`, in order: what earlier tries copied and what was generated is left out.
void collect_first_generation(const Rows& rows, TaskIndex parent, std::vector<TaskIndex>& found) {
  const TaskIndex end = rows[parent].extra ? rows[parent].extra->second_generation : no_task;
  for (TaskIndex child = rows[parent].first_child; child != no_task && child != end; child = rows[child].next_sibling) {
    if (!(rows[child].flags & initial_task) || rows[child].is_generated_root()) continue;
    found.push_back(child);
    if (rows[child].group) collect_first_generation(rows, child, found);
  }
}
}  // namespace

std::optional<Error> Attempt::Impl::copy_children(TaskIndex group) {
  std::vector<TaskIndex> originals;
  collect_first_generation(rows, group, originals);
  if (auto problem = limit_problem(rows.size(), originals.size(), rows[group].in_handler)) return problem;
  rows.extra(group).starts_generation = true;
  std::unordered_map<TaskIndex, TaskIndex> copies{{group, group}};
  for (const TaskIndex original : originals) {
    const TaskIndex copy = rows.append_copy(original, copies.at(rows[original].parent), copies);
    copies.emplace(original, copy);
    touch(copy);
  }
  return std::nullopt;
}

}  // namespace digdag::engine
