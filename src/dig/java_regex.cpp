#include "dig/java_regex.h"

#include <algorithm>

#include "dig/java_regex_program.h"

namespace digdag::dig {
namespace {

using Kind = RegexNode::Kind;
using Mode = RegexNode::Mode;

/// More stack than this is not used; the rest of the usual 8 MiB belongs to the callers.
constexpr std::ptrdiff_t most_stack = 4 << 20;

char16_t ascii_fold(char16_t c) { return c >= 'A' && c <= 'Z' ? static_cast<char16_t>(c - 'A' + 'a') : c; }

bool is_line_end(char16_t c, bool unix_lines) {
  return c == '\n' || (!unix_lines && (c == '\r' || c == 0x85 || c == 0x2028 || c == 0x2029));
}

bool is_word(char32_t point) {
  if (point >= 0x80) throw Error("pattern syntax", "\\b beside a character beyond ASCII is not supported in regular expressions");
  return point == '_' || (point >= '0' && point <= '9') || (point >= 'a' && point <= 'z') || (point >= 'A' && point <= 'Z');
}

/// One search: tries the steps with backtracking. A step returns whether everything from it to `accept` matches.
class Matcher {
 public:
  Matcher(const JavaRegex::Program& program, std::u16string_view text, std::size_t last)
      : text_(text), last_(last), groups_(program.groups, {JavaRegex::npos, JavaRegex::npos}), locals_(program.locals, JavaRegex::npos) {
    stack_base_ = reinterpret_cast<const char*>(__builtin_frame_address(0));
  }

  /// `whole`: the match must end where the text ends. As in Java, what possessive loops and negative looks have put into groups
  /// stays there when the next place is tried.
  bool match_at(const RegexNode* start, std::size_t at, bool whole) {
    whole_ = whole;
    if (!run(start, at)) return false;
    groups_[0] = {at, end_};
    return true;
  }
  std::vector<std::pair<std::size_t, std::size_t>>& groups() { return groups_; }

 private:
  void check_stack() const {
    const char* const here = reinterpret_cast<const char*>(__builtin_frame_address(0));
    if (stack_base_ - here > most_stack) throw Error("pattern syntax", "the regular expression needs too much stack for this text");
  }

  bool accept(std::size_t i) {
    if (nested_ > 0) {
      if (behind_end_ != JavaRegex::npos && i != behind_end_) return false;
    } else if (whole_ && i != text_.size()) {
      return false;
    }
    end_ = i;
    return true;
  }

  bool run(const RegexNode* node, std::size_t i) {
    check_stack();
    for (;; node = node->next) {
      switch (node->kind) {
        case Kind::accept: return accept(i);
        case Kind::point: {
          if (i >= text_.size()) return false;
          const auto [point, length] = point_at(text_, i);
          if (!node->set.has(point)) return false;
          i += length;
          break;
        }
        case Kind::point_loop: return point_loop(*node, i);
        case Kind::group_open: return group_open(*node, i);
        case Kind::group_close: return group_close(*node, i);
        case Kind::branch:
          for (const RegexNode* alternative : node->alternatives) {
            if (run(alternative, i)) return true;
          }
          return false;
        case Kind::loop_start: return enter_loop(*node->loop, i);
        case Kind::loop: return again(*node, i);
        case Kind::independent_loop:
          if (!independent_loop(*node, i)) return false;
          break;
        case Kind::atomic:
          if (!inner(*node, i, JavaRegex::npos)) return false;
          i = end_;
          break;
        case Kind::look_ahead:
          if (inner(*node, i, JavaRegex::npos) == node->negative) return false;
          break;
        case Kind::look_behind:
          if (look_behind(*node, i) == node->negative) return false;
          break;
        case Kind::back_reference:
          if (!back_reference(*node, i)) return false;
          break;
        case Kind::line_break:
          if (i >= text_.size()) return false;
          if (text_.substr(i).starts_with(u"\r\n") && run(node->next, i + 2)) return true;
          if (!is_line_end(text_[i], false) && text_[i] != 0x0b && text_[i] != 0x0c) return false;
          ++i;
          break;
        default:
          if (!assertion(*node, i)) return false;
      }
    }
  }

