#include "dig/harmless.h"

#include <algorithm>
#include <array>

#include "dig/js_tokens.h"

namespace digdag::dig {
namespace {

using Kind = JsTokens::Kind;

template <std::size_t Size>
bool contains(const std::array<std::string_view, Size>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

constexpr std::array<std::string_view, 5> functions = {"moment", "String", "Number", "parseInt", "parseFloat"};

/// They change at most the object that they are called on, which the expression has made: what is shared cannot be named.
constexpr std::array<std::string_view, 30> methods = {
    "add",   "subtract", "startOf", "endOf",  "clone",     "format", "utc",     "unix",        "valueOf",     "year",
    "date",  "month",    "day",     "hour",   "minute",    "second", "week",    "isoWeek",     "diff",        "toISOString",
    "slice", "isBefore", "isAfter", "isSame", "substring", "substr", "indexOf", "toUpperCase", "toLowerCase", "trim"};

/// Ways to what is shared, and to changing something without a call or an assignment.
constexpr std::array<std::string_view, 7> refused = {"prototype", "fn", "constructor", "__proto__", "new", "delete", "function"};

constexpr std::array<std::string_view, 24> signs = {"(", ")", ".", ",", "+",  "-",  "*",  "/",  "%",   "?",   ":",  "<",
                                                    ">", "!", "&", "|", "&&", "||", "==", "!=", "===", "!==", "<=", ">="};

bool may_be_called(const JsTokens::Token& before_name, const JsTokens::Token& name) {
  if (name.kind == Kind::end) return true;  // not a call
  if (name.kind == Kind::sign) return name.text != ")";
  if (name.kind != Kind::word) return false;
  return before_name.text == "." ? contains(methods, name.text) : contains(functions, name.text);
}

}  // namespace

bool is_harmless(std::string_view expression) {
  // Where comments and lines end is what tokenizers differ in; nobody needs them here.
  for (const std::string_view doubtful : {"//", "/*", "<!--", "-->", "\r", "\u2028", "\u2029"}) {
    if (expression.find(doubtful) != std::string_view::npos) return false;
  }
  JsTokens tokens(expression);
  JsTokens::Token before, last;
  std::size_t end = 0;     // of the last token
  bool in_format = false;  // between the brackets of `format(…)`
  for (;;) {
    const JsTokens::Token token = tokens.next();
    // What is a blank is another such thing. Texts may be of any characters.
    const std::string_view code = expression.substr(end, token.kind == Kind::string ? token.at - end : token.at + token.text.size() - end);
    if (!std::all_of(code.begin(), code.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; })) return false;
    end = token.at + token.text.size();
    // moment remembers formats by their texts: data that is no text is a format only where its text was used before.
    if (in_format && token.text != ")" && (token.kind != Kind::string || last.text != "(")) return false;
    switch (token.kind) {
      case Kind::end: return true;
      case Kind::word:
        if (contains(refused, token.text)) return false;
        break;
      case Kind::sign:
        if (!contains(signs, token.text)) return false;
        if (token.text == "(" && !may_be_called(before, last)) return false;
        in_format = token.text == "(" && last.text == "format";
        break;
      case Kind::number:  // its token takes in what follows a dot: `0..constructor`
        if (token.text.find_first_not_of("0123456789.") != std::string_view::npos) return false;
        break;
      case Kind::string: break;
      default: return false;
    }
    before = last;
    last = token;
  }
}

}  // namespace digdag::dig
