#include "base/config.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "base/json.h"
#include "base/text.h"

namespace digdag {
namespace {

constexpr std::string_view string_type = "string type";
constexpr std::string_view int_type = "integer (int) type";
constexpr std::string_view long_type = "integer (long) type";
constexpr std::string_view boolean_type = "'true' or 'false'";
constexpr std::string_view array_type = "array type";
constexpr std::string_view duration_class = "io.digdag.util.DurationParam";

std::string optional_type(std::string_view java_class) {
  return fmt::format("[reference type, class com.google.common.base.Optional<{0}><[simple type, class {0}]>]", java_class);
}

/// Texts that count as no number and no boolean: blanks and `null`.
bool is_empty_text(std::string_view trimmed) { return trimmed.empty() || trimmed == "null"; }

std::optional<std::int64_t> integer_of_text(std::string_view trimmed) {
  if (is_empty_text(trimmed)) return 0;
  if (trimmed.starts_with('+') && trimmed.size() > 1 && trimmed[1] != '-') trimmed.remove_prefix(1);
  std::int64_t n = 0;
  const auto [end, error] = std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), n);
  if (error != std::errc() || end != trimmed.data() + trimmed.size()) return std::nullopt;
  return n;
}

std::optional<std::int64_t> to_integer(const Value& value) {
  switch (value.kind()) {
    case Kind::integer: return value.as_integer();
    case Kind::number: {
      // 2^63 as a double; NaN fails both comparisons.
      constexpr double limit = 9223372036854775808.0;
      const double whole = std::trunc(value.as_number());
      if (whole >= -limit && whole < limit) return static_cast<std::int64_t>(whole);
      return std::nullopt;
    }
    case Kind::string: return integer_of_text(trim(value.as_string()));
    default: return std::nullopt;
  }
}

std::optional<std::int64_t> to_int(const Value& value) {
  const auto n = to_integer(value);
  if (n && (*n < std::numeric_limits<std::int32_t>::min() || *n > std::numeric_limits<std::int32_t>::max())) return std::nullopt;
  return n;
}

std::optional<bool> to_boolean(const Value& value) {
  switch (value.kind()) {
    case Kind::boolean: return value.as_boolean();
    case Kind::integer: return value.as_integer() != 0;
    case Kind::big_integer: return true;
    case Kind::string: {
      const std::string_view text = trim(value.as_string());
      if (text == "true" || text == "True" || text == "TRUE") return true;
      if (is_empty_text(text) || text == "false" || text == "False" || text == "FALSE") return false;
      return std::nullopt;
    }
    default: return std::nullopt;
  }
}

std::optional<std::string> to_text(const Value& value) {
  if (value.is_string()) return value.as_string();
  if (value.is_null() || !value.is_scalar()) return std::nullopt;
  return java_text(value);
}

Error not_an_object(std::string_view key) { return config_error(fmt::format("Parameter '{}' must be an object", key)); }

std::int64_t seconds_of(const Value& value, std::string_view type, std::string_view key) {
  if (value.is_string()) {
    if (const auto seconds = parse_duration(value.as_string())) return *seconds;
    throw unexpected_type(type, key, value)
        .hint("a duration is written like 90s, 30m, 1h 30m or 1d")
        .because(Error("date time parse", "Invalid duration"));
  }
  throw unexpected_type(type, key, value).hint("a duration is a text like 90s, 30m, 1h 30m or 1d");
}

/// A value, or the JSON value that its text holds.
Value parsed(const Value& value, std::string_view key) {
  if (!value.is_string()) return value;
  try {
    return parse_json_prefix(value.as_string());
  } catch (const Error& error) {
    throw config_error(fmt::format("Parameter '{}' is a text that holds no JSON", key)).because(error);
  }
}

}  // namespace

std::string_view kind_word(const Value& value) {
  switch (value.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return "boolean";
    case Kind::string: return "string";
    case Kind::array: return "array";
    case Kind::object: return "object";
    default: return "number";
  }
}

Error unexpected_type(std::string_view type, std::string_view key, const Value& got) {
  std::string sample = to_json(got);
  if (utf16_length(sample) >= 100) sample = first_utf16_units(sample, 97) + "...";
  return config_error(fmt::format("Expected {} for key '{}' but got {} ({})", type, key, sample, kind_word(got)));
}

