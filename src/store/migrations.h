#pragma once

#include <string>
#include <vector>

#include "store/database.h"

namespace digdag::store {

/// What a database lacks.
struct MigrationState {
  bool has_tables = false;           ///< false: an empty database
  std::vector<std::string> missing;  ///< names of migrations in the order in which they must be applied, ours last
};

/// Changes nothing.
MigrationState check_migrations(Database& database);

/// Makes the schema, or applies the missing migrations (spec/server.md 11, decisions.md V-41, V-42); false where nothing was missing.
/// Several servers may do it at once, and it may be killed at any time: what is whole stays, the next one goes on.
bool migrate(Database& database);

}  // namespace digdag::store
