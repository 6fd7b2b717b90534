#include "dig/yaml_scanner.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "dig/yaml_characters.h"

namespace digdag::dig {
namespace {

using Kind = YamlToken::Kind;

constexpr std::size_t longest_key = 1024;  // characters from the start of an implicit key to its colon

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80; }

std::string_view hint_for(std::string_view problem, std::string_view line, std::size_t column) {
  if (problem.starts_with("mapping values are"))
    return "keys of one map stand in one column, and each ends with a colon; text that holds `: ` must stand in quotes, or on lines of its "
           "own after `|`";
  if (problem.starts_with("sequence entries are not allowed")) return "a list starts on a line of its own, or is written as [a, b]";
  if (problem.find("(TAB)") != std::string_view::npos) return "use blanks instead of the TAB";
  if (problem.find("cannot start any token") != std::string_view::npos) return "text that starts with this character must stand in quotes";
  if (problem.find("unknown escape character") != std::string_view::npos) return "write \\\\ for a backslash, or use single quotes";
  if (problem.find("expected ',' or") != std::string_view::npos && column > 0 && column < line.size() && line[column] == '{' &&
      line[column - 1] == '$') {
    return "within [ ] and { } a text with ${…} must stand in quotes";
  }
  if (problem.find("found '<scalar>'") != std::string_view::npos) return "nothing may follow a quoted text; put the whole value in quotes";
  if (problem.find("<block mapping start>") != std::string_view::npos || problem.find("<block sequence start>") != std::string_view::npos) {
    return "this line is indented otherwise than its neighbours";
  }
  return {};
}

}  // namespace

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::stream_end: return "<stream end>";
    case Kind::version_directive:
    case Kind::tag_directive:
    case Kind::other_directive: return "<directive>";
    case Kind::document_start: return "<document start>";
    case Kind::document_end: return "<document end>";
    case Kind::block_sequence_start: return "<block sequence start>";
    case Kind::block_mapping_start: return "<block mapping start>";
    case Kind::block_end: return "<block end>";
    case Kind::flow_sequence_start: return "[";
    case Kind::flow_mapping_start: return "{";
    case Kind::flow_sequence_end: return "]";
    case Kind::flow_mapping_end: return "}";
    case Kind::block_entry: return "-";
    case Kind::flow_entry: return ",";
    case Kind::key: return "?";
    case Kind::value: return ":";
    case Kind::alias: return "<alias>";
    case Kind::anchor: return "<anchor>";
    case Kind::tag: return "<tag>";
    case Kind::scalar: return "<scalar>";
  }
  return "";
}

YamlScanner::YamlScanner(std::string_view text, std::uint16_t file) : text_(text), file_(file), possible_keys_(1) {
  if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
}

const YamlToken& YamlScanner::peek() {
  while (need_more_tokens()) fetch_more_tokens();
  return tokens_.front();
}

YamlToken YamlScanner::take() {
  peek();
  YamlToken token = std::move(tokens_.front());
  if (token.kind != Kind::stream_end) {
    tokens_.pop_front();
    ++tokens_taken_;
  }
  return token;
}

YamlMark YamlScanner::take_mark() { return take().start; }

bool YamlScanner::next_is(std::initializer_list<Kind> kinds) { return std::find(kinds.begin(), kinds.end(), peek().kind) != kinds.end(); }

Position YamlScanner::position(const YamlMark& mark) const {
  return {mark.line + 1, static_cast<std::uint16_t>(std::min<std::uint32_t>(mark.column + 1, 65535)), file_};
}

void YamlScanner::fail(std::string problem, const YamlMark& where, std::string_view context, const YamlMark& begin,
                       std::size_t length) const {
  const std::size_t line_start = where.offset == 0 ? 0 : text_.rfind('\n', where.offset - 1) + 1;
  std::string_view line = text_.substr(line_start, text_.find('\n', where.offset) - line_start);
  if (line.ends_with('\r')) line.remove_suffix(1);
  std::string hint(hint_for(problem, line, where.offset - line_start));
  if (!context.empty() && begin.line != where.line) {
    if (!hint.empty()) hint += "; ";
    hint += fmt::format("{} that starts at line {}, column {}", context, begin.line + 1, begin.column + 1);
  }
  Error error = Error("parser", std::move(problem))
                    .at(position(where))
                    .source(std::string(line), static_cast<unsigned>(std::max<std::size_t>(length, 1)));
  throw hint.empty() ? std::move(error) : std::move(error).hint(std::move(hint));
}

