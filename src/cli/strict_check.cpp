#include "cli/strict_check.h"

#include <algorithm>

#include "base/text.h"
#include "dig/compiler.h"
#include "dig/script_worker.h"
#include "dig/template.h"
#include "dig/template_scanner.h"
#include "operators/operator.h"

namespace digdag::cli {
namespace {

class StrictCheck {
 public:
  explicit StrictCheck(const dig::Project& project) : project_(project), templates_(worker_, {}) {}

  std::vector<dig::Warning> run() {
    for (const auto& file : project_.files) {
      if (!file.tasks) continue;
      for (const auto& task : file.tasks->tasks) look_at(task);
    }
    return std::move(warnings_);
  }

 private:
  void warn(Position position, const char* id, std::string message) { warnings_.push_back({position, id, std::move(message)}); }

  void look_at(const dig::TaskDefinition& task) {
    if (!task.group) look_at_operator(task);
    look_at_templates(task.export_params, task.position);
    look_at_templates(task.local, task.position);
  }

  void look_at_operator(const dig::TaskDefinition& task) {
    const std::string name = dig::operator_of(task.local);
    const operators::OperatorType* type = operators::find_operator(name);
    if (!type) {
      if (name.find('$') == std::string::npos) warn(task.position, "W-unknown-operator", unknown_operator(task.full_name, name));
      return;
    }
    if (type->takes_any_key) return;
    for (const auto& member : task.local.as_object()) {
      const std::string& key = member.key;
      if (key.starts_with('_') || key == name + ">") continue;
      if (std::find(type->keys.begin(), type->keys.end(), key) != type->keys.end()) continue;
      std::vector<std::string> known(type->keys.begin(), type->keys.end());
      const auto similar = similar_words(key, known);
      warn(member.position.known() ? member.position : task.position, "W-unknown-option",
           name + "> has no option '" + key + "' at task " + task.full_name +
               (similar.empty() ? "" : "; did you mean '" + similar.front() + "'?"));
    }
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
    } else if (value.is_string() && value.as_string().find("${") != std::string::npos) {
      look_at_text(value.as_string(), position);
    }
  }

  void look_at_text(const std::string& text, Position position) {
    for (const auto& piece : dig::scan_template(text, true).pieces) {
      const auto* expression = std::get_if<dig::Expression>(&piece);
      if (!expression || expression->path) continue;
      try {
        // Compiled as the body of a function that nobody calls.
        templates_.render("${typeof function(){ return (" + expression->code + "\n) }}", Value::object(), TimeZone());
      } catch (const Error& error) {
        warn(position, "W-javascript", "${" + expression->code + "} is no JavaScript: " + error.message());
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
