#include "model_config.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace digdag::simulation {

Value or_empty(const Value& value) { return value.is_object() ? value : Value::object(); }
bool is_empty(const Value& value) { return !value.is_object() || value.as_object().empty(); }

Value member(const Value& object, std::string_view key) {
  const Value* found = object.find(key);
  return found ? *found : Value();
}

bool has_template(const Value& value) {
  if (value.is_string()) return value.as_string().find("${") != std::string::npos;
  if (value.is_array()) return std::any_of(value.as_array().begin(), value.as_array().end(), has_template);
  if (!value.is_object()) return false;
  for (const auto& each : value.as_object()) {
    if (has_template(each.value)) return true;
  }
  return false;
}

bool is_handler(const std::string& name) {
  for (const char* segment : {"^error", "^failure-alert", "^sla", "^check"}) {
    if (name.find(segment) != std::string::npos) return true;
  }
  return false;
}

namespace {
std::optional<std::int64_t> number_of(const Value& value) {
  if (value.is_integer()) return value.as_integer();
  if (value.is_string()) {
    char* end = nullptr;
    const std::int64_t n = std::strtoll(value.as_string().c_str(), &end, 10);
    if (end != value.as_string().c_str() && *end == '\0') return n;
  }
  return std::nullopt;
}
}  // namespace

std::int64_t Retry::wait(std::int64_t count) const {
  if (!exponential) return interval;
  constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
  const std::int64_t cap = max_interval >= 0 ? max_interval : most;
  std::int64_t seconds = interval;
  for (std::int64_t i = 0; i < count && seconds < cap; ++i) seconds *= 2;
  return std::min(seconds, cap);
}

std::optional<Retry> retry_of(const Value& value) {
  Retry retry;
  if (value.is_null()) return retry;
  if (auto n = number_of(value)) {
    retry.limit = *n;
    return retry;
  }
  if (!value.is_object()) return std::nullopt;
  auto limit = number_of(member(value, "limit"));
  if (!limit) return std::nullopt;
  retry.limit = *limit;
  retry.interval = number_of(member(value, "interval")).value_or(0);
  retry.max_interval = number_of(member(value, "max_interval")).value_or(-1);
  if (const Value* type = value.find("interval_type")) {
    if (!type->is_string() || (type->as_string() != "constant" && type->as_string() != "exponential")) return std::nullopt;
    retry.exponential = type->as_string() == "exponential";
  }
  if (const Value* on = value.find("on")) {
    retry.on_failure = retry.on_timeout = false;
    for (const auto& cause : on->as_array()) {
      if (cause.as_string() == "failure") retry.on_failure = true;
      if (cause.as_string() == "timeout") retry.on_timeout = true;
    }
  }
  return retry;
}

Value with_member(Value object, std::string_view key, Value value) {
  if (!object.is_object()) object = Value::object();
  object.mutable_object().set(key, std::move(value));
  return object;
}

Value error_object(const Error& error) { return Value::object({{"message", error.message_with_kind()}, {"stacktrace", ""}}); }

void remove_key(Value& from, std::string_view key) {
  if (!from.is_object()) return;
  const auto dot = key.find('.');
  if (dot == std::string_view::npos) {
    from.mutable_object().erase(key);
    return;
  }
  if (Value* inner = from.mutable_object().find_mutable(key.substr(0, dot))) remove_key(*inner, key.substr(dot + 1));
}

std::int64_t clock_seconds(const std::string& text) {
  std::int64_t parts[3] = {0, 0, 0};
  std::size_t begin = 0;
  for (auto& part : parts) {
    if (begin > text.size()) break;
    const auto end = std::min(text.find(':', begin), text.size());
    part = std::strtoll(text.substr(begin, end - begin).c_str(), nullptr, 10);
    begin = end + 1;
  }
  return parts[0] * 3600 + parts[1] * 60 + parts[2];
}

std::int64_t seconds_of(const Value& value) {
  if (value.is_integer()) return value.as_integer();
  std::int64_t total = 0, n = 0;
  for (char c : value.as_string()) {
    if (c >= '0' && c <= '9') n = n * 10 + (c - '0');
    const std::int64_t unit = c == 'd' ? 86400 : c == 'h' ? 3600 : c == 'm' ? 60 : c == 's' ? 1 : 0;
    if (unit) total += n * unit, n = 0;
  }
  return total + n;
}

std::int64_t timeout_seconds(const Value& timeout) { return seconds_of(timeout.is_object() ? member(timeout, "limit") : timeout); }
std::optional<std::int64_t> grace_of(const Value& timeout) {
  const Value grace = member(timeout, "grace");
  return grace.is_null() ? std::nullopt : std::optional(seconds_of(grace));
}

Error limit_error(std::size_t limit, std::size_t current, std::size_t adding) {
  return Error("task limit exceeded", "Too many tasks. Limit: " + std::to_string(limit) + ", Current: " + std::to_string(current) +
                                          ", Adding: " + std::to_string(adding));
}

Value timeout_error(const Value& timeout) {
  std::int64_t seconds = timeout_seconds(timeout);
  std::string duration;
  for (auto [unit, length] : {std::pair{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}) {
    if (seconds / length > 0) duration += (duration.empty() ? "" : " ") + std::to_string(seconds / length) + unit;
    seconds %= length;
  }
  return Value::object({{"message", "Task timed out after " + duration + " (task timeout)"}});
}

}  // namespace digdag::simulation
