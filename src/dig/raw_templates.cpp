#include "dig/raw_templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "dig/template_scanner.h"
#include "dig/warnings.h"

namespace digdag::dig {
namespace {

constexpr bool extended_syntax = true;

bool has_expression(const Value& value) {
  if (value.is_string()) {
    if (value.as_string().find("${") == std::string::npos) return false;
    const Template text = scan_template(value.as_string(), extended_syntax);
    return std::any_of(text.pieces.begin(), text.pieces.end(), [](const auto& piece) { return std::holds_alternative<Expression>(piece); });
  }
  if (value.is_array()) return std::any_of(value.as_array().begin(), value.as_array().end(), has_expression);
  if (!value.is_object()) return false;
  return std::any_of(value.as_object().begin(), value.as_object().end(),
                     [](const Object::Member& member) { return has_expression(member.value); });
}

/// The value of a path as far as it is known; what is below of a text is made from the text.
const Value* value_at(const Value& params, const Path& path) {
  const Value* value = params.find(path.variable);
  for (const Path::Step& step : path.steps) {
    if (!value || value->is_string()) break;
    if (value->is_array()) {
      value = step.index && *step.index < value->as_array().size() ? &value->as_array()[*step.index] : nullptr;
    } else {
      value = value->find(step.name);
    }
  }
  return value;
}

/// What a task has from elsewhere under any name that it exports.
bool is_set_at_run_time(std::string_view name) {
  return name == "timezone" || name == "project_id" || name == "attempt_id" || name == "task_name" || name == "retry_attempt_name" ||
         name.starts_with("session_") || name.starts_with("last_session_") || name.starts_with("next_session_") ||
         name.starts_with("last_executed_session_");
}

/// The parameters that a loop gives to its tasks.
std::vector<std::string> loop_variables(const TaskDefinition& task) {
  if (task.local.find("loop>")) return {"i"};
  if (task.local.find("for_range>")) return {"range"};
  std::vector<std::string> names;
  if (const Value* lists = task.local.find("for_each>"); lists && lists->is_object()) {
    for (const Object::Member& member : lists->as_object()) names.push_back(member.key);
  }
  return names;
}

class RawTemplates {
 public:
  void look_at(const TaskTree& tree, const Value& inherited, const std::vector<std::string>& given) {
    std::vector<std::size_t> scope_of(tree.tasks.size());
    std::vector<Scope> scopes;
    for (std::size_t i = 0; i < tree.tasks.size(); ++i) {
      const TaskDefinition& task = tree.tasks[i];
      const bool root = task.parent < 0;
      if (root || !task.export_params.as_object().empty()) {
        Value params = root ? inherited : scopes[scope_of[static_cast<std::size_t>(task.parent)]].params;
        merge(params, task.export_params);
        // A loop exports at the root of its tasks, over everything that stands there.
        if (root) {
          for (const std::string& name : given) params.mutable_object().erase(name);
        }
        scopes.push_back({std::move(params)});
        scope_of[i] = scopes.size() - 1;
      } else {
        scope_of[i] = scope_of[static_cast<std::size_t>(task.parent)];
      }
      Scope& scope = scopes[scope_of[i]];
      if (!task.group) look_at_operator(task, scope);
      for (const Object::Member& member : task.local.as_object()) {
        if (const auto generated = subtasks_of(task, member)) look_at(*generated, scope.params, loop_variables(task));
      }
    }
  }
  std::vector<Warning> take() { return std::move(warnings_); }

 private:
  /// The exports that a task sees; tasks without own ones share it.
  struct Scope {
    Value params;
    bool seen = false;
  };

  void look_at_operator(const TaskDefinition& task, Scope& scope) {
    const Object& local = task.local.as_object();
    const bool own = std::any_of(local.begin(), local.end(),
                                 [](const Object::Member& member) { return !member.value.is_string() && has_expression(member.value); });
    if (!own && scope.seen) return;
    task_ = &task;
    params_ = &scope.params;
    Value all = scope.params;
    merge(all, task.local);
    if (!own) scope.seen = true;
    for (const Object::Member& member : all.as_object()) {
      if (member.key == "_error" || member.key == "_check" || is_verbatim(member.key)) continue;
      // Texts here, and in lists here, see what has been evaluated before them.
      look_below(member.value, member.position.known() ? member.position : task.position);
    }
  }

  static bool is_verbatim(std::string_view key) { return key == "_do" || key == "_else_do"; }

  void look_below(const Value& value, Position position) {
    if (value.is_array()) {
      for (const Value& item : value.as_array()) look_below(item, position);
    } else if (value.is_object()) {
      const Object& level = value.as_object();
      for (std::size_t i = 0; i < level.size(); ++i) {
        if (!is_verbatim(level[i].key)) look_inside(level[i].value, level, i, level[i].position.known() ? level[i].position : position);
      }
    }
  }

  /// A value that stands in a map, before which `done` members of it have been evaluated.
  void look_inside(const Value& value, const Object& level, std::size_t done, Position position) {
    if (value.is_object()) return look_below(value, position);
    if (value.is_array()) {
      for (const Value& item : value.as_array()) look_inside(item, level, done, position);
    } else if (value.is_string() && value.as_string().find("${") != std::string::npos) {
      for (const auto& piece : scan_template(value.as_string(), extended_syntax).pieces) {
        const auto* const expression = std::get_if<Expression>(&piece);
        if (expression && expression->path) look_at_path(*expression, level, done, position);
      }
    }
  }

  void look_at_path(const Expression& expression, const Object& level, std::size_t done, Position position) {
    const std::string& name = expression.path->variable;
    const auto end = level.begin() + static_cast<std::ptrdiff_t>(done);
    if (is_set_at_run_time(name) || std::any_of(level.begin(), end, [&](const auto& member) { return member.key == name; })) return;
    const Value* const value = value_at(*params_, *expression.path);
    if (!value || !has_expression(*value)) return;
    if (!told_.emplace(to_string(position), expression.code).second) return;
    warnings_.push_back({position, "W-raw-template",
                         fmt::format("${{{0}}} inside of a map gives {1} the template of {2} as it is written, not its value: write its "
                                     "expression here, or give the task a key of a new name with ${{{0}}} before the map, and use that",
                                     expression.code, task_->full_name, name)});
  }

  const TaskDefinition* task_ = nullptr;
  const Value* params_ = nullptr;
  std::set<std::pair<std::string, std::string>> told_;  ///< place and expression
  std::vector<Warning> warnings_;
};

}  // namespace

std::vector<Warning> find_raw_templates(const TaskTree& tasks) {
  RawTemplates found;
  found.look_at(tasks, Value::object(), {});
  return found.take();
}

}  // namespace digdag::dig
