#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"

namespace digdag {

/// A Java properties text: `key = value`, `:`; `#` and `!` comments, `\` continuation and escapes, `\uXXXX`
/// (spec/cli.md 2.2). In file order; later duplicates win when looked up. `latin1`: bytes are ISO-8859-1 (files); else UTF-8,
/// which is also what a byte order mark says (editors write it; it is no part of the first key).
std::vector<std::pair<std::string, std::string>> parse_properties(std::string_view text, bool latin1);

/// The system configuration: flat dotted keys, as a configuration file, DIGDAG_CONFIG and -X give them.
class SystemConfig {
 public:
  /// One that sets nothing.
  static const SystemConfig& empty();

  void set(std::string_view key, std::string value) { values_[std::string(key)] = std::move(value); }
  std::optional<std::string> get(std::string_view key) const;
  std::string get_or(std::string_view key, std::string_view fallback) const;
  /// Error(config) where the text is no integer / boolean; blank counts as unset.
  std::int64_t integer_or(std::string_view key, std::int64_t fallback) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  /// The parts between commas that are not blank, trimmed.
  std::vector<std::string> list(std::string_view key) const;
  /// All keys below `prefix` (which ends with a dot), without it, sorted.
  std::vector<std::pair<std::string, std::string>> below(std::string_view prefix) const;

 private:
  std::map<std::string, std::string, std::less<>> values_;
};

/// Sets `a.b.c` in nested objects (200 levels at most); Error(config) `Parameter 'a.b' is set but 'a' is not a object (1)` on a conflict.
void set_nested(Value& object, std::string_view dotted_key, Value value);

}  // namespace digdag
