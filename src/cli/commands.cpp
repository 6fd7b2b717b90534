#include "cli/commands.h"

#include <algorithm>

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/settings.h"

namespace digdag::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> all = {
      {{"run", "r"}, "run <workflow.dig> [+task] [options...]", "run a workflow", run_command},
      {{"server"}, "server [options...]", "run a server", server_command},
      {{"check", "c"}, "check [workflow.dig] [options...]", "show workflow definitions", check_command},
      {.names = {"eval"},
       .synopsis = "eval [options...] [--] TEXT...",
       .description = "show what templates evaluate to",
       .main = eval_command,
       .banner = false,
       .configured = false},
  };
  return all;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : commands()) {
    if (std::find(command.names.begin(), command.names.end(), name) != command.names.end()) return &command;
  }
  return nullptr;
}

const std::vector<std::string_view>& commands_to_come() {
  static const std::vector<std::string_view> names = {
      "init",     "scheduler", "push",     "archive",  "upload",  "download",   "project",  "projects", "workflow",  "workflows", "start",
      "retry",    "session",   "sessions", "attempts", "attempt", "reschedule", "backfill", "log",      "kill",      "task",      "tasks",
      "schedule", "schedules", "disable",  "enable",   "delete",  "secrets",    "version",  "migrate",  "selfupdate"};
  return names;
}

std::string global_usage() {
  std::string text = "Usage: digdag <command> [options...]\n  Local-mode commands:\n";
  for (const Command& command : commands()) {
    std::string line = "    " + std::string(command.synopsis.substr(0, command.synopsis.find(" [options")));
    line.resize(std::max<std::size_t>(line.size() + 1, 41), ' ');
    text += line + std::string(command.description) + "\n";
  }
  std::vector<std::string> to_come;
  for (const std::string_view name : commands_to_come()) to_come.emplace_back(name);
  text += "\n  Commands of the server and its clients, which this build does not have yet:\n";
  std::string line = "   ";
  for (const std::string& name : to_come) {
    if (line.size() + name.size() > 78) {
      text += line + "\n";
      line = "   ";
    }
    line += " " + name;
  }
  text += line + "\n\n  Options:\n" + describe_options(with_common_options({}));
  return text + "\nUse `<command> --help` to see detailed usage of a command.\n";
}

std::string command_usage(const Command& command, const std::string& options) {
  return "Usage: digdag " + std::string(command.synopsis) + "\n  Options:\n" + options + "\n";
}

}  // namespace digdag::cli
