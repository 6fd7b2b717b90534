#include "dig/workflow_file.h"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "base/config.h"
#include "base/text.h"
#include "dig/declared_params.h"
#include "dig/keys.h"
#include "dig/loader.h"
#include "dig/names.h"

namespace digdag::dig {
namespace {

/// Splits the keys at the top of a file (spec/language.md 3.3).
class Splitter {
 public:
  Splitter(const Value& document, std::vector<Error>& errors) : document_(document), errors_(errors) {}

  Workflow split(std::string name, std::string file) {
    workflow_.name = std::move(name);
    workflow_.file = std::move(file);
    workflow_.position = {1, 1, file_id(workflow_.file)};
    for (std::string& fault : faults_of_workflow_name(workflow_.name)) {
      errors_.push_back(
          config_error(std::move(fault)).at(workflow_.position).hint("the name of a workflow is that of its file without .dig"));
    }
    read_timezone();
    read_export();
    for (const std::string& key : file_keys()) copy(key);
    check_forms();
    read_tasks();
    report_unknown_keys();
    workflow_.config = Value(std::move(config_));
    return std::move(workflow_);
  }

 private:
  const Object::Member* member(std::string_view key) const { return document_.as_object().find_member(key); }
  void report(const Object::Member& at, std::string message, std::string hint = {}) {
    Error error = config_error(std::move(message)).at(at.position, at.key);
    errors_.push_back(hint.empty() ? std::move(error) : std::move(error).hint(std::move(hint)));
  }

  void read_timezone() {
    const Object::Member* zone = member("timezone");
    if (!zone || zone->value.is_null()) return;
    if (zone->value.is_string()) {
      const std::string& id = zone->value.as_string();
      if (id.empty()) return;
      if (const std::optional<TimeZone> found = TimeZone::of(id)) {
        workflow_.timezone = *found;
        workflow_.has_timezone = true;
        return;
      }
    }
    report(*zone, unexpected_type("time zone", "timezone", zone->value).message(),
           "write a region such as Asia/Tokyo, UTC, or an offset in quotes such as '+09:00'");
  }

  void read_export() {
    const Object::Member* exported = member("_export");
    if (!exported || exported->value.is_null()) return;
    if (!exported->value.is_object()) return report(*exported, "Parameter '_export' must be an object");
    if (!exported->value.as_object().empty()) config_.set(exported->key, exported->value, exported->position);
  }

  void copy(const std::string& key) {
    const Object::Member* found = member(key);
    if (!found) return;
    if (found->value.is_null())
      return report(*found, fmt::format("Parameter '{}' is required but null", key), "remove the key, or give it a value");
    config_.set(found->key, found->value, found->position);
  }

  /// The forms of the keys that only a file has (spec/decisions.md 1, E-62, L-40, S-40).
  void check_forms() {
    if (const Object::Member* declared = set_member("_params"); declared && declared->value.is_object()) {
      for (Error& fault : faults_of_declared_params(declared->value)) errors_.push_back(std::move(fault));
    } else if (declared) {
      report(*declared, "Parameter '_params' must be an object", "declare parameters like `_params: {date: {type: string}}`");
    }
    if (const Object::Member* limit = set_member("_concurrency"); limit && !is_concurrency(limit->value)) {
      report(*limit, unexpected_type("a number of attempts", "_concurrency", limit->value).message(),
             "write `_concurrency: 1`, or `_concurrency: {limit: 1, on_limit: wait}`; on_limit is wait, skip or fail");
    }
    if (const Object::Member* trigger = set_member("trigger")) check_trigger(*trigger);
  }

  void check_trigger(const Object::Member& trigger) {
    static const std::vector<std::string> known{"attempt>", "dependent_workflow_name", "dependent_project_name"};
    if (!trigger.value.is_object())
      return report(trigger, "Parameter 'trigger' must be an object", "write `trigger: {attempt>: , dependent_workflow_name: w}`");
    const Object& keys = trigger.value.as_object();
    for (const Object::Member& entry : keys) {
      if (std::find(known.begin(), known.end(), entry.key) == known.end())
        report(entry, "trigger includes unknown keys: " + name_with_suggestions({entry.key}, known));
    }
    const Object::Member* command = keys.find_member("attempt>");
    if (!command || !command->value.is_null())
      report(command ? *command : trigger, "trigger needs `attempt>:` without a value",
             "it starts after an attempt; the keys beside it say of what");
    const Value* workflow = keys.find("dependent_workflow_name");
    if (!workflow || !is_name(*workflow))
      report(trigger, "trigger needs dependent_workflow_name", "name the workflow after which this one starts");
    if (const Object::Member* project = keys.find_member("dependent_project_name"); project && !is_name(project->value))
      report(*project, "dependent_project_name must be the name of a project", "without it the workflow is one of the same project");
  }
  static bool is_name(const Value& value) { return value.is_string() && !value.as_string().empty(); }

