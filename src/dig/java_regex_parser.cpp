#include <limits>
#include <optional>

#include "dig/java_regex_program.h"

namespace digdag::dig {

void CodePoints::add(char32_t from, char32_t to) {
  std::vector<std::pair<char32_t, char32_t>> merged;
  for (const auto& range : ranges_) {
    if (range.second + 1 < from || to + 1 < range.first) {
      merged.push_back(range);
    } else {
      from = std::min(from, range.first);
      to = std::max(to, range.second);
    }
  }
  merged.emplace_back(from, to);
  std::sort(merged.begin(), merged.end());
  ranges_ = std::move(merged);
}

void CodePoints::add(const CodePoints& other) {
  for (const auto& [from, to] : other.ranges_) add(from, to);
}

CodePoints CodePoints::negated() const {
  CodePoints result;
  char32_t from = 0;
  for (const auto& range : ranges_) {
    if (range.first > from) result.ranges_.emplace_back(from, range.first - 1);
    from = range.second + 1;
  }
  if (from <= 0x10ffff) result.ranges_.emplace_back(from, 0x10ffff);
  return result;
}

CodePoints CodePoints::both(const CodePoints& other) const {
  CodePoints either = negated();
  either.add(other.negated());
  return either.negated();
}

CodePoints CodePoints::with_ascii_case() const {
  CodePoints result = *this;
  for (char32_t c = 'a'; c <= 'z'; ++c) {
    const char32_t upper = c - 'a' + 'A';
    if (has(c) || has(upper)) {
      result.add(c, c);
      result.add(upper, upper);
    }
  }
  return result;
}

bool CodePoints::has(char32_t point) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), point, [](char32_t p, const auto& range) { return p < range.first; });
  return after != ranges_.begin() && point <= std::prev(after)->second;
}

namespace {

using Kind = RegexNode::Kind;
using Mode = RegexNode::Mode;
constexpr std::size_t unlimited = std::numeric_limits<int>::max();

bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }
bool is_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
int hex_value(char32_t c) {
  if (is_digit(c)) return static_cast<int>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<int>(c - 'a') + 10;
  if (c >= 'A' && c <= 'F') return static_cast<int>(c - 'A') + 10;
  return -1;
}

const CodePoints digits = {{'0', '9'}};
const CodePoints word_points = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
const CodePoints space_points = {{'\t', '\r'}, {' ', ' '}};
const CodePoints horizontal = {{'\t', '\t'},     {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680}, {0x180e, 0x180e},
                               {0x2000, 0x200a}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};
const CodePoints vertical = {{'\n', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}};
const CodePoints line_ends = {{'\n', '\n'}, {'\r', '\r'}, {0x85, 0x85}, {0x2028, 0x2029}};
const CodePoints unix_line_end = {{'\n', '\n'}};

std::optional<CodePoints> posix_class(std::u16string_view name) {
  if (name == u"Lower") return CodePoints{{'a', 'z'}};
  if (name == u"Upper") return CodePoints{{'A', 'Z'}};
  if (name == u"ASCII") return CodePoints{{0, 0x7f}};
  if (name == u"Alpha") return CodePoints{{'a', 'z'}, {'A', 'Z'}};
  if (name == u"Digit") return digits;
  if (name == u"Alnum") return CodePoints{{'0', '9'}, {'a', 'z'}, {'A', 'Z'}};
  if (name == u"Punct") return CodePoints{{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}};
  if (name == u"Graph") return CodePoints{{'!', '~'}};
  if (name == u"Print") return CodePoints{{' ', '~'}};
  if (name == u"Blank") return CodePoints{{' ', ' '}, {'\t', '\t'}};
  if (name == u"Cntrl") return CodePoints{{0, 0x1f}, {0x7f, 0x7f}};
  if (name == u"XDigit") return CodePoints{{'0', '9'}, {'a', 'f'}, {'A', 'F'}};
  if (name == u"Space") return space_points;
  return std::nullopt;
}

/// A part of the graph with one entry and one exit; the exit's `next` is still open. Empty: matches nothing and everything.
struct Piece {
  RegexNode* first = nullptr;
  RegexNode* last = nullptr;
};

/// How many units a piece can take.
struct Width {
  std::size_t least = 0, most = 0;  ///< `most` without what has no bound
  bool bounded = true;
  int endless_loops = 0;  ///< of single characters; more than one where it is unknown
};

