#include "base/json.h"
#include "base/text.h"
#include "operators/subtasks.h"

namespace digdag::operators {
namespace {

constexpr std::size_t tag_units = 8;

/// The part of a task's name that stands for a variable or its value: at most 8 characters, URL-encoded.
std::string tag(const Value& value) {
  const std::string text = value.is_string() ? value.as_string() : to_json(value);
  return replace_all(form_urlencode(first_utf16_units(text, tag_units)), "+", "%20");
}

bool has_expression(const Value& value) {
  if (value.is_string()) return value.as_string().find("${") != std::string::npos;
  if (value.is_array())
    for (const Value& element : value.as_array())
      if (has_expression(element)) return true;
  if (value.is_object())
    for (const auto& member : value.as_object())
      if (has_expression(member.value)) return true;
  return false;
}

struct Variable {
  std::string name;
  std::size_t index;  ///< among all variables, for the names of the subtasks
  Array values;
  std::vector<std::string> tags;  ///< `0=fruit=2=apple`, one for each value
  bool literal = false;           ///< its list was made by an expression: what stands in it is data (L-21)
};

/// The list as it was written; nullptr where it was inherited or was itself inside of a text.
const Value* written_list(const TaskContext& task, const std::string& name) {
  const Value* written = task.unevaluated_local.find("for_each>");
  if (written == nullptr) written = task.unevaluated_local.find("_command");
  return written != nullptr ? written->find(name) : nullptr;
}

/// Whether the whole of `for_each>` was one text without any expression.
bool is_plain_text(const TaskContext& task) {
  const Value* written = task.unevaluated_local.find("for_each>");
  return written != nullptr && written->is_string() && !has_expression(*written);
}

std::vector<Variable> variables_of(const TaskContext& task) {
  const Value lists = task.params().parse_nested("_command");
  const Config config(lists);
  std::vector<Variable> variables;
  for (const auto& member : lists.as_object()) {
    Variable variable{.name = member.key, .index = variables.size(), .values = {}, .tags = {}};
    const Value list = config.parse_list(member.key);
    if (list.is_array()) variable.values = list.as_array();
    const Value* written = written_list(task, member.key);
    variable.literal = written != nullptr ? has_expression(*written) : !is_plain_text(task);
    const std::string prefix = std::to_string(variable.index) + '=' + tag(variable.name) + '=';
    for (std::size_t i = 0; i < variable.values.size(); ++i)
      variable.tags.push_back(prefix + std::to_string(i) + '=' + tag(variable.values[i]));
    variables.push_back(std::move(variable));
  }
  return variables;
}

/// An empty list empties the product so far, and the next variable starts afresh: only those after the last empty list count.
std::vector<Variable> after_empty_lists(std::vector<Variable> variables, const TaskContext& task) {
  for (std::size_t i = variables.size(); i-- > 0;) {
    if (!variables[i].values.empty()) continue;
    if (i + 1 < variables.size())
      task.warn("The list of '" + variables[i].name + "' is empty: it and the variables before it are left out.");
    variables.erase(variables.begin(), variables.begin() + static_cast<std::ptrdiff_t>(i + 1));
    break;
  }
  return variables;
}

/// for_each>: `_do` for each combination of values, the last variable varying fastest (spec/operators.md 3.5).
class ForEach : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const std::vector<Variable> variables = after_empty_lists(variables_of(task), task);
    std::uint64_t count = variables.empty() ? 0 : 1;
    for (const Variable& variable : variables) {
      if (__builtin_mul_overflow(count, variable.values.size(), &count)) count = UINT64_MAX;
      check_count(task, "for_each subtasks", count);
    }
    Subtasks subtasks(task);
    subtasks.reserve(count);
    for (std::uint64_t n = 0; n < count; ++n) add_combination(subtasks, variables, n, count);
    return std::move(subtasks).result();
  }

 private:
  static void add_combination(Subtasks& subtasks, const std::vector<Variable>& variables, std::uint64_t n, std::uint64_t count) {
    std::string name = "+for-";
    Subtasks::Variables exported;
    std::vector<const std::string*> literal;
    for (const Variable& variable : variables) {
      count /= variable.values.size();
      const std::size_t i = n / count % variable.values.size();
      if (!exported.empty()) name += '&';
      name += variable.tags[i];
      const Value& value = variable.values[i];
      if (variable.literal && (value.is_string() || !value.is_scalar())) literal.push_back(&variable.name);
      exported.emplace_back(variable.name, value);
    }
    subtasks.add(name, exported);
    for (const std::string* variable : literal) subtasks.mark_literal(name, *variable);
  }
};

}  // namespace

std::unique_ptr<Operator> make_for_each() { return std::make_unique<ForEach>(); }

}  // namespace digdag::operators
