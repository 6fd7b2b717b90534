#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace digdag {
namespace {

constexpr std::size_t deepest_nesting = 200;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// RFC 8259, with open lists and objects on a stack of its own: foreign text cannot exhaust the thread's.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (!is_valid_utf8(text)) check_encoding();
  }

  Value value();
  /// Fails unless only blanks follow.
  void end() {
    skip_blanks();
    if (at_ < text_.size()) fail("there is text behind the end of the value");
  }

 private:
  struct Open {
    bool is_object;
    std::size_t first;  ///< of `pending_`
  };

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\r' || text_[at_] == '\t')) ++at_;
  }
  bool begin_value();
  void open(bool is_object);
  bool is_closed();
  void close();
  bool has_next();
  void key();
  Value word();
  Value number();
  std::string_view string();
  void escape();
  char32_t hex4();
  void check_encoding();
  [[noreturn]] void fail(std::string_view what) const;

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<Open> open_;
  std::vector<Object::Member> pending_;  ///< what was read of all open lists (without keys) and objects
  std::string unescaped_;
};

Value Parser::value() {
  for (;;) {
    if (!begin_value()) continue;
    for (;;) {
      if (open_.empty()) return std::move(pending_.back().value);
      if (has_next()) break;
      close();
    }
  }
}

/// Reads a value that is complete; false where a list or an object was opened whose first value is to be read next.
bool Parser::begin_value() {
  skip_blanks();
  if (at_ >= text_.size()) fail("the text ends where a value is expected");
  const char c = text_[at_];
  if (c == '{' || c == '[') {
    open(c == '{');
    if (is_closed()) {
      close();
      return true;
    }
    if (c == '{') key();
    return false;
  }
  if (open_.empty() || !open_.back().is_object) pending_.emplace_back();
  pending_.back().value = c == '"' ? Value(string()) : c == '-' || is_digit(c) ? number() : word();
  return true;
}

void Parser::open(bool is_object) {
  if (open_.size() >= deepest_nesting) fail(fmt::format("nested deeper than {} levels", deepest_nesting));
  ++at_;
  if (open_.empty() || !open_.back().is_object) pending_.emplace_back();
  open_.push_back({is_object, pending_.size()});
}

/// Steps over the end of the innermost list or object, if it is here.
bool Parser::is_closed() {
  const char bracket = open_.back().is_object ? '}' : ']';
  skip_blanks();
  if (at_ >= text_.size()) fail(fmt::format("the text ends before the closing '{}'", bracket));
  if (text_[at_] != bracket) return false;
  ++at_;
  return true;
}

/// Makes a value of the innermost list or object.
void Parser::close() {
  const Open done = open_.back();
  open_.pop_back();
  const auto first = pending_.begin() + static_cast<std::ptrdiff_t>(done.first);
  Value value;
  if (done.is_object) {
    value = Object(std::vector<Object::Member>(std::make_move_iterator(first), std::make_move_iterator(pending_.end())));
  } else {
    Array elements;
    elements.reserve(pending_.size() - done.first);
    for (auto i = first; i != pending_.end(); ++i) elements.push_back(std::move(i->value));
    value = std::move(elements);
  }
  pending_.erase(first, pending_.end());
  pending_.back().value = std::move(value);
}

/// After a value: whether another one follows in the innermost list or object, whose key is read then.
bool Parser::has_next() {
  if (is_closed()) return false;
  const bool is_object = open_.back().is_object;
  if (peek() != ',') fail(is_object ? "expected ',' or '}' after the value of a key" : "expected ',' or ']' after an element of a list");
  ++at_;
  if (is_object) key();
  return true;
}

void Parser::key() {
  skip_blanks();
  if (peek() != '"') fail("expected a key in double quotes");
  pending_.emplace_back().key = string();
  skip_blanks();
  if (peek() != ':') fail("expected ':' after a key");
  ++at_;
}

Value Parser::word() {
  std::size_t end = at_;
  while (end < text_.size() && end - at_ < 40 && (std::isalnum(static_cast<unsigned char>(text_[end])) || text_[end] == '_')) ++end;
  const std::string_view word = text_.substr(at_, end - at_);
  Value value;
  if (word == "true" || word == "false") {
    value = word == "true";
  } else if (word != "null") {
    if (word.empty()) fail("expected a value");
    fail(fmt::format("'{}' is not a value (a text needs double quotes)", word));
  }
  at_ = end;
  return value;
}

Value Parser::number() {
  const std::size_t begin = at_;
  const auto digits = [&] {
    if (!is_digit(peek())) fail("expected a digit");
    while (is_digit(peek())) ++at_;
  };
  if (peek() == '-') ++at_;
  if (peek() == '0') {
    ++at_;
    if (is_digit(peek())) fail("a number must not start with 0");
  } else {
    digits();
  }
  bool is_integer = true;
  if (peek() == '.') {
    is_integer = false;
    ++at_;
    digits();
  }
  if (peek() == 'e' || peek() == 'E') {
    is_integer = false;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    digits();
  }
  const std::string_view number = text_.substr(begin, at_ - begin);
  if (is_integer) return Value::integer_of(number);
  double d = 0;
  if (std::from_chars(number.data(), number.data() + number.size(), d).ec == std::errc()) return Value(d);
  return Value(std::strtod(std::string(number).c_str(), nullptr));  // too large or too small: infinity or 0
}

