#pragma once

#include <string>

#include "base/properties.h"

namespace digdag::store {

/// Where `open_database` has it, for people: `PostgreSQL at db1:5432/digdag`, `SQLite at data/digdag.sqlite`. Never holds a password.
/// Error(config) for wrong and missing keys.
std::string database_place(const SystemConfig& system);

}  // namespace digdag::store
