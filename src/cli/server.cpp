#include <chrono>
#include <filesystem>
#include <future>
#include <iostream>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/interrupts.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "server/server.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

std::vector<Option> options_of_all() {
  return with_common_options({
      {{"-n", "--port"}, Kind::integer, "PORT", "port of the API (default: 65432; 0: any free one)"},
      {{"-b", "--bind"}, Kind::text, "ADDRESS", "address to listen on (default: 127.0.0.1)"},
      {{"--admin-port"}, Kind::integer, "PORT", "port of the admin interface (default: none)"},
      {{"--admin-bind"}, Kind::text, "ADDRESS", "address of the admin interface (default: same as --bind)"},
      {{"-m", "--memory"}, Kind::flag, "", "keeps everything in memory: all data is lost at exit"},
      {{"-o", "--database"}, Kind::text, "DIR", "keeps everything in this directory"},
      {{"-O", "--task-log"}, Kind::text, "DIR", "store task logs to this path"},
      {{"-A", "--access-log"}, Kind::text, "DIR", "store access logs to this path"},
      {{"--max-task-threads"}, Kind::integer, "N", "limit of tasks that run at the same time (default: 2000)"},
      {{"--disable-executor-loop"}, Kind::flag, "", "does not move workflows on"},
      {{"--disable-scheduler"}, Kind::flag, "", "does not start scheduled sessions"},
      {{"--disable-local-agent"}, Kind::flag, "", "does not run tasks"},
      {{"--enable-swagger"}, Kind::flag, "", "answers /api/swagger.json and adds CORS headers"},
      {{"--allow-unauthenticated"}, Kind::flag, "", "listens beyond this machine although nobody has to log in"},
      {{"--take-over"}, Kind::flag, "", "begins at once although another server has tasks locked: it has been stopped for sure"},
      {{"-p", "--param"}, Kind::list, "KEY=VALUE", "adds a default parameter of all workflows (use multiple times)"},
      {{"-P", "--params-file"}, Kind::text, "PATH.yml", "reads default parameters from a YAML file"},
      {{"-H", "--header"}, Kind::list, "KEY=VALUE", "adds a header to every answer of the API (use multiple times)"},
  });
}

const std::vector<Option>& server_options() {
  static const std::vector<Option> options = options_of_all();
  return options;
}

const std::vector<Option>& scheduler_options() {
  static const std::vector<Option> options = [] {
    std::vector<Option> all = options_of_all();
    all.insert(all.begin(), {{"--project"}, Kind::text, "DIR", "the directory of the project (default: current directory)"});
    return all;
  }();
  return options;
}

std::string absolute(const std::string& path) { return (current_directory() / path).lexically_normal().string(); }

/// The options over the configuration (spec/server.md 2).
void apply_options(SystemConfig& config, const Arguments& arguments) {
  const auto text = [&](const char* option, const char* key) {
    if (const auto value = arguments.text(option)) config.set(key, *value);
  };
  const auto flag = [&](const char* option, const char* key, const char* value) {
    if (arguments.has(option)) config.set(key, value);
  };
  text("-n", "server.port");
  text("-b", "server.bind");
  text("--admin-port", "server.admin.port");
  text("--admin-bind", "server.admin.bind");
  text("-A", "server.access-log.path");
  text("--max-task-threads", "agent.max-task-threads");
  flag("-m", "database.type", "memory");
  flag("--disable-local-agent", "agent.enabled", "false");
  flag("--disable-executor-loop", "server.executor.enabled", "false");
  flag("--disable-scheduler", "schedule.enabled", "false");
  flag("--enable-swagger", "server.enable-swagger", "true");
  flag("--take-over", "server.take-over", "true");
  flag("--allow-unauthenticated", "server.allow-unauthenticated", "true");
  if (const auto directory = arguments.text("-o")) {
    config.set("database.type", "h2");
    config.set("database.path", absolute(*directory));
  }
  if (const auto directory = arguments.text("-O")) {
    config.set("log-server.type", "local");
    config.set("log-server.local.path", absolute(*directory));
  }
  for (const auto& [key, value] : key_values(arguments.list("-H"), "-H")) config.set("server.http.headers." + key, value);
}

/// `digdag.defaultParams`: `params.*` < -P < -p (spec/server.md 3.3).
void set_default_params(SystemConfig& config, const Arguments& arguments) {
  Value params = object_of(config, "digdag.defaultParams");
  for (const auto& [key, value] : config.below("params.")) set_nested(params, key, value);
  add_params(params, arguments.text("-P"), arguments.list("-p"));
  config.set("digdag.defaultParams", to_json(params));
}

/// Until a signal comes. Gives the exit code.
int serve(const SystemConfig& config, Log& log) {
  std::promise<void> asked_to_end;
  Interrupts interrupts([&] { asked_to_end.set_value(); });
  server::Server server(config, log);
  log.flush();
  asked_to_end.get_future().wait();
  // Tasks may run on as long as they like; a second signal ends us.
  interrupts.wait_for(std::chrono::seconds::max());
  server.shut_down();
  log.flush();
  return 128 + interrupts.signal();
}

/// Tasks go on although what they print is not read.
Log::Options server_log_options(const Arguments& arguments) {
  Log::Options options = log_options(arguments);
  options.drops_unread = true;
  return options;
}

constexpr const char* two_databases = "Setting both --database and --memory is invalid";
bool names_two_databases(const Arguments& arguments) { return arguments.has("-o") && arguments.has("-m"); }

/// The usage of the command, then `error: …`.
int wrong_options(const std::string& usage, const std::string& message) {
  std::cerr << usage;
  return report(task_error(message));
}

SystemConfig server_config(const Arguments& arguments, const Invocation& invocation) {
  SystemConfig config = load_system_config(arguments, invocation.config);
  apply_options(config, arguments);
  set_default_params(config, arguments);
  return config;
}

}  // namespace

int server_command(const Invocation& invocation) {
  const std::string usage = command_usage(*find_command("server"), describe_options(server_options()));
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Arguments arguments(server_options(), invocation.words);
  if (!arguments.positional().empty()) return print_usage(usage);
  if (!arguments.has("-o") && !arguments.has("-m") && !arguments.has("-c") && !invocation.config) {
    return wrong_options(usage, "--database, --memory, or --config option is required");
  }
  if (names_two_databases(arguments)) return wrong_options(usage, two_databases);
  Log log(server_log_options(arguments));
  return serve(server_config(arguments, invocation), log);
}

int scheduler_command(const Invocation& invocation) {
  const std::string usage = command_usage(*find_command("scheduler"), describe_options(scheduler_options()));
  if (asks_for_help(invocation.words)) return print_usage(usage);
  const Arguments arguments(scheduler_options(), invocation.words);
  if (!arguments.positional().empty()) return print_usage(usage);
  if (names_two_databases(arguments)) return wrong_options(usage, two_databases);
  Log log(server_log_options(arguments));
  SystemConfig config = server_config(arguments, invocation);
  if (is_blank(config.get_or("database.type", ""))) config.set("database.type", "memory");
  const std::filesystem::path project = project_directory(arguments);
  config.set("scheduler.autoLoadLocalProject", project.string());
  if (project != current_directory()) {
    Value params = object_of(config, "scheduler.localOverrideParams");
    set_nested(params, "_project_path", project.string());
    config.set("scheduler.localOverrideParams", to_json(params));
    log.write(LogLevel::info, "main", "cli", "Setting project path to " + *arguments.text("--project"));
  }
  return serve(config, log);
}

}  // namespace digdag::cli