std::string convert_to_string(const Value& value, std::string_view key) {
  if (auto text = to_text(value)) return std::move(*text);
  throw unexpected_type(string_type, key, value);
}

std::int64_t convert_to_int(const Value& value, std::string_view key) {
  if (const auto n = to_int(value)) return *n;
  throw unexpected_type(int_type, key, value);
}

std::int64_t convert_to_long(const Value& value, std::string_view key) {
  if (const auto n = to_integer(value)) return *n;
  throw unexpected_type(long_type, key, value);
}

bool convert_to_boolean(const Value& value, std::string_view key) {
  if (const auto b = to_boolean(value)) return *b;
  throw unexpected_type(boolean_type, key, value);
}

std::optional<std::int64_t> parse_duration(std::string_view text) {
  struct Unit {
    char letter;
    std::int64_t seconds;
  };
  static constexpr Unit units[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
  const auto skip_blanks = [&] {
    while (!text.empty() && (text.front() == ' ' || (text.front() >= '\t' && text.front() <= '\r'))) text.remove_prefix(1);
  };
  std::int64_t total = 0;
  const Unit* next = std::begin(units);
  skip_blanks();
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::int64_t n = 0;
    if (text.front() < '0' || text.front() > '9') return std::nullopt;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    skip_blanks();
    const char letter = text.empty() ? '\0' : static_cast<char>(text.front() | 0x20);
    while (next != std::end(units) && next->letter != letter) ++next;
    if (next == std::end(units)) return std::nullopt;
    if (__builtin_mul_overflow(n, next->seconds, &n) || __builtin_add_overflow(total, n, &total)) return std::nullopt;
    ++next;
    text.remove_prefix(1);
    skip_blanks();
  }
  return total;
}

std::optional<std::int64_t> parse_clock(std::string_view text, std::size_t parts) {
  std::vector<std::string> fields = split(text, ':');
  while (!fields.empty() && fields.back().empty()) fields.pop_back();  // as Java's split
  if (fields.size() != parts) return std::nullopt;
  std::int64_t seconds = 0;
  for (const std::string& field : fields) {
    const auto number = parse_java_int(field);
    if (!number) return std::nullopt;
    seconds = seconds * 60 + *number;
  }
  return seconds;
}

std::string format_duration(std::int64_t seconds) {
  std::string text;
  const auto part = [&](std::int64_t n, char unit) {
    if (n != 0) text += fmt::format("{}{}{}", text.empty() ? "" : " ", n, unit);
  };
  part(seconds / 86400, 'd');
  part(seconds / 3600 % 24, 'h');
  part(seconds / 60 % 60, 'm');
  part(seconds % 60, 's');
  return text;
}

// --- Config

/// Runs a conversion; its error gets the position of the key.
template <typename Conversion>
auto Config::placed(std::string_view key, Conversion conversion) const {
  try {
    return conversion();
  } catch (Error& error) {
    if (error.position().known()) throw;
    throw std::move(error).at(position_of(key));
  }
}

Position Config::position_of(std::string_view key) const {
  const Object::Member* member = object_->is_object() ? object_->as_object().find_member(key) : nullptr;
  return member ? member->position : Position{};
}

const Value* Config::read(std::string_view key) const {
  if (on_read_) on_read_(key);
  return object_->find(key);
}

/// The value unless it is missing or null.
const Value* Config::read_set(std::string_view key) const {
  const Value* value = read(key);
  return value && !value->is_null() ? value : nullptr;
}

const Value& Config::required(std::string_view key) const {
  const Value* value = read(key);
  if (!value) throw config_error(fmt::format("Parameter '{}' is required but not set", key));
  if (value->is_null()) throw config_error(fmt::format("Parameter '{}' is required but null", key)).at(position_of(key));
  return *value;
}

bool Config::has(std::string_view key) const { return read(key) != nullptr; }
const Value* Config::find(std::string_view key) const { return read(key); }

std::string Config::string(std::string_view key) const {
  return placed(key, [&] { return convert_to_string(required(key), key); });
}

std::int64_t Config::noting_cut(std::string_view key, const Value& value, std::int64_t whole) const {
  if (on_cut_ && value.kind() == Kind::number && std::trunc(value.as_number()) != value.as_number()) {
    on_cut_(fmt::format("Parameter '{}' is {}; {} is used", key, to_json(value), whole));
  }
  return whole;
}

