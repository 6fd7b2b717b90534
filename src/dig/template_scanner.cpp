#include "dig/template_scanner.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "dig/js_tokens.h"

namespace digdag::dig {
namespace {

constexpr auto npos = std::string_view::npos;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `${word:` belongs to operators (`${secret:key}`) and is no expression.
bool is_reserved(std::string_view after_brace) {
  std::size_t i = 0;
  while (i < after_brace.size() && is_lower(after_brace[i])) ++i;
  return i > 0 && i < after_brace.size() && after_brace[i] == ':';
}

/// The next `${` from `from` that starts an expression; npos where there is none.
std::size_t find_start(std::string_view text, std::size_t from) {
  for (std::size_t at = text.find("${", from); at != npos; at = text.find("${", at + 2)) {
    const std::string_view rest = text.substr(at + 2);
    if (!rest.empty() && !is_reserved(rest)) return at;
  }
  return npos;
}

/// The offset of the `}` that closes what began before `from`, braces counted wherever they stand.
std::size_t naive_end(std::string_view text, std::size_t from) {
  int depth = 0;
  for (std::size_t i = from; i < text.size(); ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth < 0) return i;
  }
  return npos;
}

/// The same, braces counted in code only.
std::size_t token_aware_end(std::string_view text, std::size_t from) {
  JsTokens tokens(text.substr(from));
  int depth = 0;
  for (auto token = tokens.next(); token.kind != JsTokens::Kind::end && token.kind != JsTokens::Kind::broken; token = tokens.next()) {
    if (token.kind != JsTokens::Kind::sign) continue;
    if (token.text == "{") ++depth;
    if (token.text == "}" && --depth < 0) return from + token.at;
  }
  return npos;
}

std::string collapse_dollars(std::string_view literal) {
  std::string out;
  out.reserve(literal.size());
  for (std::size_t i = 0; i < literal.size(); ++i) {
    out += literal[i];
    if (literal[i] == '$' && i + 1 < literal.size() && literal[i + 1] == '$') ++i;
  }
  return out;
}

/// Reads `a.b[0]['c']` from left to right.
class PathReader {
 public:
  explicit PathReader(std::string_view code) : rest_(code) {}

  std::optional<Path> read() {
    Path path;
    skip();
    path.variable = word();
    if (path.variable.empty() || is_reserved_word(path.variable)) return std::nullopt;
    for (skip(); !rest_.empty(); skip()) {
      std::optional<Path::Step> step = rest_.front() == '.' ? property() : subscript();
      if (!step) return std::nullopt;
      path.steps.push_back(std::move(*step));
    }
    return path;
  }

 private:
  /// Words that mean something else than a variable.
  static bool is_reserved_word(std::string_view word) {
    static constexpr std::array<std::string_view, 37> words = {
        "break",  "case", "catch",      "class",   "const", "continue", "debugger", "default", "delete",   "do",
        "else",   "enum", "export",     "extends", "eval",  "false",    "finally",  "for",     "function", "if",
        "import", "in",   "instanceof", "new",     "null",  "return",   "super",    "switch",  "this",     "throw",
        "true",   "try",  "typeof",     "var",     "void",  "while",    "with"};
    return std::find(words.begin(), words.end(), word) != words.end() || word == "arguments";
  }

  void skip() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t' || rest_.front() == '\n' || rest_.front() == '\r'))
      rest_.remove_prefix(1);
  }

