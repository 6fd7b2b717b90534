#pragma once

#include <memory>

#include "base/log.h"
#include "store/database.h"
#include "store/postgresql_settings.h"

namespace digdag::store {

/// Connects to the server, or waits for it until `database.loginTimeout` is over. Throws DatabaseError. `log` must outlive the database.
std::unique_ptr<Database> open_postgresql(PostgresqlSettings settings, Log& log);

}  // namespace digdag::store
