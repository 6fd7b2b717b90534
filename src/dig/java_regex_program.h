#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "dig/java_regex.h"

namespace digdag::dig {

/// A set of code points: sorted ranges that do not touch.
class CodePoints {
 public:
  CodePoints() = default;
  CodePoints(std::initializer_list<std::pair<char32_t, char32_t>> ranges) {
    for (const auto& [from, to] : ranges) add(from, to);
  }
  void add(char32_t from, char32_t to);
  void add(const CodePoints& other);
  CodePoints negated() const;
  CodePoints both(const CodePoints& other) const;
  /// With the other case of each ASCII letter (`(?i)`).
  CodePoints with_ascii_case() const;
  bool has(char32_t point) const;
  bool empty() const { return ranges_.empty(); }

 private:
  std::vector<std::pair<char32_t, char32_t>> ranges_;
};

/// A step of a pattern. Steps form a graph: `next` is what follows when this one has matched; nothing follows `accept`.
struct RegexNode {
  enum class Kind : std::uint8_t {
    accept,            ///< the pattern (or the part of an `inner`) ends here
    point,             ///< one code point of `set`
    point_loop,        ///< `least`…`most` of them, by `mode`
    group_open,        ///< remembers where local `slot` begins
    group_close,       ///< sets `group` to it
    branch,            ///< one of `alternatives`, in order; a null one goes on with `next`
    loop_start,        ///< enters the loop at `loop`
    loop,              ///< end of a round of a loop: again `body`, or `next`
    independent_loop,  ///< possessive: `inner` as often as it matches, each round final
    atomic,            ///< `inner`, final
    look_ahead,        ///< `inner` matches here (or not: `negative`)
    look_behind,       ///< `inner` matches what ends here; `least`…`most` units long
    back_reference,    ///< what `group` holds; fails where it holds nothing
    line_break,        ///< \R
    text_begin,
    text_end,
    last_line_end,  ///< \A \z \Z
    line_begin,
    line_end,      ///< ^ and $ with (?m)
    search_begin,  ///< \G
    word_border,   ///< \b (\B: `negative`)
  };
  enum class Mode : std::uint8_t { greedy, lazy, possessive };

  explicit RegexNode(Kind k) : kind(k) {}

  Kind kind;
  Mode mode = Mode::greedy;
  bool negative = false;
  bool ignore_case = false;
  bool unix_lines = false;
  RegexNode* next = nullptr;
  CodePoints set;
  std::size_t least = 0, most = 0;
  std::size_t group = 0;
  std::size_t slot = 0;        ///< of group_open, group_close: the local that holds the begin; of a loop: its counter
  std::size_t begin_slot = 0;  ///< of a loop: the local that holds where its round began
  RegexNode* body = nullptr;   ///< first step of a loop's round
  RegexNode* loop = nullptr;   ///< of loop_start
  RegexNode* inner = nullptr;  ///< a sequence of its own that ends in `accept`
  std::vector<RegexNode*> alternatives;
};

struct JavaRegex::Program {
  std::vector<std::unique_ptr<RegexNode>> nodes;
  RegexNode* start = nullptr;
  std::size_t groups = 1;  ///< with group 0
  std::size_t locals = 0;
  bool beyond_bmp = false;  ///< a set of it has characters beyond U+FFFF: then no match begins inside of a surrogate pair
  std::map<std::u16string, std::size_t, std::less<>> names;
};

JavaRegex::Program parse_java_regex(std::u16string_view pattern);

inline bool is_high_surrogate(char16_t c) { return c >= 0xd800 && c < 0xdc00; }
inline bool is_low_surrogate(char16_t c) { return c >= 0xdc00 && c < 0xe000; }
/// The code point at `i` and its length in units.
inline std::pair<char32_t, std::size_t> point_at(std::u16string_view text, std::size_t i) {
  const char16_t c = text[i];
  if (is_high_surrogate(c) && i + 1 < text.size() && is_low_surrogate(text[i + 1])) {
    return {0x10000u + ((c - 0xd800u) << 10) + (text[i + 1] - 0xdc00u), 2};
  }
  return {c, 1};
}

}  // namespace digdag::dig
