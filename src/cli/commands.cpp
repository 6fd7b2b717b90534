#include "cli/commands.h"

#include <algorithm>

#include "base/text.h"
#include "cli/arguments.h"
#include "cli/settings.h"

namespace digdag::cli {

const std::vector<Command>& commands() {
  constexpr auto local = CommandGroup::local, client = CommandGroup::client;
  static const std::vector<Command> all = {
      {{"init", "new"}, "init <dir> [options...]", "create a new workflow project", init_command, local},
      {{"run", "r"}, "run <workflow.dig> [+task] [options...]", "run a workflow", run_command, local},
      {{"server"}, "server [options...]", "run a server", server_command, CommandGroup::server},
      {{"scheduler", "sched"}, "scheduler [options...]", "run a server for one project directory", scheduler_command, CommandGroup::server},
      {{"check", "c"}, "check [workflow.dig] [options...]", "show workflow definitions", check_command, local},
      {.names = {"eval"},
       .synopsis = "eval [options...] [--] TEXT...",
       .description = "show what templates evaluate to",
       .main = eval_command,
       .banner = false,
       .configured = false},
      {{"push"}, "push <project> [options...]", "create and upload a new revision", push_command, client},
      {{"archive"}, "archive [options...]", "pack a project into a file for upload", archive_command, local},
      {{"upload"}, "upload <path.tar.gz> <project> [options...]", "upload a packed project", upload_command, client},
      {{"download"}, "download <project> [options...]", "fetch an uploaded revision", download_command, client},
      {{"project", "projects"}, "project [name] [options...]", "show projects", project_command, client},
      {{"workflow", "workflows"},
       "workflow [project] [name] [options...]",
       "show workflows, or the definition of one",
       workflow_command,
       client},
      {{"start"}, "start <project> <workflow> [options...]", "start a session attempt of a workflow", start_command, client},
      {{"retry"}, "retry <attempt-id> [options...]", "run a session again", retry_command, client},
      {{"session", "sessions"}, "session [project] [workflow] | <id> [options...]", "show sessions", session_command, client},
      {{"attempts"}, "attempts [session-id] [options...]", "show attempts of sessions", attempts_command, client},
      {{"attempt"}, "attempt <attempt-id> [options...]", "show an attempt", attempt_command, client},
      {{"reschedule"},
       "reschedule <schedule-id> | <project> <workflow> [options...]",
       "skip sessions of a schedule to a later time",
       reschedule_command,
       client},
      {{"backfill"},
       "backfill <schedule-id> | <project> <workflow> [options...]",
       "start sessions of a schedule for past times",
       backfill_command,
       client},
      {{"log", "logs"}, "log <attempt-id> [+task] [options...]", "show logs of an attempt", log_command, client},
      {{"kill"}, "kill <attempt-id> [options...]", "kill a running attempt", kill_command, client},
      {{"task", "tasks"}, "task <attempt-id> [options...]", "show tasks of an attempt", task_command, client},
      {{"schedule", "schedules"}, "schedule [options...]", "show schedules", schedule_command, client},
      {{"disable"}, "disable <schedule-id> | <project> [workflow] [options...]", "disable schedules", disable_command, client},
      {{"enable"}, "enable <schedule-id> | <project> [workflow] [options...]", "enable disabled schedules", enable_command, client},
      {{"delete"}, "delete <project> [options...]", "delete a project", delete_command, client},
      {{"secrets", "secret"}, "secrets (--local | --project NAME) [options...]", "show, set and delete secrets", secrets_command, client},
      {{"version"}, "version [options...]", "show the versions of client and server", version_command, client},
      {{"selfupdate"}, "selfupdate [version] [options...]", "say how this program is updated", selfupdate_command, local},
      {{"migrate"}, "migrate (run|check) [options...]", "make or renew the tables of a database", migrate_command, CommandGroup::server},
  };
  return all;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : commands()) {
    if (std::find(command.names.begin(), command.names.end(), name) != command.names.end()) return &command;
  }
  return nullptr;
}

namespace {

/// A line for each command of a group.
std::string group_usage(CommandGroup group, std::string_view title) {
  std::string text = "  " + std::string(title) + "\n";
  for (const Command& command : commands()) {
    if (command.group != group) continue;
    std::string line = "    " + std::string(command.synopsis.substr(0, command.synopsis.find(" [options")));
    constexpr std::size_t description_column = 41;
    if (line.size() >= description_column) {
      text += line + "\n";
      line.clear();
    }
    line.resize(description_column, ' ');
    text += line + std::string(command.description) + "\n";
  }
  return text + "\n";
}

}  // namespace

std::string global_usage() {
  std::string text = "Usage: digdag <command> [options...]\n" + group_usage(CommandGroup::local, "Local-mode commands:") +
                     group_usage(CommandGroup::server, "Server-mode commands:") +
                     group_usage(CommandGroup::client, "Client-mode commands:");
  text += "  Options:\n" + describe_options(with_common_options({}));
  return text + "\nUse `<command> --help` to see detailed usage of a command.\n";
}

std::string command_usage(const Command& command, const std::string& options) {
  return "Usage: digdag " + std::string(command.synopsis) + "\n  Options:\n" + options + "\n";
}

}  // namespace digdag::cli