void YamlScanner::fail_here(std::string problem, std::string_view context, const YamlMark& begin) const {
  fail(std::move(problem), mark_, context, begin);
}

// ---- characters ---------------------------------------------------------------------------------------------------------

std::size_t YamlScanner::break_length(std::size_t ahead) const {
  const std::string_view rest = text_.substr(std::min(mark_.offset + ahead, text_.size()));
  if (rest.empty()) return 0;
  switch (static_cast<unsigned char>(rest[0])) {
    case '\n': return 1;
    case '\r': return rest.starts_with("\r\n") ? 2 : 1;
    case 0xC2: return rest.starts_with("\xC2\x85") ? 2 : 0;
    case 0xE2: return rest.starts_with("\xE2\x80\xA8") || rest.starts_with("\xE2\x80\xA9") ? 3 : 0;
    default: return 0;
  }
}

bool YamlScanner::is_blank_or_end(std::size_t ahead, std::string_view others) const {
  if (at_end(ahead)) return true;
  const char c = at(ahead);
  return c == ' ' || c == '\t' || is_one_of(c, others) || break_length(ahead) > 0;
}

bool YamlScanner::at_document_mark() const {
  const std::string_view start = text_.substr(mark_.offset, 3);
  return (start == "---" || start == "...") && is_blank_or_end(3);
}

void YamlScanner::forward(std::size_t bytes) {
  const std::size_t end = std::min(mark_.offset + bytes, text_.size());
  while (mark_.offset < end) {
    const std::size_t line_end = break_length();
    if (line_end > 0) {
      mark_.offset += line_end;
      mark_.index += line_end == 2 && text_[mark_.offset - 2] == '\r' ? 2 : 1;
      ++mark_.line;
      mark_.column = 0;
      continue;
    }
    ++mark_.offset;
    while (mark_.offset < text_.size() && continues_character(text_[mark_.offset])) ++mark_.offset;
    ++mark_.index;
    ++mark_.column;
  }
}

void YamlScanner::skip_blanks() {
  std::size_t blanks = 0;
  while (at(blanks) == ' ') ++blanks;
  forward(blanks);
}

/// Takes the line break that stands here: `\n` for all that end a line, the character itself for the Unicode separators.
std::string YamlScanner::take_break() {
  const std::size_t length = break_length();
  if (length == 0) return {};
  std::string text = length == 3 ? std::string(text_.substr(mark_.offset, 3)) : "\n";
  forward(length);
  return text;
}

std::string YamlScanner::character_here() const {
  if (at_end()) return "end of the file";
  if (break_length() > 0) return "end of the line";
  std::size_t length = 1;
  while (mark_.offset + length < text_.size() && continues_character(text_[mark_.offset + length])) ++length;
  return at() == '\t' ? "\\t(TAB)" : std::string(text_.substr(mark_.offset, length));
}

// ---- structure ----------------------------------------------------------------------------------------------------------

bool YamlScanner::need_more_tokens() {
  if (done_) return false;
  if (tokens_.empty()) return true;
  // The first token may still turn out to be a key, before which another token must be put.
  remove_stale_keys();
  return std::any_of(possible_keys_.begin(), possible_keys_.end(),
                     [&](const auto& key) { return key && key->token_number == tokens_taken_; });
}

