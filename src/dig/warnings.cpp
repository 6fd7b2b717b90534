#include "dig/warnings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/config.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/compiler.h"
#include "dig/keys.h"
#include "dig/raw_templates.h"
#include "dig/sla_time.h"
#include "dig/template.h"
#include "dig/time_limit.h"

namespace digdag::dig {
namespace {

bool is_template(const Value& value) { return value.is_string() && contains_template(value); }

bool looks_like_a_task(const Value& value) {
  if (!value.is_object()) return false;
  const Object& members = value.as_object();
  return std::any_of(members.begin(), members.end(),
                     [](const Object::Member& member) { return member.key.ends_with('>') || member.key.starts_with('+'); });
}

/// Operators whose own errors are not retried (E-03).
bool never_retries(std::string_view type) {
  static constexpr std::array<std::string_view, 4> types{"fail", "echo", "if", "wait"};
  return std::find(types.begin(), types.end(), type) != types.end();
}

/// Looks at the tasks of one tree, and at those that would be generated from their `_do`, `_check` and so on.
class Doubts {
 public:
  explicit Doubts(std::vector<Warning>& warnings) : warnings_(warnings) {}

  void look_at(const TaskTree& tree, bool file) {
    for (const TaskDefinition& task : tree.tasks) {
      if (task.local.find("_disable") && task.group) continue;
      look_at(task, file && task.parent < 0);
    }
  }

  /// A `_disable: true` task has lost its keys in the tree; they are still in the config.
  void look_for_disabled(const Value& config, const std::string& full_name) {
    if (!config.is_object()) return;
    for (const Object::Member& member : config.as_object()) {
      if (!member.key.starts_with('+') || !member.value.is_object()) continue;
      const std::string child = full_name + member.key;
      const Value* disabled = member.value.find("_disable");
      if (disabled && !disabled->is_null() && convert_to_boolean(*disabled, "_disable")) {
        look_at_disabled(child, member);
      } else {
        look_for_disabled(member.value, child);
      }
    }
  }

 private:
  void warn(Position position, std::string_view id, std::string message) {
    warnings_.push_back({position, std::string(id), std::move(message)});
  }

  void look_at_disabled(const std::string& full_name, const Object::Member& task) {
    Value enabled = task.value;
    enabled.mutable_object().erase("_disable");
    try {
      compile(full_name, "", enabled);
    } catch (const Error& error) {
      warn(error.position().known() ? error.position() : task.position, "W-disabled-keys",
           fmt::format("{} is disabled and would not compile: {}", full_name, error.message()));
    }
  }

  void look_at(const TaskDefinition& task, bool file) {
    for (const Object::Member& member : task.local.as_object()) {
      const Position at = member.position.known() ? member.position : task.position;
      if (member.key == "_retry") look_at_retry(task, member.value, at);
      if (!name_of_subtasks(member.key).empty()) look_at_subtasks(task, member, at);
      if (task.group) {
        look_at_group_key(task, member, file, at);
      } else {
        look_at_option(task, member, at);
      }
    }
  }

  void look_at_group_key(const TaskDefinition& task, const Object::Member& member, bool file, Position at) {
    const std::string& key = member.key;
    if (key == "_check") {
      warn(at, "W-group-check", fmt::format("_check of {} runs only where executor.group_check = true", task.full_name));
    } else if (key == "sla" && file) {
      look_at_sla(task, member.value, at);
    } else if (!file && (key == "timezone" || key == "schedule" || key == "sla" || key == "_secrets")) {
      warn(at, "W-unused-key", fmt::format("{} has no effect in {}: it belongs to the top of a file", key, task.full_name));
    }
  }

  void look_at_option(const TaskDefinition& task, const Object::Member& member, Position at) {
    if (const auto fault = contains_template(member.value) ? std::nullopt : fault_of_time_limit(member)) {
      warn(at, "W-time-limit", fmt::format("{} will fail: {}", task.full_name, fault->message()));
    } else if (is_reserved_key(member.key)) {
      warn(at, "W-reserved", fmt::format("{} is reserved", member.key));
    } else if (!member.key.starts_with('_') && !member.key.ends_with('>') && looks_like_a_task(member.value)) {
      const bool lost_underscore = name_of_subtasks("_" + member.key) == "^sub";
      warn(at, "W-nested-task",
           fmt::format("{} is an option of {} and never runs: did you mean {}?", member.key, task.full_name,
                       lost_underscore ? "_" + member.key : "+" + member.key + ", beside it"));
    }
  }