  /// An identifier of ASCII letters, else "".
  std::string word() {
    std::size_t n = 0;
    while (n < rest_.size() && is_js_word_byte(rest_[n])) ++n;
    const std::string_view found = rest_.substr(0, n);
    const bool ascii = std::all_of(found.begin(), found.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (n == 0 || !ascii || is_digit(found.front())) return {};
    rest_.remove_prefix(n);
    return std::string(found);
  }

  std::optional<Path::Step> property() {
    rest_.remove_prefix(1);
    skip();
    std::string name = word();
    if (name.empty()) return std::nullopt;
    return Path::Step{std::move(name), std::nullopt};
  }

  std::optional<Path::Step> subscript() {
    if (rest_.front() != '[') return std::nullopt;
    rest_.remove_prefix(1);
    skip();
    if (rest_.empty()) return std::nullopt;
    std::optional<Path::Step> step = rest_.front() == '\'' || rest_.front() == '"' ? quoted() : number();
    skip();
    if (!step || !rest_.starts_with(']')) return std::nullopt;
    rest_.remove_prefix(1);
    return step;
  }

  static std::optional<std::size_t> index_of(std::string_view digits) {
    if (digits.empty() || digits.size() > 9 || (digits.size() > 1 && digits.front() == '0')) return std::nullopt;
    std::size_t n = 0;
    for (const char c : digits) {
      if (!is_digit(c)) return std::nullopt;
      n = n * 10 + static_cast<std::size_t>(c - '0');
    }
    return n;
  }

  std::optional<Path::Step> number() {
    std::size_t n = 0;
    while (n < rest_.size() && is_digit(rest_[n])) ++n;
    const std::string_view digits = rest_.substr(0, n);
    const std::optional<std::size_t> index = index_of(digits);
    if (!index) return std::nullopt;
    rest_.remove_prefix(n);
    return Path::Step{std::string(digits), index};
  }

  std::optional<Path::Step> quoted() {
    const char quote = rest_.front();
    const std::size_t end = rest_.find(quote, 1);
    if (end == npos) return std::nullopt;
    const std::string_view name = rest_.substr(1, end - 1);
    if (name.find_first_of("\\\n\r") != npos || name.find("\u2028") != npos || name.find("\u2029") != npos) return std::nullopt;
    rest_.remove_prefix(end + 1);
    return Path::Step{std::string(name), index_of(name)};
  }

  std::string_view rest_;
};

/// Members that every object inherits and that hand out the object of all parameters when called as a variable.
constexpr std::array<std::string_view, 8> self_revealing = {"valueOf",          "hasOwnProperty",   "propertyIsEnumerable",
                                                            "__proto__",        "__defineGetter__", "__defineSetter__",
                                                            "__lookupGetter__", "__lookupSetter__"};

/// Collects words wherever they stand, in strings too: better one too many than one too few.
void collect_identifiers(Expression& expression) {
  const std::string_view code = expression.code;
  char before = '\0';  // the last byte that was no blank
  for (std::size_t i = 0; i < code.size();) {
    if (const std::size_t space = js_space_length(code.substr(i))) {
      i += space;
      continue;
    }
    if (!is_js_word_byte(code[i])) {
      before = code[i++];
      continue;
    }
    const std::size_t start = i;
    while (i < code.size() && is_js_word_byte(code[i]) && js_space_length(code.substr(i)) == 0) ++i;
    const std::string_view word = code.substr(start, i - start);
    const bool reveals = std::find(self_revealing.begin(), self_revealing.end(), word) != self_revealing.end();
    if (word == "this" || word == "eval" || (reveals && before != '.')) expression.dynamic = true;
    if (!is_digit(word.front())) expression.identifiers.emplace_back(word);
    before = word.back();
  }
  if (code.find("\\u") != npos) expression.dynamic = true;
  std::sort(expression.identifiers.begin(), expression.identifiers.end());
  expression.identifiers.erase(std::unique(expression.identifiers.begin(), expression.identifiers.end()), expression.identifiers.end());
}

Expression make_expression(std::string_view code) {
  Expression expression;
  expression.code = std::string(code);
  expression.path = PathReader(code).read();
  collect_identifiers(expression);
  return expression;
}

}  // namespace

Template scan_template(std::string_view text, bool extended) {
  Template result;
  result.text = std::string(text);
  const auto literal = [&](std::string_view part) {
    if (!part.empty()) result.pieces.emplace_back(collapse_dollars(part));
  };
  std::size_t pos = 0;
  while (pos < text.size()) {
    const std::size_t start = find_start(text, pos);
    if (start == npos) break;
    const std::size_t code = start + 2;
    std::size_t end = npos;
    if (extended) {
      end = naive_end(text, code);
      if (end == npos) end = token_aware_end(text, code);
    } else {
      end = text.find('}', code + 1);
    }
    if (end == npos) break;
    literal(text.substr(pos, start - pos));
    if (end > code) result.pieces.emplace_back(make_expression(text.substr(code, end - code)));
    pos = end + 1;
  }
  literal(text.substr(pos));
  return result;
}

std::optional<std::string_view> newer_syntax(std::string_view code) {
  JsTokens tokens(code);
  JsTokens::Token previous;
  for (auto token = tokens.next(); token.kind != JsTokens::Kind::end && token.kind != JsTokens::Kind::broken; token = tokens.next()) {
    const bool property = previous.kind == JsTokens::Kind::sign && previous.text == ".";
    const std::string_view text = token.text;
    if (token.kind == JsTokens::Kind::sign) {
      if (text == "=>") return "an arrow function";
      if (text == "`") return "a template literal";
      if (text == "...") return "spread syntax";
      if (text == "**" || text == "**=") return "the ** operator";
      if (text == "?.") return "the ?. operator";
      if (text == "??") return "the ?? operator";
    } else if (token.kind == JsTokens::Kind::number && text.size() > 1 && text[0] == '0') {
      if (text[1] == 'b' || text[1] == 'B') return "a 0b number";
      if (text[1] == 'o' || text[1] == 'O') return "a 0o number";
    } else if (token.kind == JsTokens::Kind::word && !property) {
      const bool declares =
          previous.kind == JsTokens::Kind::word && (previous.text == "let" || previous.text == "const" || previous.text == "class");
      if (declares && text != "in" && text != "instanceof")
        return previous.text == "let" ? "let" : previous.text == "const" ? "const" : "a class";
      if (previous.kind == JsTokens::Kind::word && previous.text == "async" && text == "function") return "an async function";
    }
    previous = token;
  }
  return std::nullopt;
}

}  // namespace digdag::dig
