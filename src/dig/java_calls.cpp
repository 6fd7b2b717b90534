#include "dig/java_calls.h"

#include <algorithm>
#include <array>

#include "dig/js_tokens.h"

namespace digdag::dig {
namespace {

// The methods of the prelude; ES5's own ones and what JavaScript engines of its time had beside them are not among them.
constexpr std::array<std::string_view, 27> java_methods = {"codePointAt",
                                                           "codePointBefore",
                                                           "codePointCount",
                                                           "compareTo",
                                                           "compareToIgnoreCase",
                                                           "contains",
                                                           "contentEquals",
                                                           "endsWith",
                                                           "equals",
                                                           "equalsIgnoreCase",
                                                           "hashCode",
                                                           "intern",
                                                           "isBlank",
                                                           "isEmpty",
                                                           "length",
                                                           "matches",
                                                           "regionMatches",
                                                           "repeat",
                                                           "replaceAll",
                                                           "replaceFirst",
                                                           "startsWith",
                                                           "strip",
                                                           "stripLeading",
                                                           "stripTrailing",
                                                           "subSequence",
                                                           "toCharArray",
                                                           "lines"};

bool is_java_method(std::string_view name) { return std::find(java_methods.begin(), java_methods.end(), name) != java_methods.end(); }

}  // namespace

std::string with_java_calls(std::string_view expression) {
  std::string marked;
  std::size_t copied = 0;
  JsTokens tokens(expression);
  JsTokens::Token dot, name;
  for (JsTokens::Token token = tokens.next(); token.kind != JsTokens::Kind::end; token = tokens.next()) {
    if (token.text == "(" && name.kind == JsTokens::Kind::word && dot.text == "." && is_java_method(name.text)) {
      marked += expression.substr(copied, dot.at - copied);
      marked += "['" + std::string(java_call_mark) + std::string(name.text) + "']";
      copied = name.at + name.text.size();
    }
    dot = name;
    name = token;
  }
  return marked + std::string(expression.substr(copied));
}

}  // namespace digdag::dig
