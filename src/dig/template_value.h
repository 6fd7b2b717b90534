#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/value.h"
#include "dig/template_scanner.h"

namespace digdag::dig {

/// How a template prints a value (spec/language.md 8.4): null as nothing, a string as itself, else JSON.stringify, with keys in
/// JavaScript's order.
std::string template_text(const Value& value);

/// What the properties of a path give, starting from the value of its variable.
struct PropertyResult {
  enum class Kind {
    value,       ///< `text` is how it prints; a missing property prints as nothing
    type_error,  ///< a property of null or of a missing one; `text` is the message
    javascript,  ///< JavaScript knows more about this property than we do (methods, prototypes)
  } kind;
  std::string text;
};
PropertyResult read_properties(const Value& variable, const Path& path);

/// Whether a name without a parameter may still mean something in JavaScript: a global (`moment`, `Math`), a member of every
/// object (`toString`), a local of the generated function (`print`).
bool is_javascript_name(std::string_view name);

}  // namespace digdag::dig
