#include "dig/js_tokens.h"

#include <algorithm>
#include <array>
#include <string>

namespace digdag::dig {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Words after which an expression begins, so that a `/` is no division.
constexpr std::array<std::string_view, 12> operator_words = {"return", "typeof", "case", "in",   "of", "delete",
                                                             "void",   "throw",  "new",  "else", "do", "instanceof"};

/// Signs of more than one byte, longest first.
constexpr std::array<std::string_view, 28> signs = {">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "=>", "**",
                                                    "?.",   "??",  "==",  "!=",  "<=",  ">=",  "&&",  "||",  "++", "--",
                                                    "<<",   ">>",  "+=",  "-=",  "*=",  "%=",  "&=",  "|="};

/// Whether a line ends here, by the four characters that JavaScript takes for it.
bool is_line_end(std::string_view text) {
  return text.starts_with('\n') || text.starts_with('\r') || text.starts_with("\u2028") || text.starts_with("\u2029");
}

}  // namespace

bool is_js_word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' || static_cast<unsigned char>(c) >= 0x80;
}

std::size_t js_space_length(std::string_view text) {
  if (text.empty()) return 0;
  const char c = text.front();
  if (c == ' ' || (c >= '\t' && c <= '\r')) return 1;
  if (text.starts_with("\u00a0")) return 2;
  for (const std::string_view space : {"\u1680", "\u180e", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"}) {
    if (text.starts_with(space)) return 3;
  }
  // U+2000 … U+200A
  if (text.starts_with("\xe2\x80") && text.size() > 2 && static_cast<unsigned char>(text[2]) >= 0x80 &&
      static_cast<unsigned char>(text[2]) <= 0x8a) {
    return 3;
  }
  return 0;
}

bool JsTokens::skip_blanks() {
  while (at_ < source_.size()) {
    const std::string_view rest = source_.substr(at_);
    if (const std::size_t space = js_space_length(rest)) {
      at_ += space;
    } else if (rest.starts_with("//")) {
      while (at_ < source_.size() && !is_line_end(source_.substr(at_))) ++at_;
    } else if (rest.starts_with("/*")) {
      const std::size_t end = source_.find("*/", at_ + 2);
      if (end == std::string_view::npos) return false;
      at_ = end + 2;
    } else {
      break;
    }
  }
  return true;
}

JsTokens::Token JsTokens::take(Kind kind, std::size_t length) {
  Token token{kind, source_.substr(at_, length), at_};
  at_ += token.text.size();
  return token;
}

JsTokens::Token JsTokens::next() {
  if (!skip_blanks()) return take(Kind::broken, source_.size());
  if (at_ == source_.size()) return {Kind::end, {}, at_};
  const char c = source_[at_];
  const char after = at_ + 1 < source_.size() ? source_[at_ + 1] : '\0';
  if (c == '\'' || c == '"') return string_token();
  if (c == '/' && regex_may_follow_) return regex_token();
  if (is_digit(c) || (c == '.' && is_digit(after))) return number_token();
  if (is_js_word_byte(c)) {
    std::size_t end = at_;
    while (end < source_.size() && is_js_word_byte(source_[end]) && js_space_length(source_.substr(end)) == 0) ++end;
    const Token token = take(Kind::word, end - at_);
    regex_may_follow_ = std::find(operator_words.begin(), operator_words.end(), token.text) != operator_words.end();
    return token;
  }
  std::size_t length = 1;
  const std::string_view rest = source_.substr(at_);
  for (const std::string_view sign : signs) {
    if (rest.starts_with(sign)) {
      length = sign.size();
      break;
    }
  }
  // `a?.5:1` is a condition and a number.
  if (length == 2 && rest.starts_with("?.") && rest.size() > 2 && is_digit(rest[2])) length = 1;
  const Token token = take(Kind::sign, length);
  regex_may_follow_ = token.text != ")" && token.text != "]" && token.text != "}" && token.text != "++" && token.text != "--";
  return token;
}

JsTokens::Token JsTokens::string_token() {
  const char quote = source_[at_];
  regex_may_follow_ = false;
  for (std::size_t i = at_ + 1; i < source_.size(); ++i) {
    if (source_[i] == '\\') {
      ++i;
    } else if (source_[i] == quote) {
      return take(Kind::string, i + 1 - at_);
    } else if (is_line_end(source_.substr(i))) {
      break;
    }
  }
  return take(Kind::broken, source_.size());
}

JsTokens::Token JsTokens::regex_token() {
  bool in_class = false;
  regex_may_follow_ = false;
  for (std::size_t i = at_ + 1; i < source_.size(); ++i) {
    const char c = source_[i];
    if (is_line_end(source_.substr(i))) break;
    if (c == '\\') {
      ++i;
    } else if (c == '[') {
      in_class = true;
    } else if (c == ']') {
      in_class = false;
    } else if (c == '/' && !in_class) {
      ++i;
      while (i < source_.size() && is_js_word_byte(source_[i])) ++i;
      return take(Kind::regex, i - at_);
    }
  }
  return take(Kind::broken, source_.size());
}

JsTokens::Token JsTokens::number_token() {
  std::size_t end = at_;
  while (end < source_.size()) {
    const char c = source_[end];
    const bool exponent_sign =
        (c == '+' || c == '-') && (source_[end - 1] == 'e' || source_[end - 1] == 'E') && !source_.substr(at_).starts_with("0x");
    if (!is_js_word_byte(c) && c != '.' && !(end > at_ && exponent_sign)) break;
    ++end;
  }
  regex_may_follow_ = false;
  return take(Kind::number, end - at_);
}

}  // namespace digdag::dig
