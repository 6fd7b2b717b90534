#include "base/properties.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "base/json.h"

namespace digdag {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.message_with_kind();
  }
  return "(no error)";
}

TEST(Properties, SeparateKeyAndValueByEqualsColonOrBlank) {
  EXPECT_THAT(parse_properties("a=1\nb:2\nc 3\nd = 4\ne : 5\nf\t=\t6\ng", false),
              ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("c", "3"), Pair("d", "4"), Pair("e", "5"), Pair("f", "6"), Pair("g", "")));
}

TEST(Properties, KeepWhatFollowsTheFirstSeparator) {
  EXPECT_THAT(parse_properties("a==b\nc=:d\ne f=g\n=v", false),
              ElementsAre(Pair("a", "=b"), Pair("c", ":d"), Pair("e", "f=g"), Pair("", "v")));
}

TEST(Properties, DropLeadingBlanksOfAValueAndKeepTrailingOnes) {
  EXPECT_THAT(parse_properties("  a =  x y  \n", false), ElementsAre(Pair("a", "x y  ")));
}

TEST(Properties, SkipCommentsAndBlankLines) {
  EXPECT_THAT(parse_properties("# one\n  ! two\n\n   \nk=v # no comment\n#x\\\nl=w", false),
              ElementsAre(Pair("k", "v # no comment"), Pair("l", "w")));
}

TEST(Properties, JoinContinuedLines) {
  EXPECT_THAT(parse_properties("fruits = apple, \\\n    pear,\\\r\n\tfig\nnext=1", false),
              ElementsAre(Pair("fruits", "apple, pear,fig"), Pair("next", "1")));
  EXPECT_THAT(parse_properties("long\\\nkey=v\nk\\\n = w\nlast=x\\", false),
              ElementsAre(Pair("longkey", "v"), Pair("k", "w"), Pair("last", "x")));
}

TEST(Properties, AnEvenNumberOfBackslashesDoesNotContinue) {
  EXPECT_THAT(parse_properties("a=x\\\\\nb=y", false), ElementsAre(Pair("a", "x\\"), Pair("b", "y")));
}

TEST(Properties, KnowEscapes) {
  EXPECT_THAT(parse_properties(R"(a\ b\=c\:d=\t\n\r\f\q\"\\)", false), ElementsAre(Pair("a b=c:d", "\t\n\r\fq\"\\")));
  EXPECT_THAT(parse_properties(R"(k=\  x)", false), ElementsAre(Pair("k", "  x")));
}

TEST(Properties, KnowUnicodeEscapes) {
  EXPECT_THAT(parse_properties(R"(k=\u3042\u00e4\uD83D\uDE00\u0041)", true), ElementsAre(Pair("k", "あä😀A")));
  EXPECT_THAT(parse_properties(R"(k=\ud83dx)", true), ElementsAre(Pair("k", "\xEF\xBF\xBDx")));
  EXPECT_EQ(message_of([] { parse_properties("a=1\nk=\\u12x4", true); }),
            "Malformed \\uxxxx encoding in line 2: four hexadecimal digits must follow \\u (illegal argument)");
  EXPECT_NE(message_of([] { parse_properties("k=\\u12", true); }), "(no error)");
}

TEST(Properties, ReadFilesAsLatin1AndTextAsUtf8) {
  EXPECT_THAT(parse_properties("k=\xE4", true), ElementsAre(Pair("k", "ä")));
  EXPECT_THAT(parse_properties("k=ä", true), ElementsAre(Pair("k", "Ã¤")));
  EXPECT_THAT(parse_properties("k=ä", false), ElementsAre(Pair("k", "ä")));
  EXPECT_THAT(parse_properties("k=\xE4", false), ElementsAre(Pair("k", "\xEF\xBF\xBD")));
}

TEST(Properties, KnowByteOrderMarks) {
  EXPECT_THAT(parse_properties("\xEF\xBB\xBFk=ä", true), ElementsAre(Pair("k", "ä")));
  EXPECT_EQ(message_of([] { parse_properties("\xFF\xFEk", true); }),
            "The text is UTF-16, it must be UTF-8 or ISO-8859-1 (illegal argument)");
  EXPECT_EQ(message_of([] { parse_properties("\xFE\xFFk", true); }),
            "The text is UTF-16, it must be UTF-8 or ISO-8859-1 (illegal argument)");
}