  void look_at_subtasks(const TaskDefinition& task, const Object::Member& member, Position at) {
    if (member.value.is_null() || is_template(member.value)) return;
    if (!member.value.is_object()) return warn(at, "W-subtasks", fmt::format("{} of {} must be an object", member.key, task.full_name));
    compile_subtasks(task.full_name, name_of_subtasks(member.key), member.value, member.key, at);
  }

  void compile_subtasks(const std::string& full_name, std::string_view name, const Value& config, std::string_view key, Position at,
                        std::string_view id = "W-subtasks") {
    if (config.as_object().empty()) return;
    try {
      look_at(compile(full_name, name, config), false);
    } catch (const Error& error) {
      warn(error.position().known() ? error.position() : at, id, fmt::format("{} will fail: {}", key, error.message()));
    }
  }

  void look_at_sla(const TaskDefinition& task, const Value& sla, Position at) {
    if (!sla.is_object()) return warn(at, "W-sla", "sla must be an object, so no attempt will start; for example: sla: {duration: 01:00}");
    look_at_sla_time(sla, at);
    Object tasks;
    for (const Object::Member& member : sla.as_object()) {
      if (member.key != "time" && member.key != "duration" && member.key != "fail" && member.key != "alert")
        tasks.set(member.key, member.value, member.position);
    }
    compile_subtasks(task.full_name, "^sla", Value(std::move(tasks)), "sla", at, "W-sla");
  }

  void look_at_sla_time(const Value& sla, Position at) {
    try {
      const SlaTime time = sla_time_of(sla);
      if (!time.is_off_the_clock()) return;
      const std::string_view option = time.at_time_of_day ? "time" : "duration";
      const Position place = Config(sla).position_of(option);
      warn(place.known() ? place : at, "W-sla",
           fmt::format("sla {} {} has a part outside of the clock; it counts on, as 25:00 is 01:00 of the next day", option, time.text));
    } catch (const Error& error) {
      warn(error.position().known() ? error.position() : at, "W-sla",
           fmt::format("{}; no attempt will start: {}", error.message(), error.hint_text()));
    }
  }

  void look_at_retry(const TaskDefinition& task, const Value& retry, Position at) {
    if (const std::optional<std::string> fault = fault_of_retry(retry))
      return warn(at, "W-retry", fmt::format("_retry of {}: {}", task.full_name, *fault));
    const std::string type = task.group ? std::string() : type_of(task);
    // A time limit makes everything fail in a way that is retried.
    if (never_retries(type) && !task.local.find("_timeout")) warn(at, "W-retry", fmt::format("_retry has no effect on {}>", type));
  }

  static std::string type_of(const TaskDefinition& task) {
    try {
      return operator_of(task.local);
    } catch (const Error&) {
      return {};
    }
  }

