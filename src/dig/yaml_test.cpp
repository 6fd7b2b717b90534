#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "dig/document.h"
#include "dig/loader.h"

namespace digdag::dig {
namespace {

using testing::HasSubstr;

Value load(std::string_view text) { return load_yaml(text, {.directory = ".", .root = ".", .display_name = "wf.dig"}); }

std::string json_of(std::string_view text) { return to_json(load(text)); }

/// The JSON of one scalar in a block.
std::string scalar(std::string_view text) { return to_json(*load("k: " + std::string(text) + "\n").find("k")); }

/// The key that a key becomes.
std::string key(std::string_view text) { return load(std::string(text) + ": v\n").as_object()[0].key; }

std::string error_of(std::string_view text) {
  try {
    return "no error, but " + json_of(text);
  } catch (const Error& error) {
    return error.message();
  }
}

std::string report_of(std::string_view text) {
  try {
    return "no error, but " + json_of(text);
  } catch (const Error& error) {
    return "\n" + error.report() + "\n";
  }
}

TEST(YamlScalar, OnlyFourWordsAreBooleans) {
  for (const char* text : {"true", "True"}) EXPECT_EQ(scalar(text), "true") << text;
  for (const char* text : {"false", "False"}) EXPECT_EQ(scalar(text), "false") << text;
  for (const std::string text : {"TRUE", "yes", "no", "on", "off", "y", "n", "FALSE", "tRue"}) EXPECT_EQ(scalar(text), "\"" + text + "\"");
}

TEST(YamlScalar, NullHasFiveForms) {
  for (const char* text : {"~", "null", "Null", "NULL", ""}) EXPECT_EQ(scalar(text), "null") << text;
  for (const std::string text : {"nul", "none", "nULL", "~/x"}) EXPECT_EQ(scalar(text), "\"" + text + "\"");
}

TEST(YamlScalar, IntegersAreDecimalOctalBinaryOrHexadecimal) {
  const std::pair<const char*, const char*> cases[] = {{"0", "0"},
                                                       {"-0", "0"},
                                                       {"+0", "0"},
                                                       {"00", "0"},
                                                       {"010", "8"},
                                                       {"0755", "493"},
                                                       {"-010", "-8"},
                                                       {"0b101", "5"},
                                                       {"-0b11", "-3"},
                                                       {"0x1F", "31"},
                                                       {"-0x1f", "-31"},
                                                       {"1_000", "1000"},
                                                       {"1_", "1"},
                                                       {"1__0", "10"},
                                                       {"0_7", "7"},
                                                       {"0_", "0"},
                                                       {"+5", "5"},
                                                       {"9223372036854775807", "9223372036854775807"},
                                                       {"9223372036854775808", "9223372036854775808"},
                                                       {"-9223372036854775809", "-9223372036854775809"},
                                                       {"0xffffffffffffffff", "18446744073709551615"},
                                                       {"07777777777777777777777777777777", "9903520314283042199192993791"},
                                                       {"-0x10000000000000000", "-18446744073709551616"}};
  for (const auto& [text, json] : cases) EXPECT_EQ(scalar(text), json) << text;
}

TEST(YamlScalar, WhatLooksLikeAnIntegerButIsNoneIsAText) {
  for (const std::string text : {"08",
                                 "09",
                                 "018",
                                 "0o10",
                                 "0XFF",
                                 "_1",
                                 "0_8",
                                 "0b",
                                 "0x",
                                 "0b2",
                                 "12e",
                                 "1 2",
                                 "1:30",
                                 "10:00:00",
                                 "190:20:30",
                                 "2016-01-01",
                                 "2016-01-01 00:00:00",
                                 "1,000",
                                 "1.2.3",
                                 "+",
                                 "-",
                                 "--1",
                                 "+-1"}) {
    if (text == "-") continue;  // a list
    EXPECT_EQ(scalar(text), "\"" + text + "\"");
  }
}

TEST(YamlScalar, ANumberThatBeginsWithZeroAndAPointIsAText) {
  for (const std::string text : {"0.5", "0.0", "-0.5", "0.1e1", "01.5", "0e0", "00.5"}) EXPECT_EQ(scalar(text), "\"" + text + "\"");
  const std::pair<const char*, const char*> numbers[] = {{".5", "0.5"},     {"-.5", "-0.5"},
                                                         {"+.5", "0.5"},    {"1.", "1.0"},
                                                         {"1.0", "1.0"},    {"1.5e3", "1500.0"},
                                                         {"1e3", "1000.0"}, {"1E+3", "1000.0"},
                                                         {"1.10", "1.1"},   {"1_000.5", "1000.5"},
                                                         {"1.5_0", "1.5"},  {"1e7", "1.0E7"},
                                                         {"1e-400", "0.0"}, {"3.14159265358979323846", "3.141592653589793"}};
  for (const auto& [text, json] : numbers) EXPECT_EQ(scalar(text), json) << text;
  for (const std::string text : {"1e5_0", "._5", ".5_0", "1e", "1.5e", ".", "._"}) EXPECT_EQ(scalar(text), "\"" + text + "\"");
}

TEST(YamlScalar, SexagesimalFloatsAreNumbers) {
  const std::pair<const char*, const char*> cases[] = {{"1:30.5", "90.5"}, {"12:30:45.5", "45045.5"}, {"190:20:30.15", "685230.15"},
                                                       {"0:30.5", "30.5"}, {"-1:30.5", "-90.5"},      {"1:75.5", "\"1:75.5\""}};
  for (const auto& [text, json] : cases) EXPECT_EQ(scalar(text), json) << text;
}

TEST(YamlScalar, InfinityAndNotANumberBecomeTexts) {
  EXPECT_EQ(scalar(".inf"), "\"Infinity\"");
  EXPECT_EQ(scalar("-.INF"), "\"-Infinity\"");
  EXPECT_EQ(scalar(".NaN"), "\"NaN\"");
  EXPECT_EQ(scalar("1e400"), "\"Infinity\"");
  EXPECT_EQ(scalar("-1e400"), "\"-Infinity\"");
}

TEST(YamlScalar, ATagDecidesTheType) {
  const std::pair<const char*, const char*> cases[] = {{"!!str 123", "\"123\""},
                                                       {"!!str", "\"\""},
                                                       {"!!int '12'", "12"},
                                                       {"!!int 1:30", "90"},
                                                       {"!!int \"0x1F\"", "31"},
                                                       {"!!float 3", "3.0"},
                                                       {"!!float 0.5", "0.5"},
                                                       {"!!bool yes", "true"},
                                                       {"!!bool 'no'", "false"},
                                                       {"!!bool maybe", "null"},
                                                       {"!!null x", "null"},
                                                       {"! 12", "12"},
                                                       {"! '12'", "12"},
                                                       {"!!binary aGVsbG8=", "\"aGVsbG8=\""},
                                                       {"!!timestamp 2016-01-01", "1451606400000"},
                                                       {"!!timestamp 2016-01-01 10:00:00.25 +9", "1451610000250"},
                                                       {"!!set {a, b}", "[\"a\",\"b\"]"},
                                                       {"!!omap [a: 1, b: 2]", "{\"a\":1,\"b\":2}"},
                                                       {"!!pairs [a: 1, a: 2]", "[[\"a\",1],[\"a\",2]]"},
                                                       {"!!seq [a]", "[\"a\"]"},
                                                       {"!!map {a: 1}", "{\"a\":1}"}};
  for (const auto& [text, json] : cases) EXPECT_EQ(scalar(text), json) << text;
}

TEST(YamlScalar, OtherTagsAreRefused) {
  for (const std::string tag : {"!foo", "!!python/none", "!!java.net.URL"}) {
    EXPECT_THAT(error_of("k: " + tag + " x\n"), HasSubstr("could not determine a constructor for the tag")) << tag;
  }
  EXPECT_EQ(error_of("k: !!int abc\n"), "`abc` does not fit the tag tag:yaml.org,2002:int");
  EXPECT_EQ(error_of("k: !!seq {a: 1}\n"), "a mapping does not fit the tag tag:yaml.org,2002:seq");
  EXPECT_EQ(error_of("k: 0b_\n"), "`0b_` is no number");
}

TEST(YamlText, QuotesAndEscapes) {
  EXPECT_EQ(scalar(R"('a\nb')"), R"("a\\nb")");
  EXPECT_EQ(scalar(R"("\t\\\"")"), R"("\t\\\"")");
  EXPECT_EQ(scalar(R"("\x41\u3042\U0001F389")"), "\"Aあ🎉\"");
  EXPECT_EQ(scalar(R"("\ud83c\udf89")"), "\"🎉\"") << "a surrogate pair";
  EXPECT_EQ(scalar("'a''b'"), "\"a'b\"");
  EXPECT_EQ(scalar("'a\n\n    b'"), "\"a\\nb\"");
  EXPECT_EQ(scalar("\"a\n    b\\\n    c\""), "\"a bc\"");
  EXPECT_EQ(scalar("a\n    b\n    c"), "\"a b c\"");
}

TEST(YamlText, BlockScalars) {
  EXPECT_EQ(scalar("|\n    a\n      b\n    c"), "\"a\\n  b\\nc\\n\"");
  EXPECT_EQ(scalar("|-\n    a\n    b\n"), "\"a\\nb\"");
  EXPECT_EQ(scalar("|+\n    a\n\n"), "\"a\\n\\n\\n\"");
  EXPECT_EQ(scalar(">\n    a\n    b\n\n    c\n      d\n    e\n"), "\"a b\\nc\\n  d\\ne\\n\"");
  EXPECT_EQ(scalar("|2\n     a\n    b\n"), "\"   a\\n  b\\n\"");
  EXPECT_EQ(scalar("|\n    \ta\n"), "\"\\ta\\n\"") << "a TAB may begin the text";
}

TEST(YamlText, WhatTemplatesNeed) {
  EXPECT_EQ(scalar("${a} and ${b.c}"), "\"${a} and ${b.c}\"");
  EXPECT_EQ(error_of("l: [${a}, ${b}]\n"), "expected ',' or ']', but got {");
  EXPECT_EQ(json_of("${a}: v\n"), "{\"${a}\":\"v\"}");
}

TEST(YamlKey, KeysBecomeTextsByTheirType) {
  const std::pair<const char*, const char*> cases[] = {{"1", "1"},
                                                       {"010", "8"},
                                                       {"0x10", "16"},
                                                       {"1e3", "1000.0"},
                                                       {"1.5", "1.5"},
                                                       {"0.5", "0.5"},
                                                       {"true", "true"},
                                                       {".inf", "Infinity"},
                                                       {"2016-01-01", "2016-01-01"},
                                                       {"[a, b]", "[a, b]"},
                                                       {"? {a: b}\n", "{a=b}"},
                                                       {"'~'", "~"},
                                                       {"''", ""}};
  for (const auto& [text, expected] : cases) EXPECT_EQ(key(text), expected) << text;
  EXPECT_THAT(error_of("~: v\n"), HasSubstr("Null key for a Map not allowed in JSON"));
}

TEST(YamlKey, TheSameTextTwiceIsAnError) {
  EXPECT_EQ(error_of("a: 1\na: 2\n"), "Duplicated keys: [a]");
  EXPECT_EQ(error_of("1: a\n'1': b\n"), "Duplicated keys: [1]");
  EXPECT_EQ(error_of("{a: 1, b: 1, c: 1, b: 2, a: 2}\n"), "Duplicated keys: [b, a]");
  EXPECT_EQ(error_of("a: {<<: {x: 1}, <<: {y: 1}}\n"), "Duplicated keys: [<<]");
  const std::string key(120, 'k');
  EXPECT_EQ(error_of(key + ": 1\n" + key + ": 2\n" + key + ": 3\n"), "Duplicated keys: [" + key.substr(0, 97) + "...]");
  EXPECT_EQ(json_of("1: a\n01: b\n"), "{\"1\":\"b\"}") << "different texts: the last one wins";
}

TEST(YamlKey, EachKnowsWhereItStands) {
  const Value value = load("a: &x\n  p: 1\nb:\n  <<: *x\n  q:\n    - {r: 2}\n");
  const auto at = [](const Value& object, std::string_view key) { return to_string(object.as_object().find_member(key)->position); };
  EXPECT_EQ(at(value, "b"), "wf.dig:3:1");
  EXPECT_EQ(at(*value.find("b"), "p"), "wf.dig:2:3") << "merged";
  EXPECT_EQ(at(value.find("b")->find("q")->as_array()[0], "r"), "wf.dig:6:8");
}

TEST(YamlAlias, MergesKeepExplicitKeys) {
  EXPECT_EQ(json_of("a: &x {p: 1, q: 2}\nb: {r: 0, <<: *x, p: 9}\n"), R"({"a":{"p":1,"q":2},"b":{"r":0,"p":9,"q":2}})");
  EXPECT_EQ(json_of("a: &x {p: 1}\nb: &y {p: 2, r: 3}\nc: {<<: [*x, *y], s: 4}\n"),
            R"({"a":{"p":1},"b":{"p":2,"r":3},"c":{"p":1,"r":3,"s":4}})");
  EXPECT_EQ(json_of("a: &x {p: 1}\nb: &y {<<: *x, q: 2}\nc: {<<: *y, r: 3}\n"),
            R"({"a":{"p":1},"b":{"p":1,"q":2},"c":{"p":1,"q":2,"r":3}})");
  EXPECT_EQ(json_of("d: &d {foo: 1}\ne: {'<<': *d}\n"), R"({"d":{"foo":1},"e":{"<<":{"foo":1}}})");
  EXPECT_EQ(error_of("b: {<<: 1}\n"), "expected a mapping or list of mappings for merging, but found scalar");
}

TEST(YamlAlias, WhatIsWrongInMergedMapsIsToldOnce) {
  const Document document = load_document(
      "d: &d {a: 0.5, 010: b}\n"
      "m: {!!int abc: x, <<: *d, ~: 3}\n"
      "n: [&x 0.6, *x]\n",
      {.directory = ".", .root = ".", .display_name = "wf.dig"}, {});
  std::string told;
  for (const Error& error : document.errors) told += to_string(error.position()) + " " + error.message() + "\n";
  for (const Warning& warning : document.warnings) told += to_string(warning.position) + " " + warning.id + "\n";
  EXPECT_EQ(told,
            "wf.dig:2:5 `abc` does not fit the tag tag:yaml.org,2002:int\n"
            "wf.dig:2:27 Null key for a Map not allowed in JSON\n"
            "wf.dig:1:11 W-number-string\n"
            "wf.dig:1:16 W-octal\n"
            "wf.dig:3:5 W-number-string\n");
}

TEST(YamlAlias, AnAnchorCanBeDefinedAgain) { EXPECT_EQ(json_of("a: &x 1\nb: &x 2\nc: *x\n"), R"({"a":1,"b":2,"c":2})"); }

TEST(YamlAlias, UnknownAndRecursiveOnesAreErrors) {
  EXPECT_EQ(error_of("b: *x\na: &x 1\n"), "found undefined alias x");
  EXPECT_EQ(error_of("a: &x {b: *x}\n"), "recursive alias *x at 1:4");
  EXPECT_EQ(error_of("a: &x {<<: *x}\n"), "recursive alias *x at 1:4");
}

TEST(YamlAlias, SharesWhatItRepeats) {
  const Value value = load("a: &x [1, 2, 3]\nb: *x\n");
  EXPECT_TRUE(value.find("a")->same_as(*value.find("b")));
}

TEST(YamlDocument, MustHoldOneObject) {
  EXPECT_EQ(error_of(""), "Expected object to load Config but got null");
  EXPECT_EQ(error_of("# nothing\n"), "Expected object to load Config but got null");
  EXPECT_EQ(error_of("---\n"), "Expected object to load Config but got null");
  EXPECT_EQ(error_of("- a\n"), "Expected object to load Config but got [\"a\"]");
  EXPECT_EQ(error_of("echo>:x\n"), "Expected object to load Config but got \"echo>:x\"");
  EXPECT_THAT(error_of("a: 1\n---\nb: 2\n"), HasSubstr("expected a single document in the stream, but found another document"));
  EXPECT_EQ(json_of("{}"), "{}");
}

TEST(YamlDocument, AcceptsMarksDirectivesAndLineEndsOfAllKinds) {
  EXPECT_EQ(json_of("---\na: 1\n...\n"), R"({"a":1})");
  EXPECT_EQ(json_of("%YAML 1.2\n---\na: 1\n"), R"({"a":1})");
  EXPECT_EQ(json_of("%FOO bar\n---\na: 1\n"), R"({"a":1})");
  EXPECT_EQ(json_of("\xEF\xBB\xBF"
                    "a: 1\r\nb: |\r\n  x\r\n  y\r\n"),
            R"({"a":1,"b":"x\ny\n"})");
  EXPECT_EQ(json_of("a: 1\rb: 2"), R"({"a":1,"b":2})");
  EXPECT_EQ(json_of("a: \xFF\n"), "{\"a\":\"\xEF\xBF\xBD\"}") << "malformed UTF-8";
  EXPECT_EQ(error_of("%YAML 2.0\n---\na: 1\n"), "found incompatible YAML document (version 1.* is required)");
  EXPECT_THAT(error_of("a: x\x07y\n"), HasSubstr("special characters are not allowed"));
}

TEST(YamlError, ATabIsNoIndentation) {
  EXPECT_EQ(report_of("a:\n\tb: 1\n"), R"(
wf.dig:2:1: found character '\t(TAB)' that cannot start any token. (Do not use \t(TAB) for indentation)
    2 |  b: 1
      | ^
hint: use blanks instead of the TAB
)");
  EXPECT_THAT(error_of("a:\tb\n"), HasSubstr("(TAB)"));
  EXPECT_THAT(error_of("a:\n  -\tb\n"), HasSubstr("(TAB)"));
  EXPECT_EQ(json_of("a: b\t# c\n"), R"({"a":"b"})") << "behind a text it is a blank";
}

TEST(YamlError, NamesPlaceLineAndRemedy) {
  EXPECT_EQ(report_of("+a:\n  echo>: ${x} and: y\n"), R"(
wf.dig:2:18: mapping values are not allowed here
    2 |   echo>: ${x} and: y
      |                  ^
hint: keys of one map stand in one column, and each ends with a colon; text that holds `: ` must stand in quotes, or on lines of its own after `|`
)");
  EXPECT_EQ(report_of("+a:\n  l: [1, 2\n+b:\n  echo>: x\n"), R"(
wf.dig:3:3: expected ',' or ']', but got :
    3 | +b:
      |   ^
hint: in the list that starts at line 2, column 6
)");
}

TEST(YamlError, KeepsTheKnownWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"a: @x\n", "found character '@' that cannot start any token. (Do not use @ for indentation)"},
      {"a: ,x\n", "expected the node content, but found ','"},
      {"a: 'x'  y\n", "expected <block end>, but found '<scalar>'"},
      {"a: \"\\q\"\n", "found unknown escape character q"},
      {"a: \"\\/\"\n", "found unknown escape character /"},
      {"a: \"\\x4\"\n", "expected escape sequence of 2 hexadecimal numbers, but found: 4\""},
      {"a: \"abc\n", "found unexpected end of stream"},
      {"a: - b\n", "sequence entries are not allowed here"},
      {"a: >=1\n", "expected chomping or indentation indicators, but found ="},
      {"a: |0\n  x\n", "expected indentation indicator in the range 1-9, but found 0"},
      {"a: | text\n", "expected a comment or a line break, but found t"},
      {"a:\n  b: 1\n c: 2\n", "expected <block end>, but found '<block mapping start>'"},
      {"{a: 1\n", "expected ',' or '}', but got <stream end>"},
      {"a: *\n", "unexpected character found end of the line"}};
  for (const auto& [text, message] : cases) EXPECT_EQ(error_of(text), message) << text;
}

TEST(YamlLimit, AliasBombsAreSmallUntilTheyAreRefused) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 30; ++i) {
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k) bomb += "*a" + std::to_string(i - 1) + ",";
    bomb += "]\n";
  }
  EXPECT_EQ(error_of(bomb), "YAML document too large after alias expansion: more than 1000000 values");
}

