#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/properties.h"

namespace digdag::store {

/// `database.*` for PostgreSQL (spec/server.md 4.2, decisions.md V-46 … V-48).
struct PostgresqlSettings {
  /// Keywords of libpq. The password is one of them: never shown.
  std::vector<std::pair<std::string, std::string>> connection;
  std::string place;  ///< `PostgreSQL at db1:5432/digdag`
  std::size_t most_connections = 10;
  // 0: without a limit.
  std::chrono::milliseconds login_timeout{}, socket_timeout{}, connection_timeout{}, idle_timeout{};

  /// `place` alone.
  static std::string place_of(const SystemConfig& system);
  /// Error(config) for wrong and missing keys; warns of driver properties that mean nothing here.
  static PostgresqlSettings of(const SystemConfig& system, Log& log);
};

}  // namespace digdag::store
