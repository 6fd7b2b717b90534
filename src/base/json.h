#pragma once

#include <string>
#include <string_view>

#include "base/value.h"

namespace digdag {

/// Parses one JSON document. Integers of any size are kept exactly; keys keep their order, a repeated key replaces.
/// Throws Error(kind "parser") with line and column; nesting is limited to 200, as in YAML.
Value parse_json(std::string_view text);
/// The same, but text after the first value is ignored and the Jackson behaviour of `parseList` kept (`"[1] x"` → [1]).
Value parse_json_prefix(std::string_view text);

/// Compact JSON without blanks, doubles as Java prints them (spec/language.md 2.2: 1.0, 1.0E7, 1.0E-4).
std::string to_json(const Value& value);
/// The same at the end of a text.
void append_as_json(std::string& out, const Value& value);

/// YAML as the original's state files and `check` print it (Jackson: no document marker, strings double-quoted, keys plain
/// where YAML 1.1 allows it, lists at the indent of their key, `{}` / `[]` for empty ones). Every line ends with \n;
/// `indent` blanks stand before each line. A top-level scalar or empty collection is one line.
std::string to_yaml(const Value& value, int indent = 0);

/// Java's Double.toString.
std::string java_double(double d);
/// A number as JavaScript's JSON.stringify prints it (`1`, `1e+21`, `null` for NaN and infinity).
std::string js_number(double d);
/// A value as a Java Map, List or scalar prints itself: `{v=[1, 2]}`, strings unquoted (log announcements, spec/cli.md 6.2).
std::string java_text(const Value& value);

}  // namespace digdag
