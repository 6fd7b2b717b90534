#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "command/command.h"

namespace digdag::command {

/// Path of the program that `name` means: itself where it has a slash (relative to the working directory), else the first
/// executable file of that name in PATH of `environment` (`/usr/local/bin:/usr/bin:/bin` where that is unset). Nothing
/// where there is none.
std::optional<std::string> find_program(std::string_view name, const std::vector<std::pair<std::string, std::string>>& environment,
                                        const std::filesystem::path& working_directory);

/// Why this request cannot be run, seen before it is tried: the message for CommandEnd::failure. Empty where nothing is wrong.
/// Sets `program` to the path to execute.
std::string check_request(const CommandRequest& request, std::string& program);

/// The same for an errno of the attempt to start `program`.
std::string describe_start_error(const CommandRequest& request, const std::string& program, int error);

}  // namespace digdag::command