/// The content of the string that starts here; valid until the next call.
std::string_view Parser::string() {
  const std::size_t begin = ++at_;
  const auto plain = [](char c) { return c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20; };
  while (at_ < text_.size() && plain(text_[at_])) ++at_;
  if (peek() == '"') return text_.substr(begin, at_++ - begin);

  unescaped_.assign(text_, begin, at_ - begin);
  for (;;) {
    if (at_ >= text_.size()) fail("the text ends inside of a string");
    if (text_[at_] == '"') break;
    if (text_[at_] == '\\') {
      escape();
    } else if (plain(text_[at_])) {
      unescaped_ += text_[at_++];
    } else {
      fail("a control character (such as a line end) inside of a string must be written as an escape");
    }
  }
  ++at_;
  return unescaped_;
}

void Parser::escape() {
  const char c = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
  static constexpr std::string_view letters = "\"\\/bfnrt";
  static constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
  if (const std::size_t i = letters.find(c); i != std::string_view::npos) {
    unescaped_ += meanings[i];
    at_ += 2;
    return;
  }
  if (c != 'u') fail("unknown escape in a string");
  char32_t unit = hex4();
  const bool high = unit >= 0xD800 && unit < 0xDC00;
  if (high && text_.substr(at_).starts_with("\\u")) {
    const std::size_t second = at_;
    const char32_t low = hex4();
    if (low >= 0xDC00 && low < 0xE000) {
      append_utf8(unescaped_, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
      return;
    }
    at_ = second;
  }
  // Half of a surrogate pair alone (Python writes such for undecodable file names) is no character.
  if (unit >= 0xD800 && unit < 0xE000) unit = 0xFFFD;
  append_utf8(unescaped_, unit);
}

/// The code unit of the `\uXXXX` that starts here.
char32_t Parser::hex4() {
  unsigned unit = 0;
  const std::string_view digits = text_.substr(at_ + 2, 4);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
  if (digits.size() != 4 || error != std::errc() || end != digits.data() + 4) fail("expected four hexadecimal digits after \\u");
  at_ += 6;
  return unit;
}

void Parser::check_encoding() {
  for (at_ = 0; at_ < text_.size();) {
    std::size_t end = at_ + 1;
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
    if (!is_valid_utf8(text_.substr(at_, end - at_))) fail("the text is not UTF-8");
    at_ = end;
  }
}

void Parser::fail(std::string_view what) const {
  const std::string_view before = text_.substr(0, at_);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  const std::string_view in_line = before.substr(line_start);
  const auto column =
      1 + std::count_if(in_line.begin(), in_line.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  throw Error("parser", fmt::format("invalid JSON at line {}, column {}: {}", line, column, what));
}

void write_string(std::string& out, std::string_view text) {
  out += '"';
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '"' && c != '\\' && static_cast<unsigned char>(c) >= 0x20) continue;
    out.append(text, done, i - done);
    done = i + 1;
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: {
        static constexpr char hex[] = "0123456789ABCDEF";
        out += {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
      }
    }
  }
  out.append(text, done);
  out += '"';
}

void write_json(std::string& out, const Value& value) {
  switch (value.kind()) {
    case Kind::null: out += "null"; return;
    case Kind::boolean: out += value.as_boolean() ? "true" : "false"; return;
    case Kind::integer: {
      char digits[24];
      out.append(digits, std::to_chars(digits, digits + sizeof digits, value.as_integer()).ptr);
      return;
    }
    case Kind::big_integer: out += value.as_string(); return;
    case Kind::number: {
      const bool finite = std::isfinite(value.as_number());
      if (!finite) out += '"';
      out += java_double(value.as_number());
      if (!finite) out += '"';
      return;
    }
    case Kind::string: write_string(out, value.as_string()); return;
    case Kind::array: {
      char separator = '[';
      for (const Value& element : value.as_array()) {
        out += separator;
        separator = ',';
        write_json(out, element);
      }
      out += value.as_array().empty() ? "[]" : "]";
      return;
    }
    case Kind::object: {
      char separator = '{';
      for (const Object::Member& member : value.as_object()) {
        out += separator;
        separator = ',';
        write_string(out, member.key);
        out += ':';
        write_json(out, member.value);
      }
      out += value.as_object().empty() ? "{}" : "}";
      return;
    }
  }
}

void write_java_text(std::string& out, const Value& value) {
  if (value.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < value.as_array().size(); ++i) {
      if (i > 0) out += ", ";
      write_java_text(out, value.as_array()[i]);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    for (std::size_t i = 0; i < value.as_object().size(); ++i) {
      if (i > 0) out += ", ";
      out += value.as_object()[i].key;
      out += '=';
      write_java_text(out, value.as_object()[i].value);
    }
    out += '}';
  } else if (value.is_string()) {
    out += value.as_string();
  } else if (value.kind() == Kind::number) {
    out += java_double(value.as_number());
  } else {
    write_json(out, value);
  }
}

}  // namespace

Value parse_json(std::string_view text) {
  Parser parser(text);
  Value value = parser.value();
  parser.end();
  return value;
}

Value parse_json_prefix(std::string_view text) { return Parser(text).value(); }

void append_as_json(std::string& out, const Value& value) { write_json(out, value); }

std::string to_json(const Value& value) {
  std::string out;
  write_json(out, value);
  return out;
}

std::string java_text(const Value& value) {
  std::string out;
  write_java_text(out, value);
  return out;
}

}  // namespace digdag
