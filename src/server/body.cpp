#include "server/body.h"

#include <charconv>
#include <stdexcept>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::server {
namespace {

HttpError wrong(std::string_view name, std::string_view expected, const Value& got) {
  return {400, "Field '" + std::string(name) + "' must be " + std::string(expected) + ", but it is " +
                   std::string(first_bytes(to_json(got), 200))};
}

/// A text without a NUL, which no database takes. Numbers and booleans count as their text.
std::string text_of(std::string_view name, const Value& value) {
  if (!value.is_scalar()) throw wrong(name, "a string", value);
  std::string text = convert_to_string(value, name);
  if (text.find('\0') != std::string::npos) throw HttpError(400, "Field '" + std::string(name) + "' must not contain a NUL character");
  return text;
}

Instant instant_of(std::string_view name, const Value& value) {
  const std::string text = text_of(name, value);
  if (const std::optional<Instant> instant = parse_instant(text)) return *instant;
  throw HttpError(400,
                  "Invalid ISO time format: " + visible(text) + " (field '" + std::string(name) + "', like 2026-01-02T03:04:05+09:00)");
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

const Value* Body::find(std::string_view name) const {
  const Value* value = object_.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

const Value& Body::at(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) throw std::logic_error("field " + std::string(name) + " was not required");
  return *value;
}

void Body::require(std::initializer_list<std::string_view> names) const {
  std::vector<std::string> missing;
  for (const std::string_view name : names) {
    if (find(name) == nullptr) missing.emplace_back(name);
  }
  if (!missing.empty()) {
    throw HttpError(400, "Cannot read the request body, some of required attributes are not set [" + join(missing, ", ") + "]");
  }
}

std::string Body::text(std::string_view name) const { return text_of(name, at(name)); }

std::string Body::secret(std::string_view name) const {
  if (!at(name).is_scalar()) throw HttpError(400, "Field '" + std::string(name) + "' must be a string");
  return text(name);
}

std::int64_t Body::id(std::string_view name) const {
  const Value& value = at(name);
  if (value.is_integer()) return value.as_integer();
  if (!value.is_string()) throw wrong(name, "an id", value);
  if (const std::optional<std::int64_t> id = number_of<std::int64_t>(value.as_string())) return *id;
  throw HttpError(400, "For input string: \"" + visible(value.as_string()) + "\" (field '" + std::string(name) + "')");
}

bool Body::flag(std::string_view name) const {
  const Value& value = at(name);
  if (value.is_boolean()) return value.as_boolean();
  if (value.is_string() && value.as_string() == "true") return true;
  if (value.is_string() && value.as_string() == "false") return false;
  throw wrong(name, "true or false", value);
}

Instant Body::instant(std::string_view name) const { return instant_of(name, at(name)); }

Value Body::object(std::string_view name) const {
  const Value& value = at(name);
  if (!value.is_object()) throw wrong(name, "an object", value);
  return value;
}

std::optional<std::string> Body::optional_text(std::string_view name) const {
  const Value* value = find(name);
  return value == nullptr ? std::nullopt : std::optional(text_of(name, *value));
}

std::optional<std::int32_t> Body::optional_int(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_integer() || value->is_string()) {
    if (const auto number = number_of<std::int32_t>(convert_to_string(*value, name))) return number;
  }
  throw wrong(name, "a whole number", *value);
}

std::optional<Instant> Body::optional_instant(std::string_view name) const {
  const Value* value = find(name);
  return value == nullptr ? std::nullopt : std::optional(instant_of(name, *value));
}

std::optional<schedule::RequestedTime> Body::optional_time(std::string_view name) const {
  const Value* value = find(name);
  if (value == nullptr) return std::nullopt;
  const std::string text = text_of(name, *value);
  if (const auto time = schedule::RequestedTime::parse(text)) return time;
  throw HttpError(400, "Invalid timestamp format: " + visible(text) + " (field '" + std::string(name) + "')");
}

}  // namespace digdag::server