TEST(YamlLimit, MergeBombsAreRefused) {
  std::string bomb = "a: &a {";
  for (int i = 0; i < 2000; ++i) bomb += "k" + std::to_string(i) + ": 1, ";
  bomb += "}\nb: {<<: [";
  for (int i = 0; i < 2000; ++i) bomb += "*a, ";
  bomb += "]}\n";
  EXPECT_THAT(error_of(bomb), HasSubstr("YAML document too large after alias expansion"));
}

TEST(YamlLimit, ManyAliasesAreFine) {
  std::string text = "a: &a {p: 1}\nl:\n";
  for (int i = 0; i < 1000; ++i) text += "  - *a\n";
  EXPECT_EQ(load(text).find("l")->as_array().size(), 1000U);
}

TEST(YamlLimit, DepthEndsAt200) {
  const auto nested = [](int depth) {
    return "a: " + std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  EXPECT_NO_THROW(load(nested(199)));
  EXPECT_EQ(error_of(nested(200)), "YAML document too deep: more than 200 levels");
  EXPECT_EQ(error_of("a: " + std::string(1'000'000, '[')), "YAML document too deep: more than 200 levels");
  std::string dashes;
  for (int i = 0; i < 500; ++i) dashes += "- ";
  EXPECT_EQ(error_of("a:\n  " + dashes + "\n"), "YAML document too deep: more than 200 levels");
}

TEST(YamlLimit, ATextRepeatedByAliasesCountsWithItsSize) {
  std::string bomb = "a: &a '" + std::string(100'000, 'x') + "'\nb: [";
  for (int i = 0; i < 1000; ++i) bomb += "*a, ";
  EXPECT_THAT(error_of(bomb + "]\n"), HasSubstr("more than 67108864 bytes"));
}

TEST(YamlLimit, ALargeFileIsRefusedUnread) {
  EXPECT_THAT(
      [] {
        try {
          load_yaml(std::string(100, ' '), {.directory = ".", .root = ".", .display_name = "x.yml"}, {.bytes = 99});
        } catch (const Error& error) {
          return error.message();
        }
        return std::string();
      }(),
      HasSubstr("x.yml is too large: 100 bytes, at most 99"));
}

}  // namespace
}  // namespace digdag::dig
