#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace digdag::cli {

/// What a command gets: the words after its name, and a `-c FILE` that stood before it.
struct Invocation {
  std::vector<std::string> words;
  std::optional<std::string> config;
};

/// Where a command stands in the usage of the program.
enum class CommandGroup : std::uint8_t { local, server, client };

/// A command of the program.
struct Command {
  std::vector<std::string_view> names;  ///< the name and its aliases
  std::string_view synopsis;            ///< `run <workflow.dig> [+task] [options...]`
  std::string_view description;         ///< one line of the global usage
  int (*main)(const Invocation& invocation);
  CommandGroup group = CommandGroup::local;
  bool banner = true;      ///< whether the version line comes first on standard error
  bool configured = true;  ///< whether it reads the system configuration, so that it has the option -X
};

int run_command(const Invocation& invocation);
int check_command(const Invocation& invocation);
int server_command(const Invocation& invocation);
/// What each TEXT gives as the value of a task's `echo>`, whose only parameters are those of -P FILE, then -p, and `timezone`
/// (spec/clarifications.md 1.3): one JSON string a line, in order; for a TEXT that cannot be evaluated `error: …` on standard error
/// instead.
int eval_command(const Invocation& invocation);
/// Makes or renews the tables of a server's database, or tells what that would do (spec/cli.md 6.6, spec/server.md 11).
int migrate_command(const Invocation& invocation);

// Spec/cli.md 6, 8 and 9; of projects, sessions and the like the plural is an alias.
int archive_command(const Invocation& invocation);
int attempt_command(const Invocation& invocation);
int attempts_command(const Invocation& invocation);
int backfill_command(const Invocation& invocation);
int delete_command(const Invocation& invocation);
int disable_command(const Invocation& invocation);
int download_command(const Invocation& invocation);
int enable_command(const Invocation& invocation);
int init_command(const Invocation& invocation);
int kill_command(const Invocation& invocation);
int log_command(const Invocation& invocation);
int project_command(const Invocation& invocation);
int push_command(const Invocation& invocation);
int reschedule_command(const Invocation& invocation);
int retry_command(const Invocation& invocation);
int schedule_command(const Invocation& invocation);
int scheduler_command(const Invocation& invocation);
int secrets_command(const Invocation& invocation);
int selfupdate_command(const Invocation& invocation);
int session_command(const Invocation& invocation);
int start_command(const Invocation& invocation);
int task_command(const Invocation& invocation);
int upload_command(const Invocation& invocation);
int version_command(const Invocation& invocation);
int workflow_command(const Invocation& invocation);

/// All commands of this build; `commands.cpp` is the only list.
const std::vector<Command>& commands();
const Command* find_command(std::string_view name);

/// The usage of the program: its commands.
std::string global_usage();
/// `Usage: digdag run …` with its options.
std::string command_usage(const Command& command, const std::string& options);

}  // namespace digdag::cli