  bool assertion(const RegexNode& node, std::size_t i) const {
    const std::size_t end = text_.size();
    switch (node.kind) {
      case Kind::text_begin: return i == 0;
      case Kind::text_end: return i == end;
      case Kind::search_begin: return i == last_;
      case Kind::last_line_end:
        if (i == end) return true;
        if (!node.unix_lines && i + 2 == end && text_.substr(i) == u"\r\n") return true;
        if (i + 1 != end || !is_line_end(text_[i], node.unix_lines)) return false;
        // Not between the two of a last \r\n.
        return node.unix_lines || text_[i] != '\n' || i == 0 || text_[i - 1] != '\r';
      case Kind::line_begin: {
        if (i == 0) return true;
        if (i == end) return false;  // not after a last line end
        const char16_t before = text_[i - 1];
        return is_line_end(before, node.unix_lines) && !(!node.unix_lines && before == '\r' && text_[i] == '\n');
      }
      case Kind::line_end:
        if (i == end) return true;
        return is_line_end(text_[i], node.unix_lines) && (node.unix_lines || text_[i] != '\n' || i == 0 || text_[i - 1] != '\r');
      default: {
        const bool left = i > 0 && is_word(point_before(i));
        const bool right = i < end && is_word(point_at(text_, i).first);
        return (left != right) != node.negative;
      }
    }
  }

  char32_t point_before(std::size_t i) const {
    return i >= 2 && is_low_surrogate(text_[i - 1]) ? point_at(text_, i - 2).second == 2 ? point_at(text_, i - 2).first : text_[i - 1]
                                                    : text_[i - 1];
  }

  bool point_loop(const RegexNode& node, std::size_t i) {
    std::size_t count = 0;
    const auto one_more = [&] {
      if (i >= text_.size()) return false;
      const auto [point, length] = point_at(text_, i);
      if (!node.set.has(point)) return false;
      i += length;
      ++count;
      return true;
    };
    while (count < node.least) {
      if (!one_more()) return false;
    }
    if (node.mode == Mode::lazy) {
      do {
        if (run(node.next, i)) return true;
      } while (count < node.most && one_more());
      return false;
    }
    while (count < node.most && one_more()) {
    }
    if (node.mode == Mode::possessive) return run(node.next, i);
    for (;; --count) {
      if (run(node.next, i)) return true;
      if (count == node.least) return false;
      i -= i >= 2 && is_low_surrogate(text_[i - 1]) && is_high_surrogate(text_[i - 2]) ? 2 : 1;
    }
  }

  bool group_open(const RegexNode& node, std::size_t i) {
    const std::size_t before = locals_[node.slot];
    locals_[node.slot] = i;
    const bool matched = run(node.next, i);
    locals_[node.slot] = before;
    return matched;
  }

  bool group_close(const RegexNode& node, std::size_t i) {
    const auto before = groups_[node.group];
    groups_[node.group] = {locals_[node.slot], i};
    if (run(node.next, i)) return true;
    groups_[node.group] = before;
    return false;
  }

  bool enter_loop(const RegexNode& loop, std::size_t i) {
    const std::size_t before = locals_[loop.slot];
    bool matched = false;
    if (loop.least > 0) {
      locals_[loop.slot] = 1;
      matched = run(loop.body, i);
    } else if (loop.most == 0) {
      matched = run(loop.next, i);
    } else if (loop.mode == Mode::greedy) {
      locals_[loop.slot] = 1;
      matched = run(loop.body, i) || run(loop.next, i);
    } else {
      matched = run(loop.next, i);
      if (!matched) {
        locals_[loop.slot] = 1;
        matched = run(loop.body, i);
      }
    }
    locals_[loop.slot] = before;
    return matched;
  }

  /// After a round. A round that took nothing is the last.
  bool again(const RegexNode& loop, std::size_t i) {
    if (i > locals_[loop.begin_slot]) {
      const std::size_t count = locals_[loop.slot];
      const auto round = [&] {
        locals_[loop.slot] = count + 1;
        if (run(loop.body, i)) return true;
        locals_[loop.slot] = count;
        return false;
      };
      if (count < loop.least) return round();
      if (loop.mode == Mode::lazy) {
        if (run(loop.next, i)) return true;
        return count < loop.most && round();
      }
      if (count < loop.most && round()) return true;
    }
    return run(loop.next, i);
  }

  /// `inner` of a node on its own; where it must end, if that is given. Leaves the end in `end_`.
  bool inner(const RegexNode& node, std::size_t i, std::size_t must_end) {
    const std::size_t outer_end = behind_end_;
    behind_end_ = must_end;
    ++nested_;
    const bool matched = run(node.inner, i);
    --nested_;
    behind_end_ = outer_end;
    return matched;
  }

  bool independent_loop(const RegexNode& node, std::size_t& i) {
    for (std::size_t count = 0; count < node.most; ++count) {
      if (!inner(node, i, JavaRegex::npos)) return count >= node.least;
      if (end_ == i && count >= node.least) return true;
      i = end_;
    }
    return true;
  }

