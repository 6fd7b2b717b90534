#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace digdag::dig {

/// `a.b[0]['c d']`: a variable and the properties taken from it. The only expressions that need no JavaScript.
struct Path {
  struct Step {
    std::string name;                  ///< as a property name; of an index its decimal text
    std::optional<std::size_t> index;  ///< where the name is an array index (canonical decimal below 2^32 - 1)
  };
  std::string variable;
  std::vector<Step> steps;
};

/// The text between `${` and its `}`.
struct Expression {
  std::string code;
  std::optional<Path> path;              ///< where it is a plain path
  std::vector<std::string> identifiers;  ///< every word in it that could name a variable, sorted, once each
  bool dynamic = false;                  ///< may use variables that it does not name (`this`, `eval`, escapes)
};

/// A text cut into what stays and what is evaluated (spec/language.md 8.3).
struct Template {
  using Piece = std::variant<std::string, Expression>;
  std::string text;
  std::vector<Piece> pieces;  ///< literal pieces have their `$$` collapsed
};

/// Cuts a text. `extended`: braces are counted, blind to quotes; where that finds no end, a scan that knows strings, comments
/// and regular expressions decides (decisions L-26); unbalanced by both is literal. Not extended: up to the first `}` (L-32).
Template scan_template(std::string_view text, bool extended);

/// The syntax newer than ES5.1 that an expression uses, as a person would call it (`an arrow function`); nothing where there is
/// none. Looks at tokens only: what it names certainly fails or must not pass (L-27).
std::optional<std::string_view> newer_syntax(std::string_view code);

}  // namespace digdag::dig
