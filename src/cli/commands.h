#pragma once

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

/// A command of the program: one file each.
struct Command {
  std::vector<std::string_view> names;  ///< the name and its aliases
  std::string_view synopsis;            ///< `run <workflow.dig> [+task] [options...]`
  std::string_view description;         ///< one line of the global usage
  bool banner = true;                   ///< whether the version line comes first on standard error
  bool configured = true;               ///< whether it reads the system configuration, so that it has the option -X
  int (*main)(const Invocation& invocation);
};

int run_command(const Invocation& invocation);
int check_command(const Invocation& invocation);

/// All commands of this build; `commands.cpp` is the only list.
const std::vector<Command>& commands();
const Command* find_command(std::string_view name);
/// Commands of the original that this build does not have yet.
const std::vector<std::string_view>& commands_to_come();

/// The usage of all, to standard error.
std::string global_usage();
/// `Usage: digdag run …` with its options.
std::string command_usage(const Command& command, const std::string& options);

}  // namespace digdag::cli
