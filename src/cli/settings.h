#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "base/value.h"
#include "cli/arguments.h"

namespace digdag::cli {

/// The directory in which the command was given. Throws Error where it is gone.
std::filesystem::path current_directory();

/// The directory of --project, else the current one: absolute, without `..` and without a `/` at its end.
std::filesystem::path project_directory(const Arguments& arguments);

/// The options that every command has (spec/cli.md 2, 3), to be appended to its own.
std::vector<Option> with_common_options(std::vector<Option> options);

/// `$DIGDAG_CONFIG_HOME`, `$XDG_CONFIG_HOME/digdag`, `~/.config/digdag` (spec/cli.md 2.1, decisions.md C-08).
std::filesystem::path configuration_home();

/// The system configuration: default file < DIGDAG_CONFIG < -X < the file given with -c (spec/cli.md 2.3). `config_before`: a
/// `-c FILE` that stood before the command. Throws Error(`no such file`) for a missing -c file.
SystemConfig load_system_config(const Arguments& arguments, const std::optional<std::string>& config_before);

/// The JSON object that a key of the configuration holds; an empty one where it is not set. Error(config) does not show what stands there:
/// parameters may hold secrets.
Value object_of(const SystemConfig& system, std::string_view key);

/// Lays `-P FILE` and then the values of `-p KEY=VALUE` over `params`, an object (spec/cli.md 5).
void add_params(Value& params, const std::optional<std::string>& file, const std::vector<std::string>& values);

/// The parameters of the command line: `params.*` of the configuration < -P FILE < -p KEY=VALUE (spec/cli.md 5), and `_project_path`
/// where the project is elsewhere.
Value load_params(const Arguments& arguments, const SystemConfig& system);

/// Where the log goes, how much of it and in which colour. Throws UsageError for an unknown level. Says that --logback-config
/// does nothing, or throws Error(`no such file`) where its file is missing (spec/decisions.md C-06).
Log::Options log_options(const Arguments& arguments);

/// The value of local secrets: `secrets.<key>` of the configuration, then `<configuration home>/secrets/<key>` (spec/cli.md 9.3).
std::optional<std::string> local_secret(const SystemConfig& system, std::string_view key);

}  // namespace digdag::cli