TEST(Properties, EndLinesAtCarriageReturnsToo) {
  EXPECT_THAT(parse_properties("a=1\rb=2\r\nc=3\n\r", false), ElementsAre(Pair("a", "1"), Pair("b", "2"), Pair("c", "3")));
  EXPECT_THAT(parse_properties("", false), IsEmpty());
}

TEST(SystemConfig, ReadsTypedValuesAndCountsBlankAsUnset) {
  SystemConfig config;
  config.set("server.port", " 65432 ");
  config.set("blank", "  ");
  config.set("flag", "true");
  config.set("hosts", " a, ,b c,");
  EXPECT_EQ(config.integer_or("server.port", 1), 65432);
  EXPECT_EQ(config.integer_or("blank", 7), 7);
  EXPECT_EQ(config.integer_or("missing", 7), 7);
  EXPECT_TRUE(config.boolean_or("flag", false));
  EXPECT_TRUE(config.boolean_or("blank", true));
  EXPECT_THAT(config.list("hosts"), ElementsAre("a", "b c"));
  EXPECT_THAT(config.list("blank"), IsEmpty());
  EXPECT_EQ(config.get_or("missing", "x"), "x");
  EXPECT_EQ(config.get("missing"), std::nullopt);
}

TEST(SystemConfig, NamesKeyAndTextOfAWrongValue) {
  SystemConfig config;
  config.set("server.port", "many");
  EXPECT_EQ(message_of([&] { config.integer_or("server.port", 1); }),
            "Expected integer (long) type for key 'server.port' but got \"many\" (string) (config)");
  EXPECT_EQ(message_of([&] { config.boolean_or("server.port", true); }),
            "Expected 'true' or 'false' for key 'server.port' but got \"many\" (string) (config)");
}

TEST(SystemConfig, LaterValuesWin) {
  SystemConfig config;
  for (const auto& [key, value] : parse_properties("a=1\na=2", true)) config.set(key, value);
  EXPECT_EQ(config.get("a"), "2");
}

TEST(SystemConfig, ListsWhatIsBelowAPrefix) {
  SystemConfig config;
  for (const char* key : {"params.b", "params.a.x", "paramsother", "params", "secrets.k", "params."}) config.set(key, key);
  EXPECT_THAT(config.below("params."), ElementsAre(Pair("", "params."), Pair("a.x", "params.a.x"), Pair("b", "params.b")));
}

TEST(SetNested, SplitsKeysAtDots) {
  Value params = Value::object();
  set_nested(params, "a.b.c", "1");
  set_nested(params, "a.d", "2");
  set_nested(params, "e", "3");
  set_nested(params, "a.d", "4");
  set_nested(params, "", "5");
  EXPECT_EQ(to_json(params), R"({"a":{"b":{"c":"1"},"d":"4"},"e":"3","":"5"})");
}

TEST(SetNested, RefusesDeepNesting) {
  Value params = Value::object();
  set_nested(params, std::string(199, '.'), "1");
  EXPECT_EQ(message_of([&] { set_nested(params, std::string(100000, '.'), "1"); }),
            "Parameter '" + std::string(40, '.') + "...' has more than 200 names between dots (config)");
}

TEST(SetNested, ReportsAConflictInEitherOrder) {
  Value params = Value::object({{"n", "1"}});
  EXPECT_EQ(message_of([&] { set_nested(params, "n.b", "2"); }), "Parameter 'n.b' is set but 'n' is not a object (\"1\") (config)");
  params = Value::object();
  set_nested(params, "n.b", "2");
  EXPECT_EQ(message_of([&] { set_nested(params, "n", "1"); }), "Parameter 'n.b' is set but 'n' is not a object (\"1\") (config)");
  set_nested(params, "x.y", 1);
  EXPECT_EQ(message_of([&] { set_nested(params, "x.y.z", "2"); }), "Parameter 'x.y.z' is set but 'x.y' is not a object (1) (config)");
}

}  // namespace
}  // namespace digdag
