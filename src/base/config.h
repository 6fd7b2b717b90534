#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/value.h"

namespace digdag {

/// Typed access to the options of a task, a schedule or a server: the getters of spec/language.md 4 with their conversions
/// and messages (`Parameter 'k' is required but not set`, `Expected … for key 'k' but got …`). All throw Error(kind "config"),
/// at the position of the key where it is known.
///
/// Refers to an object that must outlive it. A set of keys that were read can be recorded (unused-key warnings).
class Config {
 public:
  /// `object` must be an object (or null, which counts as an empty one).
  explicit Config(const Value& object) : object_(&object) {}

  const Value& value() const { return *object_; }
  bool has(std::string_view key) const;  ///< also true for an explicit null
  const Value* find(std::string_view key) const;

  // Required: missing → "is required but not set", null → "is required but null".
  std::string string(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;       ///< 32 bit ("integer (int) type")
  std::int64_t long_integer(std::string_view key) const;  ///< 64 bit ("integer (long) type")
  bool boolean(std::string_view key) const;
  Value any(std::string_view key) const;
  /// An object; null → "must be an object".
  Value nested(std::string_view key) const;
  /// An object, or a string that holds a JSON object (`parseNested`); else "must be an object".
  Value parse_nested(std::string_view key) const;
  /// A list, or a string that holds a JSON list (`parseList`); null for the text `null`.
  Value parse_list(std::string_view key) const;
  /// Seconds of `1d 2h 3m 4s`.
  std::int64_t duration(std::string_view key) const;

  // With a default for missing and null.
  std::string string_or(std::string_view key, std::string fallback) const;
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const;
  std::int64_t long_integer_or(std::string_view key, std::int64_t fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::optional<std::string> optional_string(std::string_view key) const;
  std::optional<std::int64_t> optional_integer(std::string_view key) const;
  std::optional<std::int64_t> optional_duration(std::string_view key) const;
  /// `{}` for missing and null; another kind → "must be an object".
  Value nested_or_empty(std::string_view key) const;
  /// Strings; elements are converted to text, `[]` for missing and null.
  std::vector<std::string> strings_or_empty(std::string_view key) const;
  /// An object, or a list of objects merged left to right by key replacement; `{}` for missing (values of `+task` keys).
  Value nested_ordered_or_empty(std::string_view key) const;

  /// Where a key was written; unknown where it is missing.
  Position position_of(std::string_view key) const;

  /// Called with each key that is asked for, there or not (for unused-key warnings).
  void record_reads(std::function<void(std::string_view)> on_read) { on_read_ = std::move(on_read); }
  /// Called where an integer getter has cut a fraction off (spec/decisions.md L-36): `Parameter 'k' is 2.7; 2 is used`.
  void report_cuts(std::function<void(std::string message)> on_cut) { on_cut_ = std::move(on_cut); }

 private:
  const Value* read(std::string_view key) const;
  const Value* read_set(std::string_view key) const;
  const Value& required(std::string_view key) const;
  /// `whole`, after a word about what was cut off.
  std::int64_t noting_cut(std::string_view key, const Value& value, std::int64_t whole) const;
  template <typename Conversion>
  auto placed(std::string_view key, Conversion conversion) const;

  const Value* object_;
  std::function<void(std::string_view)> on_read_;
  std::function<void(std::string)> on_cut_;
};

// The conversions themselves, for values that stand alone. `key` is named in the message.
std::string convert_to_string(const Value& value, std::string_view key);
std::int64_t convert_to_int(const Value& value, std::string_view key);
std::int64_t convert_to_long(const Value& value, std::string_view key);
bool convert_to_boolean(const Value& value, std::string_view key);

/// `object`, `number`, `null`, …: how messages call what a value is.
std::string_view kind_word(const Value& value);

/// Error `Expected <type> for key '<key>' but got <json sample> (<json kind>)` (spec/language.md 4.2).
Error unexpected_type(std::string_view type, std::string_view key, const Value& got);

/// Seconds of `[Nd][Nh][Nm][Ns]`; nothing where the text is no duration (spec/language.md 4.4).
std::optional<std::int64_t> parse_duration(std::string_view text);
/// Seconds of `HH:MM:SS` (3 parts) or `MM:SS` (2) as the original reads them: no range is checked. Nothing where the text has
/// another form.
std::optional<std::int64_t> parse_clock(std::string_view text, std::size_t parts);
/// `1d 2h 3m 4s`, zero parts left out; `` for 0 as the original.
std::string format_duration(std::int64_t seconds);

}  // namespace digdag
