#pragma once

#include <optional>
#include <string>
#include <vector>

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
/// What `read` makes of each row.
template <typename Thing, typename Read>
std::vector<Thing> all_of(const Rows& rows, Read read) {
  std::vector<Thing> things;
  things.reserve(rows.size());
  for (const Row& row : rows) things.push_back(read(row));
  return things;
}

}  // namespace digdag::store
