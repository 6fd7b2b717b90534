#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/text.h"
#include "dig/yaml_characters.h"
#include "dig/yaml_scanner.h"

// The scalars of YamlScanner: block, quoted and plain.

namespace digdag::dig {

using Kind = YamlToken::Kind;

// ---- block scalars ------------------------------------------------------------------------------------------------------

void YamlScanner::fetch_block_scalar(bool folded) {
  allow_key_ = true;
  remove_possible_key();
  const YamlMark begin = mark_;
  forward(1);
  const auto [chomping, increment] = scan_block_header(begin);
  scan_rest_of_line("in a block scalar", begin);

  const std::int64_t least_indent = std::max<std::int64_t>(indent_ + 1, 1);
  std::int64_t indent = least_indent + increment - 1;
  std::string breaks;
  if (increment > 0) {
    breaks = scan_block_breaks(indent);
  } else {
    std::int64_t deepest = 0;
    breaks = scan_block_indentation(deepest);
    indent = std::max(least_indent, deepest);
  }

  std::string text;
  std::string line_break;
  while (mark_.column == indent && !at_end()) {
    text += breaks;
    const bool starts_with_text = at() != ' ' && at() != '\t';
    std::size_t length = 0;
    while (!is_break_or_end(length)) ++length;
    text.append(text_, mark_.offset, length);
    forward(length);
    line_break = take_break();
    breaks = scan_block_breaks(indent);
    if (mark_.column != indent || at_end()) break;
    if (folded && line_break == "\n" && starts_with_text && at() != ' ' && at() != '\t') {
      if (breaks.empty()) text += ' ';
    } else {
      text += line_break;
    }
  }
  if (chomping != Chomping::strip) text += line_break;
  if (chomping == Chomping::keep) text += breaks;

  YamlToken token;
  token.kind = Kind::scalar;
  token.start = begin;
  token.text = std::move(text);
  tokens_.push_back(std::move(token));
}

/// `+`, `-` and a digit in any order; the increment is 0 where none is given.
std::pair<YamlScanner::Chomping, std::int64_t> YamlScanner::scan_block_header(const YamlMark& begin) {
  Chomping chomping = Chomping::clip;
  std::int64_t increment = 0;
  const auto take_chomping = [&] {
    if (at() != '+' && at() != '-') return false;
    chomping = at() == '+' ? Chomping::keep : Chomping::strip;
    forward(1);
    return true;
  };
  const auto take_increment = [&] {
    if (!is_digit(at())) return false;
    increment = at() - '0';
    if (increment == 0) fail_here("expected indentation indicator in the range 1-9, but found 0", "in a block scalar", begin);
    forward(1);
    return true;
  };
  if (take_chomping()) {
    take_increment();
  } else if (take_increment()) {
    take_chomping();
  }
  if (at() == '\t' || !is_blank_or_end(0)) {
    fail_here(fmt::format("expected chomping or indentation indicators, but found {}", character_here()), "in a block scalar", begin);
  }
  return {chomping, increment};
}

std::string YamlScanner::scan_block_indentation(std::int64_t& deepest) {
  std::string breaks;
  while (at() == ' ' || break_length() > 0) {
    if (at() != ' ') {
      breaks += take_break();
    } else {
      forward(1);
      deepest = std::max<std::int64_t>(deepest, mark_.column);
    }
  }
  return breaks;
}

std::string YamlScanner::scan_block_breaks(std::int64_t indent) {
  std::string breaks;
  while (true) {
    while (mark_.column < indent && at() == ' ') forward(1);
    if (break_length() == 0) return breaks;
    breaks += take_break();
  }
}

// ---- quoted scalars -----------------------------------------------------------------------------------------------------

void YamlScanner::fetch_quoted_scalar(bool double_quoted) {
  save_possible_key();
  allow_key_ = false;
  const YamlMark begin = mark_;
  const char quote = at();
  forward(1);
  std::string text;
  scan_quoted_text(text, double_quoted, begin);
  while (at() != quote) {
    scan_quoted_spaces(text, begin);
    scan_quoted_text(text, double_quoted, begin);
  }
  forward(1);
  YamlToken token;
  token.kind = Kind::scalar;
  token.start = begin;
  token.text = std::move(text);
  token.length = mark_.line == begin.line ? mark_.offset - begin.offset : 1;
  tokens_.push_back(std::move(token));
}

/// Everything up to the closing quote or the next blank.
void YamlScanner::scan_quoted_text(std::string& text, bool double_quoted, const YamlMark& begin) {
  while (true) {
    std::size_t length = 0;
    while (!is_blank_or_end(length, "'\"\\")) ++length;
    text.append(text_, mark_.offset, length);
    forward(length);
    const char c = at();
    if (!double_quoted && c == '\'' && at(1) == '\'') {
      text += '\'';
      forward(2);
    } else if ((double_quoted && c == '\'') || (!double_quoted && (c == '"' || c == '\\'))) {
      text += c;
      forward(1);
    } else if (double_quoted && c == '\\') {
      scan_escape(text, begin);
    } else {
      return;
    }
  }
}

void YamlScanner::scan_escape(std::string& text, const YamlMark& begin) {
  static constexpr std::pair<char, std::string_view> replacements[] = {{'0', std::string_view("\0", 1)},
                                                                       {'a', "\a"},
                                                                       {'b', "\b"},
                                                                       {'t', "\t"},
                                                                       {'n', "\n"},
                                                                       {'v', "\v"},
                                                                       {'f', "\f"},
                                                                       {'r', "\r"},
                                                                       {'e', "\x1B"},
                                                                       {' ', " "},
                                                                       {'"', "\""},
                                                                       {'\\', "\\"},
                                                                       {'N', "\xC2\x85"},
                                                                       {'_', "\xC2\xA0"},
                                                                       {'L', "\xE2\x80\xA8"},
                                                                       {'P', "\xE2\x80\xA9"}};
  const auto hexadecimal = [&](std::size_t ahead, std::size_t digits) -> std::optional<std::uint32_t> {
    std::uint32_t number = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const int digit = hex_digit(at(ahead + i));
      if (digit < 0) return std::nullopt;
      number = number * 16 + static_cast<std::uint32_t>(digit);
    }
    return number;
  };

