#include "store/postgresql_settings.h"

#include <algorithm>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "store/postgresql_library.h"

namespace digdag::store {
namespace {

std::string required(const SystemConfig& system, const std::string& key) {
  const auto value = system.get(key);
  if (!value || is_blank(*value)) throw config_error("Parameter '" + key + "' is required but not set").hint("database.type is postgresql");
  return *value;
}

std::chrono::milliseconds seconds(const SystemConfig& system, const std::string& key, std::int64_t fallback) {
  const std::int64_t value = system.integer_or(key, fallback);
  constexpr std::int64_t most = 10L * 365 * 86400;
  if (value < 0) throw config_error("Parameter '" + key + "' must not be negative: " + std::to_string(value));
  return std::chrono::seconds(std::min(value, most));
}

bool is_keyword_of_libpq(const std::string& name) {
  PQconninfoOption* const all = libpq().conndefaults();
  bool known = false;
  for (const PQconninfoOption* option = all; option != nullptr && option->keyword != nullptr; ++option) known |= name == option->keyword;
  libpq().conninfoFree(all);
  return known;
}

/// A value inside of the keyword `options`, which is split at blanks.
std::string option_value(const std::string& value) { return replace_all(replace_all(value, "\\", "\\\\"), " ", "\\ "); }

/// Java's driver takes TLS without a look at the certificate from its NonValidatingFactory, and obeys the four keys with any other one.
void add_tls(const SystemConfig& system, std::vector<std::pair<std::string, std::string>>& connection) {
  const bool wanted = system.boolean_or("database.ssl", false);
  const std::string factory = system.get_or("database.sslfactory", "org.postgresql.ssl.NonValidatingFactory");
  const std::string mode = system.get_or("database.sslmode", "");
  if (wanted && factory.ends_with(".NonValidatingFactory") && mode.empty()) {
    connection.emplace_back("sslmode", "require");
    return;
  }
  if (wanted && !factory.ends_with(".NonValidatingFactory") && !factory.ends_with(".LibPQFactory")) {
    throw config_error("Parameter 'database.sslfactory' names a class of Java that is not known: " + factory)
        .hint(
            "org.postgresql.ssl.LibPQFactory obeys database.sslmode, sslcert, sslkey and sslrootcert; "
            "org.postgresql.ssl.NonValidatingFactory is TLS without a look at the certificate");
  }
  if (wanted || !mode.empty()) connection.emplace_back("sslmode", mode.empty() ? "verify-full" : mode);
  for (const char* key : {"sslcert", "sslkey", "sslrootcert"}) {
    if (const auto value = system.get(std::string("database.") + key); value && !is_blank(*value)) connection.emplace_back(key, *value);
  }
}

}  // namespace

std::string PostgresqlSettings::place_of(const SystemConfig& system) {
  return "PostgreSQL at " + required(system, "database.host") + ":" + std::to_string(system.integer_or("database.port", 5432)) + "/" +
         required(system, "database.database");
}

PostgresqlSettings PostgresqlSettings::of(const SystemConfig& system, Log& log) {
  PostgresqlSettings settings;
  const std::string host = required(system, "database.host"), database = required(system, "database.database");
  const std::int64_t port = system.integer_or("database.port", 5432);
  if (port < 1 || port > 65535) throw config_error("Parameter 'database.port' must be from 1 to 65535: " + std::to_string(port));
  settings.place = place_of(system);
  settings.connection = {{"host", host},
                         {"port", std::to_string(port)},
                         {"dbname", database},
                         {"user", required(system, "database.user")},
                         {"password", system.get_or("database.password", "")},
                         {"client_encoding", "UTF8"},
                         {"fallback_application_name", "digdag"}};
  // A cut network is noticed within a minute, not after the hours of the system's settings.
  const std::int64_t idle = std::min<std::int64_t>(system.integer_or("database.keepaliveTime", 0), 86400);
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, std::string>>{{"keepalives", "1"},
                                                        {"keepalives_idle", std::to_string(idle > 0 ? idle : 30)},
                                                        {"keepalives_interval", "10"},
                                                        {"keepalives_count", "3"},
                                                        {"tcp_user_timeout", "60000"}}) {
    settings.connection.emplace_back(key, value);
  }
  add_tls(system, settings.connection);
  // Few rows of large tables are wanted, always by an index: a plan made before a table was analyzed would read it whole, which becomes
  // slower with every row. Compiling such statements costs more than running them.
  std::string options = " -c jit=off -c enable_hashjoin=off -c enable_mergejoin=off -c random_page_cost=1.1 -c seq_page_cost=4";
  for (const auto& [name, value] : system.below("database.opts.")) {
    if (name == "ApplicationName") {
      settings.connection.emplace_back("application_name", value);
    } else if (name == "currentSchema") {
      options += " -c search_path=" + option_value(value);
    } else if (name == "options") {
      options += " " + value;
    } else if (is_keyword_of_libpq(name)) {
      settings.connection.emplace_back(name, value);
    } else {
      log.write(LogLevel::warn, "main", "store", "database.opts." + name + " is ignored: neither digdag nor libpq knows it");
    }
  }
  settings.connection.emplace_back("options", options.substr(1));
  const std::int64_t most = system.integer_or("database.maximumPoolSize", 10);
  if (most < 1) throw config_error("Parameter 'database.maximumPoolSize' must be at least 1: " + std::to_string(most));
  settings.most_connections = static_cast<std::size_t>(most);
  settings.login_timeout = seconds(system, "database.loginTimeout", 30);
  settings.socket_timeout = seconds(system, "database.socketTimeout", 1800);
  settings.connection_timeout = seconds(system, "database.connectionTimeout", 30);
  settings.idle_timeout = seconds(system, "database.idleTimeout", 600);
  return settings;
}

}  // namespace digdag::store