  static bool is_count(const Value& value) {
    if (is_template(value)) return true;
    try {
      convert_to_int(value, "_retry");
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  static std::string misspelt_limit(const Object& retry) {
    for (const Object::Member& member : retry) {
      if (!similar_words(member.key, {"limit"}).empty()) return fmt::format(" ('{}': did you mean 'limit'?)", member.key);
    }
    return {};
  }

  static std::optional<std::string> fault_of_retry(const Value& retry) {
    if (!retry.is_object()) return is_count(retry) ? std::nullopt : std::optional("Invalid _retry format:" + to_json(retry));
    const Value* limit = retry.find("limit");
    if (!limit) return "limit must be a number" + misspelt_limit(retry.as_object());
    if (!is_count(*limit)) return "limit must be a number";
    for (const char* key : {"interval", "max_interval"}) {
      const Value* seconds = retry.find(key);
      if (seconds && !is_count(*seconds)) return fmt::format("{} must be a number of seconds", key);
    }
    if (const Value* type = retry.find("interval_type"); type && type->is_string() && !is_template(*type)) {
      const std::string word = lower(type->as_string());
      if (word != "constant" && word != "exponential") return "Invalid retry_interval_type: " + type->as_string();
    }
    if (const Value* causes = retry.find("on")) {
      const bool fine = causes->is_array() && std::all_of(causes->as_array().begin(), causes->as_array().end(), [](const Value& cause) {
                          return cause.is_string() && (cause.as_string() == "timeout" || cause.as_string() == "failure");
                        });
      if (!fine) return "on must be a list of timeout and failure";
    }
    return std::nullopt;
  }

  std::vector<Warning>& warnings_;
};

/// A tree and, where it was generated from a task of another one, that task.
struct Place {
  const TaskTree& tree;
  const TaskDefinition* generator = nullptr;
  const Place* around = nullptr;
};

/// Whether a task or one of those around it exports a parameter.
bool is_exported(const Place& place, const TaskDefinition& task, std::string_view key) {
  for (const TaskDefinition* at = &task;; at = &place.tree.tasks[static_cast<std::size_t>(at->parent)]) {
    if (at->export_params.find(key)) return true;
    if (at->parent < 0) break;
  }
  return place.around && is_exported(*place.around, *place.generator, key);
}

/// Whether a task has a parameter: its own keys do not reach the tasks that are generated from it.
bool has_parameter(const Place& place, const TaskDefinition& task, std::string_view key) {
  return task.local.find(key) || is_exported(place, task, key);
}

/// The keys of a called file that only count where it runs as a workflow of its own (B22).
std::vector<std::string> keys_without_effect(const Project& project, const std::string& path, const TimeZone& zone) {
  const Project::File* known = project.find(std::string_view(path).substr(0, path.size() - std::string_view(".dig").size()));
  std::vector<Warning> of_that_file;
  const Project::File called = known ? *known : load_project_file(project.directory, path, of_that_file);
  std::vector<std::string> keys;
  if (!called.workflow) return keys;
  for (const char* key : {"schedule", "sla"}) {
    if (called.workflow->config.find(key)) keys.emplace_back(key);
  }
  if (called.workflow->has_timezone && called.workflow->timezone.id() != zone.id()) keys.emplace_back("timezone");
  return keys;
}

/// Looks at what `call>` and `require>` name in one tree, and in those that would be generated from it.
class TargetDoubts {
 public:
  TargetDoubts(const Project& project, const Project::File& file) : project_(project), file_(file) {}

  void look_at(const Place& place) {
    for (const TaskDefinition& task : place.tree.tasks) {
      if (!task.group) {
        look_at_call(place, task);
        look_at_require(place, task);
      }
      for (const Object::Member& member : task.local.as_object()) {
        if (const auto tree = subtasks_of(task, member)) look_at({*tree, &task, &place});
      }
    }
  }
  std::vector<Warning> take() { return std::move(warnings_); }

 private:
  void warn(const TaskDefinition& task, const Object::Member& target, std::string_view id, std::string message) {
    warnings_.push_back({target.position.known() ? target.position : task.position, std::string(id), std::move(message)});
  }

  /// What an operator is given, where that is a name and no template.
  static const Object::Member* literal_target(const TaskDefinition& task, std::string_view key) {
    const Object::Member* target = task.local.as_object().find_member(key);
    return target && target->value.is_string() && !is_template(target->value) ? target : nullptr;
  }

  void look_at_call(const Place& place, const TaskDefinition& task) {
    const Object::Member* target = literal_target(task, "call>");
    if (!target || has_parameter(place, task, "_workdir")) return;
    const std::string& name = target->value.as_string();
    const std::string path = name.ends_with(".dig") ? name : name + ".dig";
    const std::filesystem::path file = (project_.directory / path).lexically_normal();
    if (!is_inside(file, project_.directory))
      return warn(task, *target, "W-missing-workflow", fmt::format("call> {}: {} is outside of the project", name, path));
    std::error_code failure;
    if (!std::filesystem::is_regular_file(file, failure))
      return warn(task, *target, "W-missing-workflow", fmt::format("call> {}: there is no file {}", name, path));
    for (const std::string& key : keys_without_effect(project_, path, file_.workflow->timezone))
      warn(task, *target, "W-unused-key", fmt::format("{} of {} has no effect where call> runs it", key, path));
  }

  void look_at_require(const Place& place, const TaskDefinition& task) {
    const Object::Member* target = literal_target(task, "require>");
    if (!target || has_parameter(place, task, "project_id") || has_parameter(place, task, "project_name")) return;
    const std::string& name = target->value.as_string();
    if (!project_.find(name))
      warn(task, *target, "W-missing-workflow", fmt::format("require> {}: this project has no such workflow", name));
  }

  const Project& project_;
  const Project::File& file_;
  std::vector<Warning> warnings_;
};

}  // namespace

std::optional<TaskTree> subtasks_of(const TaskDefinition& task, const Object::Member& member) {
  const std::string_view name = name_of_subtasks(member.key);
  if (name.empty() || !member.value.is_object() || member.value.as_object().empty()) return std::nullopt;
  try {
    return compile(task.full_name, name, member.value);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void find_doubts(const Workflow& workflow, const TaskTree& tasks, std::vector<Warning>& warnings) {
  Doubts doubts(warnings);
  doubts.look_at(tasks, true);
  doubts.look_for_disabled(workflow.config, "+" + workflow.name);
  for (Warning& raw : find_raw_templates(tasks)) warnings.push_back(std::move(raw));
}

std::vector<Warning> find_doubtful_targets(const Project& project, const Project::File& file) {
  TargetDoubts doubts(project, file);
  doubts.look_at({*file.tasks});
  return doubts.take();
}

}  // namespace digdag::dig
