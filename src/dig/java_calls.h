#pragma once

#include <string>
#include <string_view>

namespace digdag::dig {

/// Before the name of a Java String method where it is called: `s.contains('t')` becomes `s['@java.contains']('t')`. The prelude
/// gives strings functions of these names, and every other object its own function of the plain name.
inline constexpr std::string_view java_call_mark = "@java.";

/// An expression in which calls of Java String methods are marked. The original finds them only where they are called:
/// `s.contains` that is merely read is undefined (spec/language.md 8.5).
std::string with_java_calls(std::string_view expression);

}  // namespace digdag::dig
