#pragma once

#include <span>

#include "store/database.h"

namespace digdag::store {

/// What makes the tables, indexes and functions of the original in an empty database (spec/server.md 10), as its 24 migrations leave
/// them. SQLite has the same without the function.
std::span<const Sql> original_schema();

/// What our first own migration adds (spec/decisions.md V-41).
std::span<const Sql> native_schema();

}  // namespace digdag::store
