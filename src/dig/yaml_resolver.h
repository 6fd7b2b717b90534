#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/value.h"

namespace digdag::dig {

/// What a plain (unquoted) scalar is. The rules are the original's own, neither YAML 1.1's nor 1.2's (spec/language.md 2.2):
/// `0.5` and `yes` are strings, `010` is octal, dates are strings, sexagesimal integers are strings, such floats are not.
enum class ScalarType { string, boolean, integer, number, null, merge };

ScalarType resolve_plain(std::string_view text);

/// The value of a plain scalar; `<<` is the string. Infinite and undefined numbers become strings, as in the original's JSON.
/// Nothing where the text has the form of an integer but no digits (`0b_`).
std::optional<Value> plain_value(std::string_view text);

/// The value of a scalar with one of YAML's own tags (`int` of `!!int`); nothing where its text does not fit the tag or the
/// tag is not one for scalars.
std::optional<Value> tagged_value(std::string_view tag, std::string_view text);

/// Why a plain scalar probably means something else than its writer thinks: `W-number-string`, `W-octal`, `W-sexagesimal`;
/// empty where it does not (spec/decisions.md L-01).
std::string_view doubtful_scalar(std::string_view text);

}  // namespace digdag::dig
