#pragma once

#include <optional>
#include <string>

#include "base/time.h"
#include "base/value.h"
#include "store/database.h"

namespace digdag::store {

/// A column of JSON: compact; NULL for an empty object or list, and for null (spec/server.md 10).
SqlValue json_column(const Value& value);
/// What such a column says: an empty object for NULL. Error(database) where it is no JSON.
Value json_of(const std::optional<std::string>& column);
/// Error(database) where nobody knows the zone.
TimeZone timezone_of(const std::string& column);

}  // namespace digdag::store
