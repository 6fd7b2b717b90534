#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/value.h"

namespace digdag::simulation {

// How the reference model reads configs: by the letter of the specification, with none of the engine's code.

/// The member of an object; null where it is not there.
Value member(const Value& object, std::string_view key);
/// `object`, or a new one, with this member.
Value with_member(Value object, std::string_view key, Value value);
/// `{}` for anything but an object.
Value or_empty(const Value& value);
bool is_empty(const Value& value);
bool has_template(const Value& value);
/// Removes `a.b` where all parents are objects (language.md 4.6).
void remove_key(Value& from, std::string_view key);

/// `_retry` by execution.md 11.1.
struct Retry {
  std::int64_t limit = 0, interval = 0, max_interval = -1;
  bool exponential = false, on_failure = true, on_timeout = true;

  /// Seconds before the retry after `count` earlier ones: 11.3, saturated (E-08).
  std::int64_t wait(std::int64_t count) const;
};
/// Nothing where it is no valid one.
std::optional<Retry> retry_of(const Value& value);

/// An integer or a duration like `1m 30s`.
std::int64_t seconds_of(const Value& value);
/// Seconds of `HH:MM[:SS]` (execution.md 18.1).
std::int64_t clock_seconds(const std::string& text);
/// `_timeout` (decisions.md 1): the limit, plain or as `limit`, and `grace`.
std::int64_t timeout_seconds(const Value& timeout);
std::optional<std::int64_t> grace_of(const Value& timeout);

/// Error object of a `_timeout` (E-33).
Value timeout_error(const Value& timeout);
/// Error object of something that the engine itself found (execution.md 10.5: the key of the trace stays).
Value error_object(const Error& error);
/// `Too many tasks. …`
Error limit_error(std::size_t limit, std::size_t current, std::size_t adding);

/// Tasks that are never taken over by themselves (E-21).
bool is_handler(const std::string& name);

}  // namespace digdag::simulation