  bool look_behind(const RegexNode& node, std::size_t i) {
    if (std::any_of(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(i), [](char16_t c) { return c >= 0xd800 && c < 0xe000; })) {
      throw Error("pattern syntax", "look-behind on a text with characters beyond U+FFFF is not supported in regular expressions");
    }
    for (std::size_t length = node.least; length <= node.most && length <= i; ++length) {
      if (inner(node, i - length, i)) return true;
    }
    return false;
  }

  bool back_reference(const RegexNode& node, std::size_t& i) const {
    if (node.group >= groups_.size() || groups_[node.group].first == JavaRegex::npos) return false;
    const auto [begin, end] = groups_[node.group];
    const std::size_t length = end - begin;
    if (length > text_.size() - i) return false;
    for (std::size_t k = 0; k < length; ++k) {
      const char16_t a = text_[begin + k], b = text_[i + k];
      if (a != b && !(node.ignore_case && ascii_fold(a) == ascii_fold(b))) return false;
    }
    i += length;
    return true;
  }

  std::u16string_view text_;
  std::size_t last_;
  std::vector<std::pair<std::size_t, std::size_t>> groups_;
  std::vector<std::size_t> locals_;
  const char* stack_base_ = nullptr;
  std::size_t end_ = 0;
  std::size_t behind_end_ = JavaRegex::npos;
  int nested_ = 0;
  bool whole_ = false;
};

[[noreturn]] void bad_replacement(const std::string& what) { throw Error("illegal argument", what); }

/// Appends the replacement of one match (Matcher.appendReplacement).
void append_replacement(std::u16string& out, std::u16string_view by, std::u16string_view text, const JavaRegex::Match& match,
                        const JavaRegex::Program& program) {
  const auto append_group = [&](std::size_t group) {
    const auto [begin, end] = match.groups[group];
    if (begin != JavaRegex::npos) out += text.substr(begin, end - begin);
  };
  const auto is_digit = [](char16_t c) { return c >= '0' && c <= '9'; };
  for (std::size_t i = 0; i < by.size(); ++i) {
    if (by[i] == u'\\') {
      if (++i == by.size()) bad_replacement("character to be escaped is missing");
      out += by[i];
    } else if (by[i] != u'$') {
      out += by[i];
    } else if (++i == by.size()) {
      bad_replacement("Illegal group reference: group index is missing");
    } else if (by[i] == u'{') {
      const std::size_t end = by.find(u'}', i);
      if (end == std::u16string_view::npos) bad_replacement("named capturing group is missing trailing '}'");
      const auto found = program.names.find(by.substr(i + 1, end - i - 1));
      if (found == program.names.end()) bad_replacement("No group with that name");
      append_group(found->second);
      i = end;
    } else {
      if (!is_digit(by[i])) bad_replacement("Illegal group reference");
      std::size_t group = by[i] - u'0';
      if (group >= program.groups) bad_replacement("No group " + std::to_string(group));
      while (i + 1 < by.size() && is_digit(by[i + 1]) && group * 10 + (by[i + 1] - u'0') < program.groups)
        group = group * 10 + (by[++i] - u'0');
      append_group(group);
    }
  }
}

}  // namespace

JavaRegex::JavaRegex(std::u16string_view pattern) : program_(std::make_unique<Program>(parse_java_regex(pattern))) {}
JavaRegex::~JavaRegex() = default;
JavaRegex::JavaRegex(JavaRegex&&) noexcept = default;
JavaRegex& JavaRegex::operator=(JavaRegex&&) noexcept = default;

bool JavaRegex::matches(std::u16string_view text) const { return Matcher(*program_, text, 0).match_at(program_->start, 0, true); }

std::optional<JavaRegex::Match> JavaRegex::find(std::u16string_view text, std::size_t from, std::size_t last) const {
  Matcher matcher(*program_, text, last);
  for (std::size_t at = from; at <= text.size(); ++at) {
    const bool inside_pair =
        program_->beyond_bmp && at > from && at < text.size() && is_low_surrogate(text[at]) && is_high_surrogate(text[at - 1]);
    if (!inside_pair && matcher.match_at(program_->start, at, false)) return Match{std::move(matcher.groups())};
  }
  return std::nullopt;
}

std::u16string JavaRegex::replace(std::u16string_view text, std::u16string_view by, bool all) const {
  std::u16string out;
  std::size_t copied = 0, from = 0;
  while (from <= text.size()) {
    const auto match = find(text, from, copied);
    if (!match) break;
    const auto [begin, end] = match->groups[0];
    out += text.substr(copied, begin - copied);
    append_replacement(out, by, text, *match, *program_);
    copied = end;
    if (!all) break;
    from = end == begin ? end + 1 : end;
  }
  out += text.substr(copied);
  return out;
}

}  // namespace digdag::dig