void YamlScanner::fetch_more_tokens() {
  skip_to_token();
  remove_stale_keys();
  unwind_indent(mark_.column);
  if (at_end()) return fetch_stream_end();
  const char c = at();
  if (mark_.column == 0) {
    if (c == '%') return fetch_directive();
    if (at_document_mark()) return fetch_document_mark(c == '-' ? Kind::document_start : Kind::document_end);
  }
  switch (c) {
    case '[': return fetch_flow_start(Kind::flow_sequence_start);
    case '{': return fetch_flow_start(Kind::flow_mapping_start);
    case ']': return fetch_flow_end(Kind::flow_sequence_end);
    case '}': return fetch_flow_end(Kind::flow_mapping_end);
    case ',': return fetch_flow_entry();
    case '-':
      if (is_blank_or_end(1)) return fetch_block_entry();
      break;
    case '?':
      if (flow_level_ > 0 || is_blank_or_end(1)) return fetch_key();
      break;
    case ':':
      if (flow_level_ > 0 || is_blank_or_end(1)) return fetch_value();
      break;
    case '*': return fetch_anchor(Kind::alias);
    case '&': return fetch_anchor(Kind::anchor);
    case '!': return fetch_tag();
    case '|':
    case '>':
      if (flow_level_ == 0) return fetch_block_scalar(c == '>');
      break;
    case '\'':
    case '"': return fetch_quoted_scalar(c == '"');
    default: break;
  }
  const bool dash = c == '-' || (flow_level_ == 0 && (c == '?' || c == ':'));
  if ((!is_one_of(c, "-?:,[]{}#&*!|>'\"%@`") && !is_blank_or_end(0)) || (dash && !is_blank_or_end(1))) return fetch_plain_scalar();
  fail_at_unknown_character();
}

void YamlScanner::fail_at_unknown_character() const {
  const std::string character = character_here();
  fail_here(fmt::format("found character '{}' that cannot start any token. (Do not use {} for indentation)", character, character), {}, {});
}

/// Skips blanks, comments and line ends. A TAB is no blank here.
void YamlScanner::skip_to_token() {
  while (true) {
    skip_blanks();
    if (at() == '#') {
      std::size_t length = 0;
      while (!is_break_or_end(length)) ++length;
      forward(length);
    }
    const std::size_t line_end = break_length();
    if (line_end == 0) return;
    forward(line_end);
    if (flow_level_ == 0) allow_key_ = true;
  }
}

void YamlScanner::remove_stale_keys() {
  for (std::optional<PossibleKey>& key : possible_keys_) {
    if (!key || (key->mark.line == mark_.line && mark_.index - key->mark.index <= longest_key)) continue;
    if (key->required) fail_here("could not find expected ':'", "in a key", key->mark);
    key.reset();
  }
}

void YamlScanner::save_possible_key() {
  if (!allow_key_) return;
  remove_possible_key();
  const bool required = flow_level_ == 0 && indent_ == static_cast<std::int64_t>(mark_.column);
  possible_keys_[flow_level_] = PossibleKey{tokens_taken_ + tokens_.size(), required, mark_};
}

void YamlScanner::remove_possible_key() {
  std::optional<PossibleKey>& key = possible_keys_[flow_level_];
  if (key && key->required) fail_here("could not find expected ':'", "in a key", key->mark);
  key.reset();
}

void YamlScanner::unwind_indent(std::int64_t column) {
  if (flow_level_ > 0) return;
  while (indent_ > column) {
    indent_ = indents_.back();
    indents_.pop_back();
    add(Kind::block_end, 0);
  }
}

bool YamlScanner::add_indent(std::int64_t column) {
  if (indent_ >= column) return false;
  indents_.push_back(indent_);
  indent_ = column;
  return true;
}

/// Adds a token of so many bytes that starts here, and steps over it.
YamlToken& YamlScanner::add(Kind kind, std::size_t length) {
  YamlToken& token = tokens_.emplace_back();
  token.kind = kind;
  token.start = mark_;
  token.length = std::max<std::size_t>(length, 1);
  forward(length);
  return token;
}

void YamlScanner::insert(std::size_t token_number, Kind kind, const YamlMark& mark) {
  YamlToken token;
  token.kind = kind;
  token.start = mark;
  tokens_.insert(tokens_.begin() + static_cast<std::ptrdiff_t>(token_number - tokens_taken_), std::move(token));
}

// ---- tokens -------------------------------------------------------------------------------------------------------------

void YamlScanner::fetch_stream_end() {
  unwind_indent(-1);
  remove_possible_key();
  allow_key_ = false;
  possible_keys_.assign(1, std::nullopt);
  add(Kind::stream_end, 0);
  done_ = true;
}

