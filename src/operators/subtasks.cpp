#include "operators/subtasks.h"

#include "base/json.h"
#include "base/json_pointer.h"

namespace digdag::operators {
namespace {

/// `_parallel` of the generated group; null where its tasks run one after the other (spec/operators.md 1.11).
Value parallel_of(const Config& params) {
  const Value* parallel = params.find("_parallel");
  if (parallel == nullptr) return {};
  if (parallel->is_boolean() || parallel->is_string()) return convert_to_boolean(*parallel, "_parallel") ? *parallel : Value();
  if (!parallel->is_object()) throw config_error("Invalid _parallel format: " + to_json(*parallel));
  static_cast<void>(Config(*parallel).integer("limit"));
  return *parallel;
}

}  // namespace

Subtasks::Subtasks(const TaskContext& task) {
  const Config params = task.params();
  Value config;
  try {
    config = params.nested("_do");
  } catch (const Error& error) {
    throw Error(error).hint("the tasks of a loop stand in `_do`, with an underscore");
  }
  do_ = config.as_object();
  export_ = Config(config).nested_or_empty("_export");
  parallel_ = parallel_of(params);
}

void Subtasks::add(std::string_view name, const Variables& variables) {
  Object exported = export_.as_object();
  for (const auto& [key, value] : variables) exported.set(key, value);
  Object subtask = do_;
  subtask.set("_export", std::move(exported));
  group_.set(name, std::move(subtask));
}

void Subtasks::mark_literal(std::string_view name, std::string_view variable) {
  literal_paths_.push_back(pointer_to(pointer_to("", name) + "/_export", variable));
}

engine::TaskResult Subtasks::result() && {
  if (!parallel_.is_null() && !group_.empty()) group_.set("_parallel", parallel_);
  return {.subtask_config = std::move(group_), .literal_paths = std::move(literal_paths_)};
}

void check_count(const TaskContext& task, std::string_view what, std::uint64_t count) {
  if (task.task_limit > 0 && count > static_cast<std::uint64_t>(task.task_limit))
    throw config_error("Too many " + std::string(what) + ". Limit: " + std::to_string(task.task_limit))
        .hint("executor.task_max_run allows more tasks in an attempt");
}

}  // namespace digdag::operators
