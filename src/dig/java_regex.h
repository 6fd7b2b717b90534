#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace digdag::dig {

/// A regular expression of java.util.regex (Java 17) with its exact meaning: greedy, lazy and possessive quantifiers, groups
/// and their references by number and name, look-ahead and look-behind, classes with union and intersection, `\Q…\E`, POSIX
/// classes, inline flags. ES5's own expressions differ in too much (what a group holds after a loop, `$`, `\b`, `.`) to be
/// written in them, so this is a matcher of its own. Works on UTF-16, as Java.
///
/// What it does not know is an Error that says so, never another result: `(?u)`, `(?U)`, `\X`, `\N{…}`, `\b{g}`, `\p{…}` beyond
/// the ASCII classes, and `\b` beside a character beyond ASCII. A match that needs more stack than there is is an Error too.
class JavaRegex {
 public:
  /// Throws Error(pattern syntax) with what is wrong and where.
  explicit JavaRegex(std::u16string_view pattern);
  ~JavaRegex();
  JavaRegex(JavaRegex&&) noexcept;
  JavaRegex& operator=(JavaRegex&&) noexcept;

  struct Match {
    /// Begin and end of each group, 0 is the whole match; npos where the group took no part.
    std::vector<std::pair<std::size_t, std::size_t>> groups;
  };
  static constexpr std::size_t npos = static_cast<std::size_t>(-1);

  /// Whether the whole text matches (String.matches).
  bool matches(std::u16string_view text) const;
  /// The first match at or after `from`; `\G` is where the match before it ended (`last`).
  std::optional<Match> find(std::u16string_view text, std::size_t from = 0, std::size_t last = 0) const;
  /// String.replaceAll, or replaceFirst: `$1`, `${name}` and `\` in `by` have Java's meaning.
  std::u16string replace(std::u16string_view text, std::u16string_view by, bool all) const;

  struct Program;

 private:
  std::unique_ptr<const Program> program_;
};

}  // namespace digdag::dig