void YamlScanner::fetch_directive() {
  unwind_indent(-1);
  remove_possible_key();
  allow_key_ = false;
  const YamlMark begin = mark_;
  forward(1);
  std::size_t length = 0;
  while (is_word(at(length))) ++length;
  if (length == 0) fail_here(fmt::format("expected the name of a directive, but found {}", character_here()), "in a directive", begin);
  const std::string name(text_.substr(mark_.offset, length));
  forward(length);
  if (at() == '\t' || !is_blank_or_end(0))
    fail_here(fmt::format("expected the name of a directive, but found {}", character_here()), "in a directive", begin);
  if (name == "YAML") return fetch_version(begin);
  if (name == "TAG") return fetch_tag_directive(begin);
  YamlToken token;
  token.kind = Kind::other_directive;
  token.start = begin;
  tokens_.push_back(std::move(token));
  while (!is_break_or_end(0)) forward(1);
  scan_rest_of_line("in a directive", begin);
}

void YamlScanner::fetch_version(const YamlMark& begin) {
  skip_blanks();
  std::string numbers[2];
  for (std::string& number : numbers) {
    std::size_t digits = 0;
    while (is_digit(at(digits))) ++digits;
    if (digits == 0) fail_here(fmt::format("expected a digit, but found {}", character_here()), "in a directive", begin);
    number = text_.substr(mark_.offset, digits);
    forward(digits);
    if (&number == numbers) {
      if (at() != '.') fail_here(fmt::format("expected a digit or '.', but found {}", character_here()), "in a directive", begin);
      forward(1);
    }
  }
  if (at() == '\t' || !is_blank_or_end(0))
    fail_here(fmt::format("expected a digit or ' ', but found {}", character_here()), "in a directive", begin);
  YamlToken token;
  token.kind = Kind::version_directive;
  token.start = begin;
  token.text = numbers[0];
  tokens_.push_back(std::move(token));
  scan_rest_of_line("in a directive", begin);
}

void YamlScanner::fetch_tag_directive(const YamlMark& begin) {
  YamlToken token;
  token.kind = Kind::tag_directive;
  token.start = begin;
  skip_blanks();
  token.handle = scan_tag_handle("in a directive", begin);
  if (at() != ' ') fail_here(fmt::format("expected ' ', but found {}", character_here()), "in a directive", begin);
  skip_blanks();
  token.text = scan_tag_uri("in a directive", begin);
  if (at() == '\t' || !is_blank_or_end(0)) fail_here(fmt::format("expected ' ', but found {}", character_here()), "in a directive", begin);
  tokens_.push_back(std::move(token));
  scan_rest_of_line("in a directive", begin);
}

void YamlScanner::fetch_document_mark(Kind kind) {
  unwind_indent(-1);
  remove_possible_key();
  allow_key_ = false;
  add(kind, 3);
}

void YamlScanner::fetch_flow_start(Kind kind) {
  save_possible_key();
  ++flow_level_;
  possible_keys_.emplace_back();
  allow_key_ = true;
  add(kind, 1);
}

void YamlScanner::fetch_flow_end(Kind kind) {
  remove_possible_key();
  if (flow_level_ > 0) {
    --flow_level_;
    possible_keys_.pop_back();
  }
  allow_key_ = false;
  add(kind, 1);
}

void YamlScanner::fetch_flow_entry() {
  allow_key_ = true;
  remove_possible_key();
  add(Kind::flow_entry, 1);
}

void YamlScanner::fetch_block_entry() {
  if (flow_level_ == 0) {
    if (!allow_key_) fail_here("sequence entries are not allowed here", {}, {});
    if (add_indent(mark_.column)) add(Kind::block_sequence_start, 0);
  }
  allow_key_ = true;
  remove_possible_key();
  add(Kind::block_entry, 1);
}

void YamlScanner::fetch_key() {
  if (flow_level_ == 0) {
    if (!allow_key_) fail_here("mapping keys are not allowed here", {}, {});
    if (add_indent(mark_.column)) add(Kind::block_mapping_start, 0);
  }
  allow_key_ = flow_level_ == 0;
  remove_possible_key();
  add(Kind::key, 1);
}

