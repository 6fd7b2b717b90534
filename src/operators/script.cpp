#include "operators/script.h"

#include <csignal>
#include <cstring>

#include "base/json_pointer.h"
#include "base/text.h"

namespace digdag::operators {
namespace {

/// `SIGKILL`; empty for a number without a name.
std::string signal_name(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "";
}

}  // namespace

Environment::Environment(const TaskContext& task) {
  if (task.environment == nullptr) return;
  for (const auto& [name, value] : *task.environment) set(name, value);
}

void Environment::unset(std::string_view name) {
  if (const auto found = variables_.find(name); found != variables_.end()) variables_.erase(found);
}

void Environment::add_env_of(const TaskContext& task) {
  const Value env = Config(task.local).nested_or_empty("_env");
  for (const auto& member : env.as_object()) {
    if (!is_environment_name(member.key)) throw config_error("Invalid _env key name: " + member.key).at(member.position);
    if (member.value.is_null()) {
      unset(member.key);
    } else {
      set(member.key, task.with_secrets(pointer_to("/_env", member.key)));
    }
  }
}

std::vector<std::pair<std::string, std::string>> Environment::take() && {
  std::vector<std::pair<std::string, std::string>> all;
  all.reserve(variables_.size());
  while (!variables_.empty()) {
    auto variable = variables_.extract(variables_.begin());
    all.emplace_back(std::move(variable.key()), std::move(variable.mapped()));
  }
  return all;
}

void check_ended_by_itself(const command::CommandEnd& end, std::string_view what) {
  if (!end.failure.empty()) throw Error("runtime", end.failure);
  if (!end.signal) return;
  const std::string name = signal_name(*end.signal);
  throw Error("runtime",
              std::string(what) + " was ended by signal " + std::to_string(*end.signal) + (name.empty() ? "" : " (" + name + ")"));
}

Error exit_error(std::string message, const command::CommandEnd& end) {
  const std::string command = is_blank(end.last_output) ? "a command" : "a command (the last output names it)";
  std::string hint;
  if (end.exit_code == 126) hint = command + " is there but cannot be executed: `chmod +x` its file, or run it with its interpreter";
  if (end.exit_code == 127) hint = command + " was not found: install it, or mend its name, its path from the working directory, or PATH";
  return Error("runtime", std::move(message)).hint(std::move(hint));
}

}  // namespace digdag::operators
