#include "engine/retry_control.h"

#include <limits>
#include <string>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::engine {

namespace {
constexpr std::int64_t longest_interval = std::numeric_limits<std::int32_t>::max();

bool is_exponential(const std::string& type) {
  if (lower(type) == "exponential") return true;
  if (lower(type) == "constant") return false;
  throw config_error("Invalid retry_interval_type: " + type);
}

/// `on: [timeout, failure]`, or one of the two words.
void restrict_causes(RetryControl& control, const Value& causes) {
  const auto invalid = [&] {
    return config_error("Invalid _retry on: " + to_json(causes)).hint("`on` is a list of `failure` and `timeout`");
  };
  control.on_failure = control.on_timeout = false;
  const Array words = causes.is_array() ? causes.as_array() : Array{causes};
  for (const Value& word : words) {
    if (!word.is_string()) throw invalid();
    if (word.as_string() == "failure") {
      control.on_failure = true;
    } else if (word.as_string() == "timeout") {
      control.on_timeout = true;
    } else {
      throw invalid();
    }
  }
}

std::int64_t limit_of(const Value& retry) {
  const Config config(retry);
  try {
    return config.integer("limit");
  } catch (const Error& error) {
    if (config.has("limit")) throw;
    std::string hint = "_retry as an object needs the number of retries";
    for (const auto& member : retry.as_object()) {
      if (!similar_words(member.key, {"limit"}).empty()) hint += "; '" + member.key + "': did you mean 'limit'?";
    }
    if (!hint.ends_with('?')) hint += ": _retry: {limit: 3}";
    throw Error(error).hint(std::move(hint));
  }
}

RetryControl of_object(const Value& retry) {
  const Config config(retry);
  RetryControl control;
  control.limit = limit_of(retry);
  control.interval_seconds = config.integer_or("interval", 0);
  control.exponential = is_exponential(config.string_or("interval_type", "constant"));
  control.max_interval_seconds = config.optional_integer("max_interval");
  const Value* causes = config.find("on");
  if (causes && !causes->is_null()) restrict_causes(control, *causes);
  return control;
}
}  // namespace

RetryControl RetryControl::parse(const Value& retry) {
  RetryControl control;
  if (retry.is_null()) return control;
  if (retry.is_object()) return of_object(retry);
  if (!retry.is_numeric() && !retry.is_string()) throw config_error("Invalid _retry format:" + to_json(retry));
  control.limit = convert_to_int(retry, "_retry");
  return control;
}

std::int64_t RetryControl::interval_after(std::int64_t count) const {
  if (!exponential) return interval_seconds;
  const std::int64_t longest = max_interval_seconds.value_or(longest_interval);
  std::int64_t interval = interval_seconds;
  for (std::int64_t i = 0; i < count && interval > 0 && interval < longest; ++i) interval *= 2;
  return interval < longest ? interval : longest;
}

}  // namespace digdag::engine
