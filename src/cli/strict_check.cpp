#include "cli/strict_check.h"

#include <algorithm>

#include "base/config.h"
#include "base/text.h"
#include "dig/compiler.h"
#include "dig/keys.h"
#include "dig/script_worker.h"
#include "dig/template.h"
#include "dig/template_scanner.h"
#include "dig/warnings.h"
#include "operators/operator.h"

namespace digdag::cli {
namespace {

/// Without line ends and the blanks around them.
std::string in_one_line(const std::string& text) {
  std::vector<std::string> lines;
  for (const std::string& line : split(text, '\n')) {
    if (!is_blank(line)) lines.emplace_back(trim(line));
  }
  return join(lines, " ");
}

class StrictCheck {
 public:
  explicit StrictCheck(const dig::Project& project) : project_(project), templates_(worker_, {}) {}

  std::vector<dig::Warning> run() {
    for (const auto& file : project_.files) {
      if (file.tasks) look_at(*file.tasks);
    }
    return std::move(warnings_);
  }

 private:
  void warn(Position position, const char* id, std::string message) { warnings_.push_back({position, id, std::move(message)}); }

  void look_at(const dig::TaskTree& tree) {
    for (const auto& task : tree.tasks) {
      if (!task.group) look_at_operator(task);
      look_at_templates(task.export_params, task.position);
      for (const auto& member : task.local.as_object()) {
        if (const auto generated = dig::subtasks_of(task, member)) {
          look_at(*generated);
        } else {
          look_at_templates(member.value, member.position.known() ? member.position : task.position);
        }
      }
    }
  }

  void look_at_operator(const dig::TaskDefinition& task) {
    const std::string name = dig::operator_of(task.local);
    const operators::OperatorType* type = operators::find_operator(name);
    if (!type) {
      if (!dig::contains_template(Value(name)))
        warn(operator_place(task, name), "W-unknown-operator", unknown_operator(task.full_name, name));
      return;
    }
    std::vector<std::string> known = dig::task_keys();
    known.insert(known.end(), type->keys.begin(), type->keys.end());
    known.emplace_back("_workdir");
    for (const auto& member : task.local.as_object()) {
      const std::string& key = member.key;
      if (key == name + ">" || dig::is_file_only_key(key) || std::find(known.begin(), known.end(), key) != known.end()) continue;
      const auto similar = similar_words(key, known);
      // What looks like no key of ours is a parameter of the user's program.
      if (type->takes_any_key && (similar.empty() || !key.starts_with('_'))) continue;
      warn(member.position.known() ? member.position : task.position, "W-unknown-option",
           unknown_option(task.full_name, name, key, similar));
    }
  }

  static Position operator_place(const dig::TaskDefinition& task, const std::string& name) {
    const Config local(task.local);
    const Position place = local.position_of(local.has("_type") ? "_type" : name + '>');
    return place.known() ? place : task.position;
  }

  static std::string unknown_option(const std::string& task, const std::string& type, const std::string& key,
                                    const std::vector<std::string>& similar) {
    return type + "> has no option '" + key + "' at task " + task + (similar.empty() ? "" : "; did you mean '" + similar.front() + "'?");
  }

  static std::string unknown_operator(const std::string& task, const std::string& name) {
    std::vector<std::string> known;
    for (const std::string_view operator_name : operators::operator_names()) known.emplace_back(operator_name);
    const auto similar = similar_words(name, known);
    return "unknown operator '" + name + ">' at task " + task + (similar.empty() ? "" : "; did you mean '" + similar.front() + ">'?");
  }

  void look_at_templates(const Value& value, Position position) {
    if (value.is_object()) {
      for (const auto& member : value.as_object()) look_at_templates(member.value, member.position.known() ? member.position : position);
    } else if (value.is_array()) {
      for (const Value& item : value.as_array()) look_at_templates(item, position);
    } else if (value.is_string()) {
      look_at_text(value.as_string(), position);
    }
  }

  void look_at_text(const std::string& text, Position position) {
    for (const auto& piece : dig::scan_template(text, true).pieces) {
      const auto* expression = std::get_if<dig::Expression>(&piece);
      if (!expression || expression->path) continue;
      const std::string shown = "${" + in_one_line(expression->code) + "}";
      try {
        if (const auto fault = templates_.syntax_fault(expression->code))
          warn(position, "W-javascript", shown + " is no JavaScript: " + *fault);
      } catch (const Error& error) {
        warn(position, "W-javascript", shown + " cannot be checked: " + error.message());
      }
    }
  }

  const dig::Project& project_;
  dig::ScriptWorker worker_;
  dig::TemplateEngine templates_;
  std::vector<dig::Warning> warnings_;
};

}  // namespace

std::vector<dig::Warning> strict_warnings(const dig::Project& project) { return StrictCheck(project).run(); }

}  // namespace digdag::cli