class Parser {
 public:
  explicit Parser(std::u16string_view pattern) : pattern_(pattern) {}

  JavaRegex::Program parse() {
    unquote();
    const Parsed whole = alternation();
    if (at_ < text_.size()) fail("Unmatched closing ')'");
    program_.start = close(whole.piece);
    return std::move(program_);
  }

 private:
  struct Flags {
    bool ignore_case = false, multiline = false, dot_all = false, comments = false, unix_lines = false;
  };
  struct Parsed {
    Piece piece;
    Width width;
    bool single = false;  ///< one `point` node
  };

  [[noreturn]] void fail(const std::string& what) const {
    throw Error("pattern syntax", what + " near index " + std::to_string(at_) + " of the regular expression");
  }
  [[noreturn]] void unsupported(const std::string& what) const { fail(what + " is not supported"); }

  // ---- characters ----

  /// `\Q…\E` is taken out first: what it quotes stands in `quoted_` as literal.
  void unquote() {
    bool quoting = false;
    for (std::size_t i = 0; i < pattern_.size();) {
      if (!quoting && pattern_.substr(i).starts_with(u"\\Q")) {
        quoting = true;
        i += 2;
      } else if (quoting && pattern_.substr(i).starts_with(u"\\E")) {
        quoting = false;
        i += 2;
      } else if (!quoting && pattern_[i] == u'\\' && i + 1 < pattern_.size()) {
        for (int k = 0; k < 2; ++k) {
          const auto [point, length] = point_at(pattern_, i);
          push(point, false);
          i += length;
          if (i >= pattern_.size()) break;
        }
      } else {
        const auto [point, length] = point_at(pattern_, i);
        push(point, quoting);
        i += length;
      }
    }
  }
  void push(char32_t point, bool quoted) {
    text_ += point;
    quoted_.push_back(quoted);
  }

  bool more() {
    if (flags_.comments) skip_comments();
    return at_ < text_.size();
  }
  void skip_comments() {
    while (at_ < text_.size() && !quoted_[at_]) {
      const char32_t c = text_[at_];
      if (c == ' ' || (c >= '\t' && c <= '\r')) {
        ++at_;
      } else if (c == '#') {
        while (at_ < text_.size() && !(flags_.unix_lines ? unix_line_end : line_ends).has(text_[at_])) ++at_;
      } else {
        return;
      }
    }
  }
  /// Whether the next character is this one with its special meaning.
  bool sees(char32_t c) { return more() && !quoted_[at_] && text_[at_] == c; }
  bool accept(char32_t c) {
    if (!sees(c)) return false;
    ++at_;
    return true;
  }
  bool sees_text(std::u32string_view what) const { return std::u32string_view(text_).substr(at_).starts_with(what) && !quoted_[at_]; }

  // ---- building ----

  RegexNode* make(Kind kind) {
    program_.nodes.push_back(std::make_unique<RegexNode>(kind));
    return program_.nodes.back().get();
  }
  static Piece chain(Piece a, Piece b) {
    if (!a.first) return b;
    if (!b.first) return a;
    a.last->next = b.first;
    return {a.first, b.last};
  }
  Piece one(RegexNode* node) { return {node, node}; }
  /// Ends a piece with `accept`.
  RegexNode* close(Piece piece) {
    RegexNode* const end = make(Kind::accept);
    if (!piece.first) return end;
    piece.last->next = end;
    return piece.first;
  }
  Parsed point(CodePoints set) {
    RegexNode* const node = make(Kind::point);
    const bool wide = !set.both(CodePoints{{0x10000, 0x10ffff}}).empty();
    node->set = std::move(set);
    program_.beyond_bmp = program_.beyond_bmp || wide;
    return {one(node), {1, wide ? std::size_t{2} : std::size_t{1}, true}, true};
  }
  Parsed literal(char32_t c) {
    CodePoints set{{c, c}};
    Parsed parsed = point(flags_.ignore_case ? set.with_ascii_case() : set);
    const std::size_t length = c > 0xffff ? 2 : 1;
    parsed.width = {length, length, true};
    return parsed;
  }
  Parsed assertion(Kind kind) {
    RegexNode* const node = make(kind);
    node->unix_lines = flags_.unix_lines;
    return {one(node), {}, false};
  }

  static Width plus(Width a, Width b) {
    return {a.least + b.least, a.most + b.most, a.bounded && b.bounded, a.endless_loops + b.endless_loops};
  }