  const Object::Member* set_member(std::string_view key) const {
    const Object::Member* found = member(key);
    return found && !found->value.is_null() ? found : nullptr;
  }

  static bool is_concurrency(const Value& value) {
    const auto is_limit = [](const Value& limit) { return limit.is_integer() && limit.as_integer() >= 1; };
    if (!value.is_object()) return is_limit(value);
    const Value* limit = value.find("limit");
    const Value* on_limit = value.find("on_limit");
    const bool known = !on_limit || *on_limit == Value("wait") || *on_limit == Value("skip") || *on_limit == Value("fail");
    return limit && is_limit(*limit) && known;
  }

  void read_tasks() {
    for (const Object::Member& task : document_.as_object()) {
      if (!task.key.starts_with('+')) continue;
      const std::vector<std::string> faults = faults_of_top_task_name(task.key);
      for (const std::string& fault : faults) report(task, fault, allowed_task_name);
      if (task.value.is_null()) {
        report(task, fmt::format("Parameter '{}' is required but null", task.key), "indent what belongs to the task, or write {} for none");
      } else if (faults.empty()) {
        config_.set(task.key, task.value, task.position);
      }
    }
  }

  void report_unknown_keys() {
    std::vector<std::string> unknown;
    const Object::Member* first = nullptr;
    for (const Object::Member& entry : document_.as_object()) {
      const std::string& key = entry.key;
      if (key.starts_with('+') || key == "timezone" || key == "_export") continue;
      if (std::find(file_keys().begin(), file_keys().end(), key) != file_keys().end()) continue;
      unknown.push_back(key);
      if (!first) first = &entry;
    }
    if (first)
      report(*first, fmt::format("Workflow '{}' includes unknown keys: [{}]", visible(workflow_.name), list_names(unknown)),
             hint_for(*first));
  }

  static std::string hint_for(const Object::Member& unknown) {
    const std::string& key = unknown.key;
    if (is_reserved_key(key)) return fmt::format("{} is reserved", key);
    if (key.ends_with('>') || key == "_type") return "an operator belongs into a task: `+name:`, and below it, indented, the operator";
    std::vector<std::string> known = file_keys();
    known.insert(known.end(), {"timezone", "_export"});
    if (const std::vector<std::string> similar = similar_words(key, known); !similar.empty())
      return fmt::format("did you mean {}?", similar.front());
    if (unknown.value.is_object()) return fmt::format("a task's name begins with +: `+{}`; parameters belong into _export", visible(key));
    return "parameters belong into _export";
  }

  const Value& document_;
  std::vector<Error>& errors_;
  Workflow workflow_;
  Object config_;
};

}  // namespace

Workflow split_workflow(std::string name, const Value& document, std::string file, std::vector<Error>& errors) {
  return Splitter(document, errors).split(std::move(name), std::move(file));
}

Workflow workflow_of(std::string name, const Value& document, std::string file) {
  std::vector<Error> errors;
  Workflow workflow = split_workflow(std::move(name), document, std::move(file), errors);
  if (!errors.empty()) throw errors.front();
  return workflow;
}

Value called_workflow(const std::string& name, const Value& document, const std::string& file) {
  Value config = workflow_of(name, document, file).config;
  const std::string directory = std::filesystem::path(file).parent_path().lexically_normal().string();
  if (directory.empty() || directory == ".") return config;
  Value exported = Value::object();
  if (const Value* own = config.find("_export")) exported = *own;
  std::string workdir = directory;
  if (const Value* own = exported.find("_workdir"); own && !own->is_null()) workdir += "/" + convert_to_string(*own, "_workdir");
  exported.mutable_object().set("_workdir", std::move(workdir));
  if (config.find("_export")) {
    config.mutable_object().set("_export", std::move(exported));
    return config;
  }
  Object with_export;  // _export stands first
  with_export.set("_export", std::move(exported));
  for (const Object::Member& member : config.as_object()) with_export.set(member.key, member.value, member.position);
  return Value(std::move(with_export));
}

}  // namespace digdag::dig
