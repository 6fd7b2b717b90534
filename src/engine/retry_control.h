#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/value.h"

namespace digdag::engine {

/// `_retry` of a task or group (spec/execution.md 11.1-11.3; `on:` and the saturation of decisions.md 1, E-08).
struct RetryControl {
  std::int64_t limit = 0;
  std::int64_t interval_seconds = 0;
  bool exponential = false;
  std::optional<std::int64_t> max_interval_seconds;
  bool on_failure = true;
  bool on_timeout = true;

  /// Throws Error(config): `Invalid _retry format:{json}`, `Invalid retry_interval_type: {v}`, … Null: no retry.
  static RetryControl parse(const Value& retry);
  /// Seconds to wait before the retry after `count` earlier ones.
  std::int64_t interval_after(std::int64_t count) const;
};

}  // namespace digdag::engine