  forward(1);
  const char c = at();
  for (const auto& [name, replacement] : replacements) {
    if (name != c || at_end()) continue;
    text += replacement;
    forward(1);
    return;
  }
  if (c == 'x' || c == 'u' || c == 'U') {
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
    std::optional<std::uint32_t> number = hexadecimal(1, digits);
    if (!number || *number > 0x10FFFF) {
      forward(1);
      fail_here(
          fmt::format("expected escape sequence of {} hexadecimal numbers, but found: {}", digits, text_.substr(mark_.offset, digits)),
          "in a quoted text", begin);
    }
    forward(1 + digits);
    const bool high = *number >= 0xD800 && *number < 0xDC00;
    if (high && at() == '\\' && at(1) == 'u') {  // the two halves of a character beyond U+FFFF
      const std::optional<std::uint32_t> low = hexadecimal(2, 4);
      if (low && *low >= 0xDC00 && *low < 0xE000) {
        number = 0x10000 + ((*number - 0xD800) << 10U) + (*low - 0xDC00);
        forward(6);
      }
    }
    append_utf8(text, *number >= 0xD800 && *number < 0xE000 ? '?' : *number);  // half a character has no UTF-8
    return;
  }
  if (break_length() > 0) {
    take_break();
    text += scan_quoted_breaks(begin);
    return;
  }
  fail_here(fmt::format("found unknown escape character {}", character_here()), "in a quoted text", begin);
}

void YamlScanner::scan_quoted_spaces(std::string& text, const YamlMark& begin) {
  std::size_t length = 0;
  while (at(length) == ' ' || at(length) == '\t') ++length;
  const std::string_view blanks = text_.substr(mark_.offset, length);
  forward(length);
  if (at_end()) fail_here("found unexpected end of stream", "in a quoted text", begin);
  const std::string line_break = take_break();
  if (line_break.empty()) {
    text += blanks;
    return;
  }
  const std::string breaks = scan_quoted_breaks(begin);
  if (line_break != "\n") {
    text += line_break;
  } else if (breaks.empty()) {
    text += ' ';
  }
  text += breaks;
}

std::string YamlScanner::scan_quoted_breaks(const YamlMark& begin) {
  std::string breaks;
  while (true) {
    if (mark_.column == 0 && at_document_mark()) fail_here("found unexpected document separator", "in a quoted text", begin);
    std::size_t length = 0;
    while (at(length) == ' ' || at(length) == '\t') ++length;
    forward(length);
    if (break_length() == 0) return breaks;
    breaks += take_break();
  }
}

// ---- plain scalars ------------------------------------------------------------------------------------------------------

void YamlScanner::fetch_plain_scalar() {
  save_possible_key();
  allow_key_ = false;
  const YamlMark begin = mark_;
  const std::int64_t least_indent = indent_ + 1;
  const bool flow = flow_level_ > 0;
  std::string text;
  std::string spaces;
  std::size_t first_line = 0;
  while (at() != '#') {
    std::size_t length = 0;
    while (!is_blank_or_end(length) && !(at(length) == ':' && is_blank_or_end(length + 1, flow ? ",[]{}" : "")) &&
           !(flow && is_one_of(at(length), ",?[]{}"))) {
      ++length;
    }
    if (length == 0) break;
    allow_key_ = false;
    text += spaces;
    text.append(text_, mark_.offset, length);
    forward(length);
    if (mark_.line == begin.line) first_line = mark_.offset - begin.offset;
    spaces = scan_plain_spaces();
    if (spaces.empty() || at() == '#' || (!flow && static_cast<std::int64_t>(mark_.column) < least_indent)) break;
  }
  YamlToken token;
  token.kind = Kind::scalar;
  token.plain = true;
  token.start = begin;
  token.text = std::move(text);
  token.length = std::max<std::size_t>(first_line, 1);
  tokens_.push_back(std::move(token));
}

/// What stands between two words: the blanks, or the folded line ends. Empty where a document ends.
std::string YamlScanner::scan_plain_spaces() {
  std::size_t length = 0;
  while (at(length) == ' ' || at(length) == '\t') ++length;
  std::string blanks(text_.substr(mark_.offset, length));
  forward(length);
  const std::string line_break = take_break();
  if (line_break.empty()) return blanks;
  allow_key_ = true;
  const auto at_document_end = [&] { return text_.substr(mark_.offset, 3) == "---" || at_document_mark(); };
  if (at_document_end()) return {};
  std::string breaks;
  while (at() == ' ' || break_length() > 0) {
    if (at() == ' ') {
      forward(1);
      continue;
    }
    breaks += take_break();
    if (at_document_end()) return {};
  }
  if (line_break != "\n") return line_break + breaks;
  return breaks.empty() ? " " : breaks;
}

}  // namespace digdag::dig
