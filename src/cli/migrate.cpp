#include <iostream>

#include "base/error.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "store/database.h"
#include "store/migrations.h"

namespace digdag::cli {
namespace {

const std::vector<Option>& migrate_options() {
  static const std::vector<Option> options = with_common_options({
      {{"-o", "--database"}, Option::Kind::text, "DIR", "the database is in this directory"},
  });
  return options;
}

int wrong(const std::string& message) {
  std::cerr << command_usage(*find_command("migrate"), describe_options(migrate_options()));
  return report(task_error(message));
}

int check(const SystemConfig& system, Log& log) {
  if (!store::database_exists(system)) {
    std::cout << "No table exist\n";
    return 0;
  }
  const store::MigrationState state = store::check_migrations(*store::open_database(system, log));
  if (!state.has_tables) {
    std::cout << "No table exist\n";
  } else if (state.missing.empty()) {
    std::cout << "No update\n";
  }
  if (state.has_tables) {
    for (const std::string& name : state.missing) std::cout << name << "\n";
  }
  return 0;
}

int run(const SystemConfig& system, Log& log) {
  const auto database = store::open_database(system, log);
  std::cout << (store::migrate(*database) ? "Migrations successfully finished\n" : "No update\n");
  return 0;
}

}  // namespace

int migrate_command(const Invocation& invocation) {
  if (asks_for_help(invocation.words)) {
    return print_usage(command_usage(*find_command("migrate"), describe_options(migrate_options())));
  }
  const Arguments arguments(migrate_options(), invocation.words);
  const std::vector<std::string>& words = arguments.positional();
  if (words.size() != 1) return wrong("Invalid parameters");
  if (words[0] != "run" && words[0] != "check") return wrong("Invalid command");
  const auto directory = arguments.text("-o");
  if (!directory && !arguments.has("-c") && !invocation.config) throw task_error("--database, or --config option is required");
  SystemConfig system = load_system_config(arguments, invocation.config);
  if (directory) {
    system.set("database.type", "sqlite");
    system.set("database.path", *directory);
  }
  Log::Options options = log_options(arguments);
  options.console_to_stderr = true;  // what it prints is read by scripts
  Log log(options);
  return words[0] == "run" ? run(system, log) : check(system, log);
}

}  // namespace digdag::cli
