#include "store/database.h"

#include <stdexcept>
#include <typeinfo>

namespace digdag::store {
namespace {

const char* kind_of(const SqlValue& value) {
  static constexpr const char* kinds[] = {"NULL", "an integer", "a text", "bytes", "a time", "a list", "a list"};
  return kinds[value.index()];
}

template <typename T>
const T& as(const SqlValues& values, std::size_t column, const char* wanted) {
  const SqlValue& value = values.at(column);
  if (const T* found = std::get_if<T>(&value)) return *found;
  throw std::logic_error("column " + std::to_string(column) + " of the answer is " + kind_of(value) + ", not " + wanted);
}

}  // namespace

Instant Timestamp::instant() const { return {micros / 1000 - (micros % 1000 < 0 ? 1 : 0)}; }
Timestamp Timestamp::of(Instant instant) { return {instant.millis * 1000}; }

std::int64_t Row::integer(std::size_t column) const { return as<std::int64_t>(values_, column, "an integer"); }
const std::string& Row::text(std::size_t column) const { return as<std::string>(values_, column, "a text"); }
const std::string& Row::bytes(std::size_t column) const { return as<Bytes>(values_, column, "bytes").bytes; }
Timestamp Row::time(std::size_t column) const {
  // What SQLite computes has no declared type: `now()`, `max(created_at)`.
  if (const auto* micros = std::get_if<std::int64_t>(&values_.at(column))) return {*micros};
  return as<Timestamp>(values_, column, "a time");
}
bool Row::boolean(std::size_t column) const { return integer(column) != 0; }

std::optional<std::int64_t> Row::optional_integer(std::size_t column) const {
  return is_null(column) ? std::nullopt : std::optional(integer(column));
}
std::optional<std::string> Row::optional_text(std::size_t column) const {
  return is_null(column) ? std::nullopt : std::optional(text(column));
}
std::optional<Timestamp> Row::optional_time(std::size_t column) const {
  return is_null(column) ? std::nullopt : std::optional(time(column));
}

Timestamp Transaction::now() { return query("select now()").at(0).time(0); }

std::optional<Row> Transaction::first(const Sql& sql, const SqlValues& parameters) {
  Rows rows = query(sql, parameters);
  return rows.empty() ? std::nullopt : std::optional(std::move(rows.front()));
}

}  // namespace digdag::store
