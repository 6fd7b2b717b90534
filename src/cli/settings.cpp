#include "cli/settings.h"

#include <pwd.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/loader.h"

namespace digdag::cli {
namespace {

std::string environment_or(const char* name, std::string fallback) {
  const char* value = std::getenv(name);
  return value ? value : std::move(fallback);
}

std::filesystem::path home() {
  if (const char* home = std::getenv("HOME"); home && *home) return home;
  if (const passwd* entry = getpwuid(getuid())) return entry->pw_dir;
  return "/";
}

void add_properties(SystemConfig& config, std::string_view text, bool latin1) {
  for (auto& [key, value] : parse_properties(text, latin1)) config.set(key, std::move(value));
}

void add_file(SystemConfig& config, const std::filesystem::path& file) {
  const std::string text = read_file(file);
  try {
    add_properties(config, text, true);
  } catch (const Error& error) {
    throw Error(error).hint("in the configuration file " + file.string());
  }
}

/// A key of a secret: dotted, no empty segment, nothing that could leave the directory (spec/execution.md 22.2, decisions.md C-42).
bool is_secret_key(std::string_view key) {
  if (key.empty() || key.find_first_of("*/\\") != std::string_view::npos) return false;
  for (const std::string& segment : split(key, '.')) {
    if (segment.empty()) return false;
  }
  return true;
}

/// `-p n.b=2 -p n=1`: a text cannot have what was set below it.
Error conflict(const std::string& key, const Value& earlier, const std::string& value) {
  const std::string nested = key + "." + earlier.as_object().begin()->key;
  return config_error("Parameter '" + nested + "' is set but '" + key + "' is not a object (" + to_json(Value(value)) + ")");
}

}  // namespace

std::filesystem::path current_directory() {
  std::error_code failure;
  std::filesystem::path current = std::filesystem::current_path(failure);
  if (failure) throw Error("", "the current directory cannot be used: " + failure.message()).hint("change to one that is still there");
  return current;
}

std::filesystem::path project_directory(const Arguments& arguments) {
  const std::filesystem::path project = (current_directory() / arguments.text_or("--project", ".")).lexically_normal();
  return project.has_filename() || project == project.root_path() ? project : project.parent_path();
}

std::vector<Option> with_common_options(std::vector<Option> options) {
  using Kind = Option::Kind;
  const std::vector<Option> common = {
      {{"-L", "--log"}, Kind::text, "PATH", "output log messages to a file (default: -)"},
      {{"-l", "--log-level"}, Kind::text, "LEVEL", "log level (error, warn, info, debug or trace)"},
      {{"--log-to"}, Kind::text, "STREAM", "where console log lines go: stdout (default) or stderr"},
      {{"--color"}, Kind::text, "WHEN", "colours: auto (default), always or never; NO_COLOR is honoured"},
      {{"-q", "--quiet"}, Kind::flag, "", "only warnings and errors on the console"},
      {{"--logback-config"}, Kind::text, "PATH", ""},
      {{"-X"}, Kind::dynamic, "KEY=VALUE", "set a key of the system configuration"},
      {{"-c", "--config"}, Kind::text, "PATH.properties", "configuration file (default: ~/.config/digdag/config)"},
      {{"--version"}, Kind::flag, "", "show client version"},
      {{"-help", "--help"}, Kind::flag, "", ""},
  };
  options.insert(options.end(), common.begin(), common.end());
  return options;
}

std::filesystem::path configuration_home() {
  if (const std::string own = environment_or("DIGDAG_CONFIG_HOME", ""); !own.empty()) return own;
  if (const std::string xdg = environment_or("XDG_CONFIG_HOME", ""); !xdg.empty()) return std::filesystem::path(xdg) / "digdag";
  return home() / ".config" / "digdag";
}

SystemConfig load_system_config(const Arguments& arguments, const std::optional<std::string>& config_before) {
  SystemConfig config;
  std::optional<std::string> file = arguments.text("-c");
  if (!file) file = config_before;
  if (!file) {
    const std::filesystem::path standard = configuration_home() / "config";
    std::error_code unreachable;  // as good as not there
    if (std::filesystem::exists(standard, unreachable)) add_file(config, standard);
  }
  add_properties(config, environment_or("DIGDAG_CONFIG", ""), false);
  for (const auto& [key, value] : arguments.dynamic()) config.set(key, value);
  if (file) add_file(config, *file);
  return config;
}

Value object_of(const SystemConfig& system, std::string_view key) {
  const std::string text = system.get_or(key, "");
  if (is_blank(text)) return Value::object();
  Value object;
  try {
    object = parse_json(text);
  } catch (const Error&) {  // its message shows what stands there; no JSON is no object either
  }
  if (!object.is_object())
    throw config_error("Configuration key '" + std::string(key) + "' must be a JSON object").hint(R"(write {"name": "value"})");
  return object;
}

void add_params(Value& params, const std::optional<std::string>& file, const std::vector<std::string>& values) {
  if (file) merge(params, dig::load_yaml_file(*file, (current_directory() / *file).parent_path(), *file));
  Value given = Value::object();
  for (const auto& [key, value] : key_values(values, "-p")) {
    if (const Value* earlier = given.find(key); earlier && earlier->is_object()) throw conflict(key, *earlier, value);
    set_nested(given, key, value);
  }
  merge(params, given);
}

Value load_params(const Arguments& arguments, const SystemConfig& system) {
  Value params = Value::object();
  for (const auto& [key, value] : system.below("params.")) set_nested(params, key, value);
  add_params(params, arguments.text("-P"), arguments.list("-p"));
  if (const auto project = project_directory(arguments); project != current_directory())
    params.mutable_object().set("_project_path", project.string());
  return params;
}

Log::Options log_options(const Arguments& arguments) {
  Log::Options options;
  const std::string level = arguments.text_or("-l", "info");
  if (level == "error")
    options.level = LogLevel::error;
  else if (level == "warn")
    options.level = LogLevel::warn;
  else if (level == "info")
    options.level = LogLevel::info;
  else if (level == "debug")
    options.level = LogLevel::debug;
  else if (level == "trace")
    options.level = LogLevel::trace;
  else
    throw UsageError{"Unknown log level '" + level + "'", true};
  const std::string file = arguments.text_or("-L", "-");
  if (file != "-") options.file = file;
  const std::string stream = arguments.text_or("--log-to", "stdout");
  if (stream != "stdout" && stream != "stderr") throw UsageError{"--log-to must be stdout or stderr: " + stream};
  options.console_to_stderr = stream == "stderr";
  const std::string color = arguments.text_or("--color", "auto");
  if (color == "always")
    options.color = Log::Color::always;
  else if (color == "never")
    options.color = Log::Color::never;
  else if (color != "auto")
    throw UsageError{"--color must be auto, always or never: " + color};
  options.quiet = arguments.has("-q");
  if (const auto logback = arguments.text("--logback-config")) {
    if (std::error_code unreachable; !std::filesystem::exists(*logback, unreachable)) throw Error("no such file", *logback);
    std::cerr << "warning: --logback-config " << *logback << " is ignored: it configures the logger of Java; use -l, -L and --log-to\n";
  }
  return options;
}

std::optional<std::string> local_secret(const SystemConfig& system, std::string_view key) {
  if (!is_secret_key(key)) throw Error("illegal argument", "Illegal key: '" + std::string(key) + "'");
  if (auto value = system.get("secrets." + std::string(key))) return value;
  const std::filesystem::path file = configuration_home() / "secrets" / key;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(file, ignored)) return std::nullopt;
  return read_file(file);
}

}  // namespace digdag::cli