  // ---- grammar ----

  Parsed alternation() {
    if (++depth_ > 200) fail("The expression is nested too deeply");
    Parsed first = sequence();
    if (!sees('|')) {
      --depth_;
      return first;
    }
    RegexNode* const branch = make(Kind::branch);
    RegexNode* const join = make(Kind::atomic);  // an empty one: the place where the branches meet
    join->inner = make(Kind::accept);
    Width width = first.width;
    const auto alternative = [&](Piece piece) {
      if (piece.first) piece.last->next = join;
      branch->alternatives.push_back(piece.first ? piece.first : join);
    };
    alternative(first.piece);
    while (accept('|')) {
      const Parsed other = sequence();
      alternative(other.piece);
      width = {std::min(width.least, other.width.least), std::max(width.most, other.width.most), width.bounded && other.width.bounded, 2};
    }
    --depth_;
    return {{branch, join}, width, false};
  }

  Parsed sequence() {
    Parsed result;
    while (more() && !sees('|') && !sees(')')) {
      const Parsed atom = quantified();
      result.piece = chain(result.piece, atom.piece);
      result.width = plus(result.width, atom.width);
    }
    return result;
  }

  Parsed quantified() {
    std::optional<Parsed> atom = this->atom();
    if (!atom) return {};
    std::size_t least = 0, most = unlimited;
    if (accept('*')) {
    } else if (accept('+')) {
      least = 1;
    } else if (accept('?')) {
      most = 1;
    } else if (sees('{')) {
      counts(least, most);
    } else {
      return *atom;
    }
    const Mode mode = accept('?') ? Mode::lazy : accept('+') ? Mode::possessive : Mode::greedy;
    return repeat(*atom, least, most, mode);
  }

  void counts(std::size_t& least, std::size_t& most) {
    ++at_;
    const auto number = [&]() -> std::size_t {
      if (at_ >= text_.size() || !is_digit(text_[at_])) fail("Illegal repetition");
      std::size_t n = 0;
      while (at_ < text_.size() && is_digit(text_[at_])) {
        n = n * 10 + (text_[at_++] - '0');
        if (n > unlimited) fail("Illegal repetition range");
      }
      return n;
    };
    least = most = number();
    if (at_ < text_.size() && text_[at_] == ',') {
      ++at_;
      most = at_ < text_.size() && text_[at_] == '}' ? unlimited : number();
    }
    if (at_ >= text_.size() || text_[at_] != '}') fail("Unclosed counted closure");
    ++at_;
    if (most < least) fail("Illegal repetition range");
  }

  Parsed repeat(const Parsed& atom, std::size_t least, std::size_t most, Mode mode) {
    Width width;
    width.least = atom.width.least * least;
    width.bounded = atom.width.bounded && (most < unlimited || atom.width.most == 0);
    width.most = width.bounded && atom.width.most > 0 ? atom.width.most * most : 0;
    if (width.most > unlimited) width.bounded = false;
    width.endless_loops = width.bounded ? 0 : atom.single && atom.width.most == 1 ? 1 : 2;
    if (!atom.piece.first) return {{}, {}, false};
    if (atom.single) {
      RegexNode* const node = atom.piece.first;
      node->kind = Kind::point_loop;
      node->least = least;
      node->most = most;
      node->mode = mode;
      return {atom.piece, width, false};
    }
    if (mode == Mode::possessive) {
      RegexNode* const node = make(Kind::independent_loop);
      node->inner = close(atom.piece);
      node->least = least;
      node->most = most;
      return {one(node), width, false};
    }
    // What groups hold after such rounds depends on how Java happens to have compiled the loop.
    if (most > 1 && atom.width.least == 0 && (mode == Mode::lazy || (atom.width.bounded && atom.width.most == 0))) {
      unsupported("a loop of what may be empty");
    }
    RegexNode* const loop = make(Kind::loop);
    RegexNode* const start = make(Kind::loop_start);
    RegexNode* const round = make(Kind::group_open);
    loop->mode = mode;
    loop->least = least;
    loop->most = most;
    loop->slot = program_.locals++;
    loop->begin_slot = program_.locals++;
    round->slot = loop->begin_slot;
    round->next = atom.piece.first;
    atom.piece.last->next = loop;
    loop->body = round;
    start->loop = loop;
    return {{start, loop}, width, false};
  }

