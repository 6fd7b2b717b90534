#include "dig/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dig/compiler.h"

namespace digdag::dig {
namespace {

Value place(const Position& position, std::string_view file) {
  Value json = Value::object();
  Object& object = json.mutable_object();
  const std::string name = file_name(position.file);
  object.set("file", name.empty() ? std::string(file) : name);
  object.set("line", static_cast<std::int64_t>(std::max<std::uint32_t>(position.line, 1)));
  object.set("column", static_cast<std::int64_t>(std::max<std::uint16_t>(position.column, 1)));
  return json;
}

Value describe(const Error& error, std::string_view file) {
  Value json = place(error.position(), file);
  json.mutable_object().set("message", error.message());
  if (!error.hint_text().empty()) json.mutable_object().set("hint", error.hint_text());
  return json;
}

Value describe(const Warning& warning, std::string_view file) {
  Value json = place(warning.position, file);
  json.mutable_object().set("id", warning.id);
  json.mutable_object().set("message", warning.message);
  return json;
}

Value describe(const TaskTree& tree, std::int32_t index) {
  const TaskDefinition& task = tree.tasks[static_cast<std::size_t>(index)];
  Array upstreams;
  for (const std::int32_t upstream : all_upstreams(tree, index)) upstreams.emplace_back(upstream);
  return Value::object({{"index", index},
                        {"full_name", task.full_name},
                        {"parent", task.parent < 0 ? Value() : Value(task.parent)},
                        {"upstreams", Value(std::move(upstreams))},
                        {"operator", task.group ? Value() : Value(operator_of(task.local))},
                        {"local", task.local},
                        {"export", task.export_params}});
}

/// Whether something found by another room belongs to a file of the project that is reported; everything does without a filter.
bool concerns(const Position& position, const Project::File* only) {
  return !only || position.file == 0 || file_name(position.file) == only->name;
}

}  // namespace

Value describe(const Workflow& workflow, const TaskTree& tasks) {
  Array list;
  list.reserve(tasks.tasks.size());
  for (std::size_t i = 0; i < tasks.tasks.size(); ++i) list.push_back(describe(tasks, static_cast<std::int32_t>(i)));
  const auto part = [&](std::string_view key) {
    const Value* value = workflow.config.find(key);
    return value ? *value : Value();
  };
  return Value::object({{"name", workflow.name},
                        {"timezone", workflow.timezone.id()},
                        {"schedule", part("schedule")},
                        {"sla", part("sla")},
                        {"tasks", Value(std::move(list))}});
}

CheckReport check_report(const Project& project, const std::optional<std::string>& workflow, const std::vector<Error>& more_errors,
                         const std::vector<Warning>& more_warnings) {
  Array workflows;
  Array errors;
  Array warnings;
  const Project::File* only = workflow ? project.find(*workflow) : nullptr;
  if (workflow && !only) {
    errors.push_back(describe(config_error(fmt::format("Workflow '{}' does not exist", *workflow)), *workflow + ".dig"));
  }
  for (const Project::File& file : project.files) {
    if (workflow && &file != only) continue;
    if (file.workflow && file.tasks && file.errors.empty()) workflows.push_back(describe(*file.workflow, *file.tasks));
    for (const Error& error : file.errors) errors.push_back(describe(error, file.name));
    for (const Warning& warning : file.warnings) warnings.push_back(describe(warning, file.name));
  }
  for (const Error& error : more_errors) {
    if (!workflow || (only && concerns(error.position(), only))) errors.push_back(describe(error, only ? only->name : ""));
  }
  for (const Warning& warning : more_warnings) {
    if (!workflow || (only && concerns(warning.position, only))) warnings.push_back(describe(warning, only ? only->name : ""));
  }
  CheckReport report{.has_errors = !errors.empty(), .has_warnings = !warnings.empty()};
  report.json = Value::object(
      {{"workflows", Value(std::move(workflows))}, {"errors", Value(std::move(errors))}, {"warnings", Value(std::move(warnings))}});
  return report;
}

}  // namespace digdag::dig
