#include "base/config.h"
#include "base/text.h"
#include "store/database.h"
#include "store/database_place.h"
#include "store/postgresql.h"
#include "store/sqlite.h"

namespace digdag::store {
namespace {

/// `h2` is what configurations of the original say for a database in a directory.
bool is_directory(const std::string& type) { return type == "sqlite" || type == "h2"; }

std::string directory_of(const SystemConfig& system, const std::string& type) {
  const auto directory = system.get("database.path");
  if (directory && !is_blank(*directory)) return *directory;
  throw config_error("Parameter 'database.path' is required but not set").hint("database.type is " + type);
}

std::unique_ptr<Database> reach_postgresql(const PostgresqlSettings& settings, Log& log) {
  try {
    return open_postgresql(settings, log);
  } catch (DatabaseError& error) {
    if (error.hint_text().empty())
      std::move(static_cast<Error&>(error))
          .hint("database.host, .port, .database, .user, .password and .ssl of the configuration say how it is reached");
    throw;
  }
}

std::string type_of(const SystemConfig& system) { return system.get_or("database.type", "memory"); }

}  // namespace

std::unique_ptr<Database> open_database(const SystemConfig& system, Log& log) {
  const std::string type = type_of(system);
  if (type == "memory") return open_memory();
  if (type == "postgresql") return reach_postgresql(PostgresqlSettings::of(system, log), log);
  if (!is_directory(type)) throw config_error("Unknown database.type: " + type).hint("memory, sqlite, h2 (the same) or postgresql");
  const std::int64_t readers = system.integer_or("database.maximumPoolSize", 10);
  if (readers < 1) throw config_error("Parameter 'database.maximumPoolSize' must be at least 1: " + std::to_string(readers));
  return open_sqlite(directory_of(system, type), static_cast<std::size_t>(readers));
}

std::string database_place(const SystemConfig& system) {
  const std::string type = type_of(system);
  if (type == "postgresql") return PostgresqlSettings::place_of(system);
  return is_directory(type) ? "SQLite at " + sqlite_file(directory_of(system, type)).string() : type;
}

bool database_exists(const SystemConfig& system) {
  const std::string type = type_of(system);
  std::error_code missing;
  if (!is_directory(type)) return true;
  const std::filesystem::path directory = directory_of(system, type);
  return std::filesystem::exists(sqlite_file(directory), missing) || std::filesystem::exists(directory / "digdag.mv.db", missing);
}

}  // namespace digdag::store