  std::optional<Parsed> atom() {
    const char32_t c = text_[at_];
    if (quoted_[at_]) {
      ++at_;
      return literal(c);
    }
    switch (c) {
      case '(': return group();
      case '[': {
        ++at_;
        return point(char_class());
      }
      case '\\': return escape();
      case '.': ++at_; return point(flags_.dot_all ? CodePoints{{0, 0x10ffff}} : (flags_.unix_lines ? unix_line_end : line_ends).negated());
      case '^': ++at_; return assertion(flags_.multiline ? Kind::line_begin : Kind::text_begin);
      case '$': ++at_; return assertion(flags_.multiline ? Kind::line_end : Kind::last_line_end);
      case '*':
      case '+':
      case '?': fail(std::string("Dangling meta character '") + static_cast<char>(c) + "'");
      case '{':
        // A count without anything before it counts nothing.
        if (at_ + 1 < text_.size() && is_digit(text_[at_ + 1])) return Parsed{};
        fail("Illegal repetition");
      default: ++at_; return literal(c);
    }
  }

  std::optional<Parsed> group() {
    ++at_;
    if (!accept_raw('?')) return capture(u"");
    const Flags outer = flags_;
    if (accept_raw(':')) return enclosed(outer);
    if (accept_raw('>')) {
      Parsed inner = enclosed(outer);
      RegexNode* const node = make(Kind::atomic);
      node->inner = close(inner.piece);
      return Parsed{one(node), inner.width, false};
    }
    if (accept_raw('=')) return look(Kind::look_ahead, false);
    if (accept_raw('!')) return look(Kind::look_ahead, true);
    if (accept_raw('<')) {
      if (accept_raw('=')) return look(Kind::look_behind, false);
      if (accept_raw('!')) return look(Kind::look_behind, true);
      return capture(name('>'));
    }
    return inline_flags(outer);
  }

