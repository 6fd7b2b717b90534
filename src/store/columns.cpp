#include "store/columns.h"

#include "base/error.h"
#include "base/json.h"

namespace digdag::store {

SqlValue json_column(const Value& value) {
  const bool empty = value.is_null() || (value.is_object() && value.as_object().empty()) || (value.is_array() && value.as_array().empty());
  return empty ? SqlValue(Null{}) : SqlValue(to_json(value));
}

Value json_of(const std::optional<std::string>& column) {
  if (!column) return Value::object();
  try {
    return parse_json(*column);
  } catch (const Error& error) {
    throw Error("database", "The database holds a text that is no JSON").because(error);
  }
}

TimeZone timezone_of(const std::string& column) {
  if (const std::optional<TimeZone> zone = TimeZone::of(column)) return *zone;
  throw Error("database", "The database holds an unknown time zone: " + column);
}

}  // namespace digdag::store
