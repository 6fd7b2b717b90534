#include "engine/task.h"

#include <array>
#include <cctype>
#include <string>

#include "base/error.h"

namespace digdag::engine {

namespace {
constexpr std::array<std::string_view, 10> state_names = {
    "blocked", "ready", "retry_waiting", "group_retry_waiting", "running", "planned", "group_error", "success", "error", "canceled"};

bool is_key_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
}  // namespace

std::string_view to_string(TaskState state) { return state_names.at(static_cast<std::size_t>(state)); }

std::optional<TaskState> task_state_of(std::string_view name) {
  for (std::size_t code = 0; code < state_names.size(); ++code) {
    if (state_names[code] == name) return static_cast<TaskState>(code);
  }
  return std::nullopt;
}

ConfigKey parse_config_key(std::string_view expression) {
  bool valid = !expression.empty() && expression.front() != '.' && expression.back() != '.';
  for (std::size_t i = 0; valid && i < expression.size(); ++i) {
    valid = is_key_character(expression[i]) || (expression[i] == '.' && expression[i - 1] != '.');
  }
  if (!valid) {
    throw config_error("Config key expression is invalid. Currently, only [a-zA-Z0-9_] characters are supported: " +
                       std::string(expression));
  }
  return ConfigKey(expression);
}

bool TaskResult::empty() const {
  const auto nothing = [](const Value& value) { return value.is_null() || (value.is_object() && value.as_object().empty()); };
  return nothing(subtask_config) && nothing(export_params) && nothing(store_params) && reset_store_params.empty() && literal_paths.empty();
}

}  // namespace digdag::engine
