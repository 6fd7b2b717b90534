#include "store/postgresql_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "base/time.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

// Of pg_type; part of the protocol, they never change.
enum Type : unsigned {
  type_bool = 16,
  type_bytea = 17,
  type_name = 19,
  type_int8 = 20,
  type_int2 = 21,
  type_int4 = 23,
  type_text = 25,
  type_oid = 26,
  type_json = 114,
  type_varchar = 1043,
  type_timestamptz = 1184,
  type_void = 2278,
  type_uuid = 2950,
};

constexpr std::int64_t micros_until_2000 = 946'684'800'000'000;

std::uint64_t big_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::string hexadecimal(std::string_view bytes) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char byte : bytes) {
    text += digits[static_cast<unsigned char>(byte) >> 4];
    text += digits[static_cast<unsigned char>(byte) & 15];
  }
  return text;
}

std::string uuid(std::string_view bytes) {
  std::string text = hexadecimal(bytes);
  for (const std::size_t at : {8, 13, 18, 23}) text.insert(at, "-");
  return text;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

struct ElementText {
  std::string operator()(Null) const { return "NULL"; }
  std::string operator()(std::int64_t value) const { return std::to_string(value); }
  std::string operator()(const std::string& text) const { return quoted(storable(text)); }
  std::string operator()(const Bytes& value) const { return quoted("\\x" + hexadecimal(value.bytes)); }
  std::string operator()(Timestamp value) const { return quoted(postgresql_time(value)); }
  template <typename T>
  std::string operator()(const std::vector<T>&) const {
    throw std::logic_error("a list cannot be a value of a batch");
  }
};

template <typename Values, typename ToText>
std::string array(const Values& values, const ToText& to_text) {
  std::string text = "{";
  for (const auto& value : values) {
    if (text.size() > 1) text += ',';
    text += to_text(value);
  }
  return text + '}';
}

}  // namespace

PostgresqlParameters::PostgresqlParameters(const SqlValues& values) {
  struct {
    PostgresqlParameters& to;
    void operator()(Null) const { to.add(nullptr, 0, false); }
    void operator()(std::int64_t value) const { to.add_own(std::to_string(value)); }
    void operator()(const std::string& text) const { to.add(storable(text).c_str(), text.size(), false); }
    void operator()(const Bytes& value) const { to.add(value.bytes.data(), value.bytes.size(), true); }
    void operator()(Timestamp value) const { to.add_own(postgresql_time(value)); }
    void operator()(const std::vector<std::int64_t>& list) const { to.add_own(array(list, ElementText())); }
    void operator()(const std::vector<std::string>& list) const { to.add_own(array(list, ElementText())); }
  } add_value{*this};
  for (const SqlValue& value : values) std::visit(add_value, value);
}

PostgresqlParameters::PostgresqlParameters(const std::vector<SqlValues>& columns) {
  row_count(columns);
  for (const SqlValues& column : columns) {
    add_own(array(column, [](const SqlValue& value) { return std::visit(ElementText(), value); }));
  }
}

void PostgresqlParameters::add(const char* text, std::size_t length, bool binary) {
  if (length > std::size_t{1} << 30) throw DatabaseError(DatabaseError::Cause::refused, "a value of more than 1 GiB cannot be stored");
  texts_.push_back(text);
  lengths_.push_back(static_cast<int>(length));
  formats_.push_back(binary ? 1 : 0);
}

void PostgresqlParameters::add_own(std::string text) {
  const std::string& kept = own_.emplace_back(std::move(text));
  add(kept.c_str(), kept.size(), false);
}

SqlValue postgresql_value(unsigned type, std::string_view bytes) {
  switch (type) {
    case type_bool: return std::int64_t{bytes[0] != 0};
    case type_int2: return std::int64_t{static_cast<std::int16_t>(big_endian(bytes))};
    case type_int4: return std::int64_t{static_cast<std::int32_t>(big_endian(bytes))};
    case type_int8:
    case type_oid: return static_cast<std::int64_t>(big_endian(bytes));
    case type_text:
    case type_varchar:
    case type_name:
    case type_json: return std::string(bytes);
    case type_bytea: return Bytes{std::string(bytes)};
    case type_uuid: return uuid(bytes);
    case type_timestamptz: {
      const auto micros = static_cast<std::int64_t>(big_endian(bytes));
      constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();  // `infinity`
      return Timestamp{micros > most - micros_until_2000 ? most : micros + micros_until_2000};
    }
    case type_void: return Null{};
    default: throw std::logic_error("the answer has a column of the PostgreSQL type " + std::to_string(type) + ": cast it");
  }
}

std::string postgresql_time(Timestamp time) {
  const std::int64_t fraction = (time.micros % 1'000'000 + 1'000'000) % 1'000'000;
  const LocalTime utc = TimeZone().local(time.instant());
  const bool before_christ = utc.year < 1;
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00{}", before_christ ? 1 - utc.year : utc.year, utc.month, utc.day,
                     utc.hour, utc.minute, utc.second, fraction, before_christ ? " BC" : "");
}

}  // namespace digdag::store
