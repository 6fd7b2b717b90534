#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace digdag::dig {

/// Cuts JavaScript into tokens, as far as it takes to know what is code and what is a string, a comment or a regular
/// expression. Never fails: what it does not know is a token of one byte.
class JsTokens {
 public:
  enum class Kind : std::uint8_t { end, word, number, string, regex, sign, broken };
  struct Token {
    Kind kind = Kind::end;
    std::string_view text;
    std::size_t at = 0;  ///< offset in the source
  };

  explicit JsTokens(std::string_view source) : source_(source) {}

  /// The next token; `broken` for a string, comment or regular expression without end (then everything is consumed).
  Token next();

 private:
  bool skip_blanks();
  Token take(Kind kind, std::size_t length);
  Token string_token();
  Token regex_token();
  Token number_token();

  std::string_view source_;
  std::size_t at_ = 0;
  bool regex_may_follow_ = true;  ///< a `/` starts a regular expression, for what stood before it ends no value
};

/// Whether a byte may stand in a word (a letter, digit, `_`, `$` or a byte of a character beyond ASCII).
bool is_js_word_byte(char c);
/// The length of the white space at the start of `text`: one blank, tab, line end or Unicode space; 0 where there is none.
std::size_t js_space_length(std::string_view text);

}  // namespace digdag::dig