void YamlScanner::fetch_value() {
  if (const std::optional<PossibleKey> key = std::exchange(possible_keys_[flow_level_], std::nullopt)) {
    insert(key->token_number, Kind::key, key->mark);
    if (flow_level_ == 0 && add_indent(key->mark.column)) insert(key->token_number, Kind::block_mapping_start, key->mark);
    allow_key_ = false;
  } else {
    if (flow_level_ == 0) {
      if (!allow_key_) fail_here("mapping values are not allowed here", {}, {});
      if (add_indent(mark_.column)) add(Kind::block_mapping_start, 0);
    }
    allow_key_ = flow_level_ == 0;
    remove_possible_key();
  }
  add(Kind::value, 1);
}

void YamlScanner::fetch_anchor(Kind kind) {
  save_possible_key();
  allow_key_ = false;
  const YamlMark begin = mark_;
  const std::string_view context = kind == Kind::alias ? "in an alias" : "in an anchor";
  std::size_t length = 1;
  while (!is_blank_or_end(length, ":,[]{}/.*&")) ++length;
  const bool ends_well = is_blank_or_end(length, "?:,]}%@`");
  if (length == 1 || !ends_well) {
    forward(length);
    fail_here(fmt::format("unexpected character found {}", character_here()), context, begin);
  }
  YamlToken& token = add(kind, length);
  token.text = text_.substr(begin.offset + 1, length - 1);
}

void YamlScanner::fetch_tag() {
  save_possible_key();
  allow_key_ = false;
  const YamlMark begin = mark_;
  YamlToken token;
  token.kind = Kind::tag;
  token.start = begin;
  if (at(1) == '<') {
    forward(2);
    token.text = scan_tag_uri("in a tag", begin);
    if (at() != '>') fail_here(fmt::format("expected '>', but found '{}'", character_here()), "in a tag", begin);
    forward(1);
  } else if (is_blank_or_end(1)) {
    token.text = "!";
    forward(1);
  } else {
    std::size_t length = 1;
    while (!is_break_or_end(length) && at(length) != ' ' && at(length) != '!') ++length;
    if (at(length) == '!') {
      token.handle = scan_tag_handle("in a tag", begin);
    } else {
      token.handle = "!";
      forward(1);
    }
    token.text = scan_tag_uri("in a tag", begin);
  }
  if (at() == '\t' || !is_blank_or_end(0)) fail_here(fmt::format("expected ' ', but found '{}'", character_here()), "in a tag", begin);
  token.length = mark_.offset - begin.offset;
  tokens_.push_back(std::move(token));
}

std::string YamlScanner::scan_tag_handle(std::string_view context, const YamlMark& begin) {
  if (at() != '!') fail_here(fmt::format("expected '!', but found '{}'", character_here()), context, begin);
  std::size_t length = 1;
  if (at(1) != ' ') {
    while (is_word(at(length))) ++length;
    if (at(length) != '!') {
      forward(length);
      fail_here(fmt::format("expected '!', but found '{}'", character_here()), context, begin);
    }
    ++length;
  }
  std::string handle(text_.substr(mark_.offset, length));
  forward(length);
  return handle;
}

std::string YamlScanner::scan_tag_uri(std::string_view context, const YamlMark& begin) {
  std::string uri;
  while (is_word(at()) || is_one_of(at(), ";/?:@&=+$,.!~*'()[]%")) {
    if (at() == '%') {
      uri += static_cast<char>(scan_escaped_byte(context, begin));
    } else {
      uri += at();
      forward(1);
    }
  }
  if (uri.empty()) fail_here(fmt::format("expected URI, but found '{}'", character_here()), context, begin);
  return to_valid_utf8(uri);
}

unsigned YamlScanner::scan_escaped_byte(std::string_view context, const YamlMark& begin) {
  forward(1);
  const int high = hex_digit(at());
  const int low = hex_digit(at(1));
  if (high < 0 || low < 0) fail_here("expected URI escape sequence of 2 hexadecimal numbers", context, begin);
  forward(2);
  return static_cast<unsigned>(high * 16 + low);
}

void YamlScanner::scan_rest_of_line(std::string_view context, const YamlMark& begin) {
  skip_blanks();
  if (at() == '#') {
    while (!is_break_or_end(0)) forward(1);
  }
  if (!is_break_or_end(0)) fail_here(fmt::format("expected a comment or a line break, but found {}", character_here()), context, begin);
  forward(break_length());
}

}  // namespace digdag::dig