std::int64_t Config::integer(std::string_view key) const {
  return placed(key, [&] { return noting_cut(key, required(key), convert_to_int(required(key), key)); });
}

std::int64_t Config::long_integer(std::string_view key) const {
  return placed(key, [&] { return noting_cut(key, required(key), convert_to_long(required(key), key)); });
}

bool Config::boolean(std::string_view key) const {
  return placed(key, [&] { return convert_to_boolean(required(key), key); });
}

Value Config::any(std::string_view key) const { return required(key); }

std::int64_t Config::duration(std::string_view key) const {
  return placed(key, [&] { return seconds_of(required(key), fmt::format("class {}", duration_class), key); });
}

std::string Config::string_or(std::string_view key, std::string fallback) const {
  return read_set(key) ? string(key) : std::move(fallback);
}
std::int64_t Config::integer_or(std::string_view key, std::int64_t fallback) const { return read_set(key) ? integer(key) : fallback; }
std::int64_t Config::long_integer_or(std::string_view key, std::int64_t fallback) const {
  return read_set(key) ? long_integer(key) : fallback;
}
bool Config::boolean_or(std::string_view key, bool fallback) const { return read_set(key) ? boolean(key) : fallback; }

std::optional<std::string> Config::optional_string(std::string_view key) const {
  const Value* value = read_set(key);
  if (!value) return std::nullopt;
  if (auto text = to_text(*value)) return text;
  throw unexpected_type(optional_type("java.lang.String"), key, *value).at(position_of(key));
}

std::optional<std::int64_t> Config::optional_integer(std::string_view key) const {
  const Value* value = read_set(key);
  if (!value || (value->is_string() && is_empty_text(trim(value->as_string())))) return std::nullopt;
  if (const auto n = to_int(*value)) return noting_cut(key, *value, *n);
  throw unexpected_type(optional_type("java.lang.Integer"), key, *value).at(position_of(key));
}

std::optional<std::int64_t> Config::optional_duration(std::string_view key) const {
  const Value* value = read_set(key);
  if (!value) return std::nullopt;
  return placed(key, [&] { return seconds_of(*value, optional_type(duration_class), key); });
}

// --- lists and objects

Value Config::nested(std::string_view key) const {
  const Value* value = read(key);
  if (!value) throw config_error(fmt::format("Parameter '{}' is required but not set", key));
  if (!value->is_object()) throw not_an_object(key).at(position_of(key));
  return *value;
}

Value Config::nested_or_empty(std::string_view key) const { return read_set(key) ? nested(key) : Value::object(); }

Value Config::parse_nested(std::string_view key) const {
  return placed(key, [&] {
    Value value = parsed(required(key), key);
    if (!value.is_object()) throw not_an_object(key);
    return value;
  });
}

Value Config::parse_list(std::string_view key) const {
  return placed(key, [&] {
    Value value = parsed(required(key), key);
    if (!value.is_array() && !value.is_null()) throw unexpected_type(array_type, key, value);
    return value;
  });
}

std::vector<std::string> Config::strings_or_empty(std::string_view key) const {
  const Value* value = read_set(key);
  std::vector<std::string> texts;
  if (!value) return texts;
  if (!value->is_array()) throw unexpected_type(array_type, key, *value).at(position_of(key));
  for (const Value& element : value->as_array()) {
    if (!element.is_scalar()) throw unexpected_type(array_type, key, *value).at(position_of(key));
    texts.push_back(java_text(element));
  }
  return texts;
}

Value Config::nested_ordered_or_empty(std::string_view key) const {
  const Value* value = read(key);
  if (!value) return Value::object();
  if (value->is_object()) return *value;
  if (!value->is_array()) {
    throw config_error(fmt::format("Parameter '{}' must be an object or array of objects", key)).at(position_of(key));
  }
  Object merged;
  for (const Value& element : value->as_array()) {
    if (!element.is_object()) throw config_error(fmt::format("Expected object but got {}", to_json(element))).at(position_of(key));
    for (const Object::Member& member : element.as_object()) merged.set(member.key, member.value, member.position);
  }
  return Value(std::move(merged));
}

}  // namespace digdag
