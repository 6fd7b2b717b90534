#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/error.h"

namespace digdag {
namespace {

using namespace std::string_literals;
using testing::HasSubstr;
using testing::StartsWith;

std::string error_of(std::string_view text) {
  try {
    parse_json(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "parser");
    return error.message();
  }
  return "(no error)";
}

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(ParseJson, KeepsTheOrderOfKeysAndTheLastOfARepeatedOne) {
  EXPECT_EQ(to_json(parse_json(R"( { "b" : 1 , "a" : [ ] , "b" : { } } )")), R"({"b":{},"a":[]})");
}

TEST(ParseJson, ReadsEveryKindOfValue) {
  const std::string text = R"({"n":null,"t":true,"f":false,"i":-12,"d":1.5,"s":"x","l":[1,[2,[]]],"o":{"a":{"b":{}}}})";
  EXPECT_EQ(to_json(parse_json(text)), text);
  for (const char* scalar : {"null", "true", "false", "0", "\"\"", "[]", "{}"}) EXPECT_EQ(to_json(parse_json(scalar)), scalar);
}

TEST(ParseJson, KeepsIntegersOfAnySizeExactly) {
  for (const char* digits : {"9223372036854775807", "-9223372036854775808", "9223372036854775808", "12345678901234567890123"}) {
    EXPECT_EQ(to_json(parse_json(digits)), digits);
  }
  const std::string huge = "1" + std::string(5000, '0');
  EXPECT_EQ(to_json(parse_json(huge)), huge);
  EXPECT_EQ(parse_json("-0"), Value(0));
}

TEST(ParseJson, ReadsDoublesAsJavaDoes) {
  EXPECT_EQ(parse_json("1.0"), Value(1.0));
  EXPECT_EQ(parse_json("1e3"), Value(1000.0));
  EXPECT_EQ(parse_json("-2.5E-3"), Value(-0.0025));
  EXPECT_EQ(parse_json("1e400"), Value(std::numeric_limits<double>::infinity()));
  EXPECT_EQ(parse_json("-1e400"), Value(-std::numeric_limits<double>::infinity()));
  EXPECT_EQ(parse_json("1e-400"), Value(0.0));
  EXPECT_EQ(parse_json("0.1").as_number(), 0.1);
}

TEST(ParseJson, ReadsEscapes) {
  EXPECT_EQ(parse_json(R"("\"\\\/\b\f\n\r\t\u0041\u00e4\u3042\ud83d\ude00")").as_string(), "\"\\/\b\f\n\r\tAäあ😀");
  EXPECT_EQ(parse_json(R"({"a\nb":1})").as_object()[0].key, "a\nb");
  EXPECT_EQ(parse_json(R"("a\u0000b")").as_string(), std::string("a\0b", 3));
}

TEST(ParseJson, ReplacesHalvesOfSurrogatePairs) {
  for (const char* text : {R"("\udcff")", R"("\ud83d")"}) EXPECT_EQ(parse_json(text).as_string(), "\uFFFD");
  EXPECT_EQ(parse_json(R"("\ud83d\u0041")").as_string(), "\uFFFDA");
  EXPECT_EQ(parse_json(R"("\ud83d\ud83d\ude00")").as_string(), "\uFFFD😀");
}

TEST(ParseJson, NamesThePlaceOfAnError) {
  EXPECT_EQ(error_of("{\"a\": 1,\n  \"ä\" 2}"), "invalid JSON at line 2, column 7: expected ':' after a key");
  EXPECT_EQ(error_of(""), "invalid JSON at line 1, column 1: the text ends where a value is expected");
  EXPECT_EQ(error_of("[1, 2"), "invalid JSON at line 1, column 6: the text ends before the closing ']'");
  EXPECT_EQ(error_of("[1 2]"), "invalid JSON at line 1, column 4: expected ',' or ']' after an element of a list");
  EXPECT_EQ(error_of("{\"a\":1 \"b\"}"), "invalid JSON at line 1, column 8: expected ',' or '}' after the value of a key");
  EXPECT_EQ(error_of("[1] x"), "invalid JSON at line 1, column 5: there is text behind the end of the value");
  EXPECT_EQ(error_of("hello"), "invalid JSON at line 1, column 1: 'hello' is not a value (a text needs double quotes)");
  EXPECT_EQ(error_of("{a: 1}"), "invalid JSON at line 1, column 2: expected a key in double quotes");
}

TEST(ParseJson, RefusesWhatIsNoJson) {
  for (const char* text : {"[1,]",     "{\"a\":1,}", "{,}", "[,1]",    "01",          "1.",       ".5",  "+1",   "1e",  "-",        "NaN",
                           "Infinity", "'a'",        "\"a", "\"\\x\"", "\"\\u12g4\"", "\"\\u12",  "tru", "True", "nul", "\"a\nb\"", "[1}",
                           "{\"a\"}",  "// c\n1",    "1 2", "\"\\",    "[\"\\u",      "{\"a\":}", "]",   "-x",   "--1"}) {
    EXPECT_THAT(error_of(text), StartsWith("invalid JSON at line ")) << text;
  }
  EXPECT_THAT(error_of(std::string("1\0", 2)), HasSubstr("column 2"));
}

TEST(ParseJson, RefusesWhatIsNotUtf8) {
  EXPECT_EQ(error_of("[1,\n\"a\xFF\"]"), "invalid JSON at line 2, column 3: the text is not UTF-8");
  EXPECT_EQ(error_of("\"\xE3\x81\""), "invalid JSON at line 1, column 2: the text is not UTF-8");
}

TEST(ParseJson, RefusesDeepNestingButNot200Levels) {
  EXPECT_NO_THROW(parse_json(repeated("[", 200) + repeated("]", 200)));
  EXPECT_THAT(error_of(repeated("[", 201) + repeated("]", 201)), HasSubstr("column 201: nested deeper than 200 levels"));
  EXPECT_THAT(error_of(repeated("{\"a\":", 1000000)), HasSubstr("nested deeper than 200 levels"));
}

TEST(ParseJsonPrefix, IgnoresTextBehindTheFirstValue) {
  EXPECT_EQ(to_json(parse_json_prefix("[1] x")), "[1]");
  EXPECT_EQ(to_json(parse_json_prefix("[1,2]]")), "[1,2]");
  EXPECT_EQ(to_json(parse_json_prefix(" null ")), "null");
  EXPECT_THROW(parse_json_prefix(""), Error);
  EXPECT_THROW(parse_json_prefix("x"), Error);
}

TEST(ToJson, EscapesOnlyWhatItMust) {
  EXPECT_EQ(to_json(Value("\"\\/\b\f\n\r\t\x01\x1F\x7F é日😀\0"s)), "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001F\x7F é日😀\\u0000\"");
}

TEST(ToJson, WritesInfinityAndNanAsText) {
  EXPECT_EQ(to_json(Value(std::numeric_limits<double>::infinity())), "\"Infinity\"");
  EXPECT_EQ(to_json(Value(-std::numeric_limits<double>::infinity())), "\"-Infinity\"");
  EXPECT_EQ(to_json(Value(std::nan(""))), "\"NaN\"");
}

// spec/language.md 2.2.
TEST(JavaDouble, PrintsAsDoubleToString) {
  const std::pair<double, const char*> cases[] = {
      {1, "1.0"},
      {1000, "1000.0"},
      {1e7, "1.0E7"},
      {9999999, "9999999.0"},
      {1e-3, "0.001"},
      {1e-4, "1.0E-4"},
      {123456789, "1.23456789E8"},
      {1e21, "1.0E21"},
      {0, "0.0"},
      {-0.0, "-0.0"},
      {1.5, "1.5"},
      {-1.9, "-1.9"},
      {0.1, "0.1"},
      {100.25, "100.25"},
      {3e9, "3.0E9"},
      {3.141592653589793, "3.141592653589793"},
      {12345678.9, "1.23456789E7"},
      {5e-324, "4.9E-324"},
      {1.7976931348623157e308, "1.7976931348623157E308"},
      {2e23, "2.0E23"},
      {0.00123, "0.00123"},
      {685230.15, "685230.15"},
  };
  for (const auto& [d, text] : cases) EXPECT_EQ(java_double(d), text);
}

// spec/language.md 8.4.
TEST(JsNumber, PrintsAsJsonStringify) {
  const std::pair<double, const char*> cases[] = {
      {1, "1"},
      {-0.0, "0"},
      {1.5, "1.5"},
      {1e21, "1e+21"},
      {1e20, "100000000000000000000"},
      {1e-6, "0.000001"},
      {1e-7, "1e-7"},
      {1.5e-9, "1.5e-9"},
      {-2.25, "-2.25"},
      {12345678901234567890.0, "12345678901234567000"},
      {123e-20, "1.23e-18"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {100, "100"},
      {0.1, "0.1"},
      {std::nan(""), "null"},
      {std::numeric_limits<double>::infinity(), "null"},
  };
  for (const auto& [d, text] : cases) EXPECT_EQ(js_number(d), text);
}

TEST(JavaText, PrintsListsAndMapsAsJavaDoes) {
  EXPECT_EQ(java_text(parse_json(R"({"v":[1,2]})")), "{v=[1, 2]}");
  EXPECT_EQ(java_text(parse_json(R"({"a":"x y","b":{"c":null,"d":true},"e":[],"f":1.0,"g":12345678901234567890})")),
            "{a=x y, b={c=null, d=true}, e=[], f=1.0, g=12345678901234567890}");
  EXPECT_EQ(java_text("text"), "text");
  EXPECT_EQ(java_text(Value(std::numeric_limits<double>::infinity())), "Infinity");
}

// spec/cli.md 6.2, "State directory".
TEST(ToYaml, PrintsAStateFileAsTheOriginalDoes) {
  const Value state = parse_json(R"({"fullName":"+w+one","state":"success","result":{"subtaskConfig":{},"exportParams":{},
      "resetStoreParams":[],"storeParams":{},"report":{"inputs":[],"outputs":[]}}})");
  EXPECT_EQ(to_yaml(state), R"(fullName: "+w+one"
state: "success"
result:
  subtaskConfig: {}
  exportParams: {}
  resetStoreParams: []
  storeParams: {}
  report:
    inputs: []
    outputs: []
)");
}

TEST(ToYaml, PutsListsAtTheIndentOfTheirKey) {
  EXPECT_EQ(to_yaml(parse_json(R"({"a":[1,"x",{"b":1,"c":[true]},[2,[3]],[],{}],"d":null})")), R"(a:
- 1
- "x"
- b: 1
  c:
  - true
- - 2
  - - 3
- []
- {}
d: null
)");
  EXPECT_EQ(to_yaml(parse_json("[1,[2]]")), "- 1\n- - 2\n");
}

TEST(ToYaml, QuotesKeysThatWouldBeReadAsSomethingElse) {
  EXPECT_EQ(
      to_yaml(parse_json(R"({"y":1,"on":2,"+a":3,"NULL":4,"":5,"1":6,"- x":7,"a: b":8,"a #b":9,"~":10,"True":11})")),
      "\"y\": 1\n\"on\": 2\n\"+a\": 3\n\"NULL\": 4\n\"\": 5\n\"1\": 6\n\"- x\": 7\n\"a: b\": 8\n\"a #b\": 9\n\"~\": 10\n\"True\": 11\n");
  EXPECT_EQ(to_yaml(parse_json(R"({"\n\u2028":1})")), "\"\\n\\L\": 1\n");
  EXPECT_EQ(to_yaml(parse_json(R"({"echo>":1,"_export":2,"a.b":3,"a-b":4,"a b":5,"yes_sir":6,"größe":7})")),
            "echo>: 1\n_export: 2\na.b: 3\na-b: 4\na b: 5\nyes_sir: 6\ngröße: 7\n");
}

TEST(ToYaml, EscapesInsideOfQuotes) {
  EXPECT_EQ(to_yaml(Value("a\"b\\c\nd\te\0\x01\x7F é日😀\xC2\x85\xE2\x80\xA8\xEF\xBB\xBF"s)),
            "\"a\\\"b\\\\c\\nd\\te\\0\\x01\\x7F é日😀\\x85\\L\\uFEFF\"\n");
}

TEST(ToYaml, IndentsEveryLine) {
  EXPECT_EQ(to_yaml(parse_json(R"({"a":{"b":[1]},"c":"x"})"), 4), "    a:\n      b:\n      - 1\n    c: \"x\"\n");
  EXPECT_EQ(to_yaml(parse_json("{}"), 4), "    {}\n");
  EXPECT_EQ(to_yaml(parse_json("1.5"), 2), "  1.5\n");
}

TEST(ToYaml, WritesKeysThatAreTooLongForASimpleOne) {
  const std::string key(1500, 'k');
  EXPECT_EQ(to_yaml(Value::object({{"o", Value::object({{key, Value::object({{"a", 1}})}})}})), "o:\n  ? " + key + "\n  :\n    a: 1\n");
}

}  // namespace
}  // namespace digdag