  bool accept_raw(char32_t c) {
    if (at_ >= text_.size() || quoted_[at_] || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::u16string name(char32_t end) {
    std::u16string result;
    while (at_ < text_.size() && (is_letter(text_[at_]) || (!result.empty() && is_digit(text_[at_]))))
      result += static_cast<char16_t>(text_[at_++]);
    if (result.empty()) fail("capturing group name does not start with a Latin letter");
    if (!accept_raw(end)) fail("named capturing group is missing trailing '>'");
    return result;
  }

  Parsed capture(const std::u16string& group_name) {
    const std::size_t number = program_.groups++;
    if (!group_name.empty() && !program_.names.emplace(group_name, number).second) {
      fail("Named capturing group is already defined");
    }
    RegexNode* const open = make(Kind::group_open);
    RegexNode* const shut = make(Kind::group_close);
    open->slot = shut->slot = program_.locals++;
    shut->group = number;
    const Parsed inner = enclosed(flags_);
    return {chain(chain(one(open), inner.piece), one(shut)), inner.width, false};
  }

  /// The rest of a group up to its `)`; flags set inside end there.
  Parsed enclosed(Flags outer) {
    Parsed inner = alternation();
    if (!accept_raw(')')) fail("Unclosed group");
    flags_ = outer;
    inner.single = false;
    return inner;
  }

  Parsed look(Kind kind, bool negative) {
    const Parsed inner = enclosed(flags_);
    // Java takes one endless loop of single characters, and nothing beside it.
    if (kind == Kind::look_behind && !inner.width.bounded && (inner.width.endless_loops != 1 || inner.width.most > 0)) {
      fail("Look-behind group does not have an obvious maximum length");
    }
    RegexNode* const node = make(kind);
    node->inner = close(inner.piece);
    node->negative = negative;
    node->least = inner.width.least;
    node->most = inner.width.bounded ? inner.width.most : JavaRegex::npos;
    return {one(node), {}, false};
  }

  std::optional<Parsed> inline_flags(Flags outer) {
    bool on = true;
    for (;; ++at_) {
      if (at_ >= text_.size()) fail("Unknown inline modifier");
      switch (text_[at_]) {
        case 'i': flags_.ignore_case = on; continue;
        case 'm': flags_.multiline = on; continue;
        case 's': flags_.dot_all = on; continue;
        case 'x': flags_.comments = on; continue;
        case 'd': flags_.unix_lines = on; continue;
        case 'u':
          if (!on) continue;
          unsupported("the flag (?u)");
        case 'U':
          if (!on) continue;
          unsupported("the flag (?U)");
        case '-':
          if (!on) fail("Unknown inline modifier");
          on = false;
          continue;
        case ')': ++at_; return std::nullopt;  // valid up to the end of the group around it
        case ':': ++at_; return enclosed(outer);
        default: fail("Unknown inline modifier");
      }
    }
  }

  Parsed escape() {
    ++at_;
    if (at_ >= text_.size()) fail("Unexpected internal error");
    const char32_t c = text_[at_];
    if (const auto set = class_escape()) return point(*set);
    switch (c) {
      case 'A': ++at_; return assertion(Kind::text_begin);
      case 'z': ++at_; return assertion(Kind::text_end);
      case 'Z': ++at_; return assertion(Kind::last_line_end);
      case 'G': ++at_; return assertion(Kind::search_begin);
      case 'B':
      case 'b': {
        ++at_;
        if (c == 'b' && sees_text(U"{")) unsupported("\\b{…}");
        Parsed border = assertion(Kind::word_border);
        border.piece.first->negative = c == 'B';
        return border;
      }
      case 'R': {
        ++at_;
        Parsed parsed = assertion(Kind::line_break);
        parsed.width = {1, 2, true};
        return parsed;
      }
      case 'X': unsupported("\\X");
      case 'k': return named_reference();
      default: break;
    }
    if (c >= '1' && c <= '9') return numbered_reference();
    return literal(escaped_point());
  }

  Parsed reference(std::size_t group) {
    RegexNode* const node = make(Kind::back_reference);
    node->group = group;
    node->ignore_case = flags_.ignore_case;
    return {one(node), {0, 0, false, 2}, false};
  }

  Parsed named_reference() {
    ++at_;
    if (!accept_raw('<')) fail("\\k is not followed by '<' for named capturing group");
    const auto found = program_.names.find(name('>'));
    if (found == program_.names.end()) fail("named capturing group does not exist");
    return reference(found->second);
  }

  /// More digits belong to it as long as there is such a group.
  Parsed numbered_reference() {
    std::size_t group = text_[at_++] - '0';
    while (at_ < text_.size() && is_digit(text_[at_]) && group * 10 + (text_[at_] - '0') < program_.groups)
      group = group * 10 + (text_[at_++] - '0');
    return reference(group);
  }

  // ---- escapes and classes ----

  /// `\d`, `\p{Alpha}`: what stands for a set, after the backslash.
  std::optional<CodePoints> class_escape() {
    switch (text_[at_]) {
      case 'd': ++at_; return digits;
      case 'D': ++at_; return digits.negated();
      case 's': ++at_; return space_points;
      case 'S': ++at_; return space_points.negated();
      case 'w': ++at_; return word_points;
      case 'W': ++at_; return word_points.negated();
      case 'h': ++at_; return horizontal;
      case 'H': ++at_; return horizontal.negated();
      case 'v': ++at_; return vertical;
      case 'V': ++at_; return vertical.negated();
      case 'p':
      case 'P': return property(text_[at_] == 'P');
      default: return std::nullopt;
    }
  }

  CodePoints property(bool negative) {
    ++at_;
    std::u16string property_name;
    if (accept_raw('{')) {
      while (at_ < text_.size() && text_[at_] != '}') property_name += static_cast<char16_t>(text_[at_++]);
      if (!accept_raw('}')) fail("Unclosed character family");
    } else if (at_ < text_.size()) {
      property_name += static_cast<char16_t>(text_[at_++]);
    }
    const auto set = posix_class(property_name);
    if (!set) {
      std::string shown;
      for (const char16_t c : property_name) shown += c < 0x80 ? static_cast<char>(c) : '?';
      unsupported(std::string("\\") + (negative ? "P{" : "p{") + shown + "}");
    }
    // With (?i) \p{Lower} and \p{Upper} take both cases.
    const bool letters = property_name == u"Lower" || property_name == u"Upper";
    const CodePoints positive = letters && flags_.ignore_case ? set->with_ascii_case() : *set;
    return negative ? positive.negated() : positive;
  }

  /// One character after a backslash.
  char32_t escaped_point() {
    const char32_t c = text_[at_++];
    switch (c) {
      case 't': return '\t';
      case 'n': return '\n';
      case 'r': return '\r';
      case 'f': return '\f';
      case 'a': return 7;
      case 'e': return 0x1b;
      case 'c':
        if (at_ >= text_.size()) fail("Illegal control escape sequence");
        return text_[at_++] ^ 64u;
      case '0': return octal();
      case 'x': return hexadecimal();
      case 'u': return unicode();
      case 'N': unsupported("\\N{…}");
      default: break;
    }
    if (is_letter(c)) fail("Illegal/unsupported escape sequence");
    return c;
  }

  char32_t octal() {
    char32_t value = 0;
    int count = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7' && count < 3 && value * 8 + (text_[at_] - '0') <= 0377) {
      value = value * 8 + (text_[at_++] - '0');
      ++count;
    }
    if (count == 0) fail("Illegal octal escape sequence");
    return value;
  }

  char32_t hex_digits(int count, const char* what) {
    char32_t value = 0;
    for (int i = 0; i < count; ++i) {
      const int digit = at_ < text_.size() ? hex_value(text_[at_]) : -1;
      if (digit < 0) fail(what);
      value = value * 16 + static_cast<char32_t>(digit);
      ++at_;
    }
    return value;
  }

  char32_t hexadecimal() {
    if (!accept_raw('{')) return hex_digits(2, "Illegal hexadecimal escape sequence");
    char32_t value = 0;
    while (at_ < text_.size() && hex_value(text_[at_]) >= 0) {
      value = value * 16 + static_cast<char32_t>(hex_value(text_[at_++]));
      if (value > 0x10ffff) fail("Hexadecimal codepoint is too big");
    }
    if (!accept_raw('}')) fail("Unclosed hexadecimal escape sequence");
    return value;
  }

  char32_t unicode() {
    const char32_t high = hex_digits(4, "Illegal Unicode escape sequence");
    if (high < 0xd800 || high >= 0xdc00 || !sees_text(U"\\u")) return high;
    const std::size_t back = at_;
    at_ += 2;
    const char32_t low = hex_digits(4, "Illegal Unicode escape sequence");
    if (low >= 0xdc00 && low < 0xe000) return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    at_ = back;
    return high;
  }

  /// After `[`, up to and with its `]`.
  CodePoints char_class() {
    if (++depth_ > 200) fail("The expression is nested too deeply");
    const bool negative = accept('^');
    CodePoints result = class_operand(false);
    while (!sees(']')) {
      at_ += 2;  // &&
      if (sees('&') || sees(']')) unsupported("&& without an operand");
      const CodePoints right = class_operand(true);
      if (more() && !sees(']') && !sees_text(U"&&")) fail("Unclosed character class");
      result = result.both(right);
    }
    ++at_;
    --depth_;
    return negative ? result.negated() : result;
  }

  /// The union up to `&&` or `]`.
  CodePoints class_operand(bool right) {
    CodePoints result;
    bool empty = true;
    for (;; empty = false) {
      if (!more()) fail("Unclosed character class");
      if (!quoted_[at_]) {
        if (text_[at_] == ']' && !(empty && !right)) return result;
        if (sees_text(U"&&")) {
          if (empty) unsupported("&& without an operand");
          return result;
        }
        if (text_[at_] == '[') {
          ++at_;
          result.add(char_class());
          continue;
        }
      }
      result.add(class_item());
    }
  }

  CodePoints class_item() {
    char32_t from = text_[at_];
    if (!quoted_[at_] && from == '\\') {
      ++at_;
      if (at_ >= text_.size()) fail("Unclosed character class");
      if (const auto set = class_escape()) return *set;
      if (text_[at_] == 'R' || text_[at_] == 'b') fail("Illegal/unsupported escape sequence");
      from = escaped_point();
    } else {
      ++at_;
    }
    CodePoints set{{from, from}};
    if (sees('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']' && text_[at_ + 1] != '[') {
      ++at_;
      if (!more()) fail("Unclosed character class");
      char32_t to = text_[at_];
      if (!quoted_[at_] && to == '\\') {
        ++at_;
        if (at_ >= text_.size()) fail("Unclosed character class");
        to = escaped_point();
      } else {
        ++at_;
      }
      if (to < from) fail("Illegal character range");
      set = CodePoints{{from, to}};
    }
    return flags_.ignore_case ? set.with_ascii_case() : set;
  }

  std::u16string_view pattern_;
  std::u32string text_;
  std::vector<bool> quoted_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Flags flags_;
  JavaRegex::Program program_;
};

}  // namespace

JavaRegex::Program parse_java_regex(std::u16string_view pattern) { return Parser(pattern).parse(); }

}  // namespace digdag::dig
