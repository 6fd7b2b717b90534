#include "dig/time_limit.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/keys.h"

namespace digdag::dig {
namespace {

constexpr std::int64_t hundred_years = 36525LL * 86400;  // longer times count as this

std::optional<std::int64_t> seconds_of_text(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (problem == std::errc() && end == text.data() + text.size()) return seconds;
  return is_blank(text) ? std::nullopt : parse_duration(text);
}

/// Seconds of an integer or of a text, at least `least`.
std::int64_t seconds_of(const Value& value, std::string_view key, std::int64_t least) {
  std::optional<std::int64_t> seconds;
  if (value.is_integer()) seconds = value.as_integer();
  if (value.is_string()) seconds = seconds_of_text(value.as_string());
  if (seconds && *seconds >= least) return std::min(*seconds, hundred_years);
  throw config_error("Invalid " + std::string(key) + ": " + to_json(value))
      .hint(seconds ? "it must be at least " + std::to_string(least) + " s" : "write seconds, or a duration like `30m` or `1h 30m`");
}

std::int64_t grace_of(const Value& grace, std::string_view key) {
  if (grace.is_string() && grace.as_string() == "never") return -1;
  return seconds_of(grace, key, 0);
}

void check_keys(const Object& timeout) {
  static const std::vector<std::string> known{"limit", "grace"};
  std::vector<std::string> unknown;
  for (const Object::Member& member : timeout) {
    if (std::find(known.begin(), known.end(), member.key) == known.end()) unknown.push_back(member.key);
  }
  if (!unknown.empty()) throw config_error("_timeout contains invalid keys: " + name_with_suggestions(unknown, known));
}

void check(const Object::Member& member) {
  if (member.value.is_null()) return;
  if (member.key == "_timeout") TimeLimit::parse(member.value);
  if (member.key == "_kill_grace") parse_kill_grace(member.value);
  if (member.key == "_error_on_cancel") convert_to_boolean(member.value, member.key);
}

}  // namespace

TimeLimit TimeLimit::parse(const Value& timeout) {
  TimeLimit limit;
  if (timeout.is_object()) {
    check_keys(timeout.as_object());
    limit.seconds = seconds_of(Config(timeout).any("limit"), "limit of _timeout", 1);
    const Value* grace = timeout.find("grace");
    if (grace && !grace->is_null()) limit.grace_seconds = grace_of(*grace, "grace of _timeout");
  } else {
    limit.seconds = seconds_of(timeout, "_timeout", 1);
  }
  return limit;
}

std::string TimeLimit::message() const { return "Task timed out after " + format_duration(seconds) + " (task timeout)"; }

std::int64_t parse_kill_grace(const Value& grace) { return grace_of(grace, "_kill_grace"); }

std::optional<Error> fault_of_time_limit(const Object::Member& member) {
  try {
    check(member);
    return std::nullopt;
  } catch (const Error& error) {
    return Error(error).at(member.position, member.key);
  }
}

}  // namespace digdag::dig
