#include "engine/task.h"

#include <array>
#include <string>

namespace digdag::engine {

namespace {
constexpr std::array<std::string_view, 10> state_names = {
    "blocked", "ready", "retry_waiting", "group_retry_waiting", "running", "planned", "group_error", "success", "error", "canceled"};

}  // namespace

std::string_view to_string(TaskState state) { return state_names.at(static_cast<std::size_t>(state)); }

bool TaskResult::empty() const {
  const auto nothing = [](const Value& value) { return value.is_null() || (value.is_object() && value.as_object().empty()); };
  return nothing(subtask_config) && nothing(export_params) && nothing(store_params) && reset_store_params.empty() && literal_paths.empty();
}

}  // namespace digdag::engine
