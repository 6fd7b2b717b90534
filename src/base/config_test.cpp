#include "base/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"

namespace digdag {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string error = "error";

/// `value` as the option `k`, read by `read`; the result as text, or "error".
template <typename Read>
std::string outcome(const char* value, Read read) {
  const Value object = Value::object({{"k", parse_json(value)}});
  try {
    if constexpr (std::is_same_v<decltype(read(Config(object))), std::string>) {
      return read(Config(object));
    } else {
      return to_json(Value(read(Config(object))));
    }
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), "config");
    return error;
  }
}

std::string as_string(const char* value) {
  return outcome(value, [](const Config& c) { return c.string("k"); });
}
std::string as_int(const char* value) {
  return outcome(value, [](const Config& c) { return c.integer("k"); });
}
std::string as_long(const char* value) {
  return outcome(value, [](const Config& c) { return c.long_integer("k"); });
}
std::string as_boolean(const char* value) {
  return outcome(value, [](const Config& c) { return c.boolean("k"); });
}
std::string as_optional_int(const char* value) {
  return outcome(value, [](const Config& c) {
    const auto n = c.optional_integer("k");
    return n ? Value(*n) : Value("absent");
  });
}
std::string as_list(const char* value) {
  return outcome(value, [](const Config& c) { return c.parse_list("k"); });
}
std::string as_nested(const char* value) {
  return outcome(value, [](const Config& c) { return c.parse_nested("k"); });
}

template <typename Read>
std::string message_of(const char* object, Read read) {
  const Value value = parse_json(object);
  try {
    read(Config(value));
  } catch (const Error& e) {
    return e.message();
  }
  return "(no error)";
}

// spec/language.md 4.3: one row of the table after the other.
TEST(Conversions, FollowTheTable) {
  struct Row {
    const char *value, *string, *integer, *long_integer, *boolean, *optional;
  };
  const Row rows[] = {
      {"1", "1", "1", "1", "true", "1"},
      {"0", "0", "0", "0", "false", "0"},
      {"2", "2", "2", "2", "true", "2"},
      {"1.9", "1.9", "1", "1", "error", "1"},
      {"-1.9", "-1.9", "-1", "-1", "error", "-1"},
      {"1e3", "1000.0", "1000", "1000", "error", "1000"},
      {"3000000000", "3000000000", "error", "3000000000", "true", "error"},
      {"3000000000.5", "3.0000000005E9", "error", "3000000000", "error", "error"},
      {"1e400", "Infinity", "error", "error", "error", "error"},
      {"true", "true", "error", "error", "true", "error"},
      {"false", "false", "error", "error", "false", "error"},
      {"\"1\"", "1", "1", "1", "error", "1"},
      {"\" 1 \"", " 1 ", "1", "1", "error", "1"},
      {"\"01\"", "01", "1", "1", "error", "1"},
      {"\"+5\"", "+5", "5", "5", "error", "5"},
      {"\"-5\"", "-5", "-5", "-5", "error", "-5"},
      {"\"+-5\"", "+-5", "error", "error", "error", "error"},
      {"\"+\"", "+", "error", "error", "error", "error"},
      {"\"1.5\"", "1.5", "error", "error", "error", "error"},
      {"\"1e3\"", "1e3", "error", "error", "error", "error"},
      {"\"0x10\"", "0x10", "error", "error", "error", "error"},
      {"\"1_000\"", "1_000", "error", "error", "error", "error"},
      {"\"true\"", "true", "error", "error", "true", "error"},
      {"\"True\"", "True", "error", "error", "true", "error"},
      {"\"TRUE\"", "TRUE", "error", "error", "true", "error"},
      {"\"false\"", "false", "error", "error", "false", "error"},
      {"\"FALSE\"", "FALSE", "error", "error", "false", "error"},
      {"\"yes\"", "yes", "error", "error", "error", "error"},
      {"\"on\"", "on", "error", "error", "error", "error"},
      {"\"t\"", "t", "error", "error", "error", "error"},
      {"\"tRue\"", "tRue", "error", "error", "error", "error"},
      {"\"\"", "", "0", "0", "false", "\"absent\""},
      {"\"  \"", "  ", "0", "0", "false", "\"absent\""},
      {"\"null\"", "null", "0", "0", "false", "\"absent\""},
      {"[]", "error", "error", "error", "error", "error"},
      {"{}", "error", "error", "error", "error", "error"},
      {"[1]", "error", "error", "error", "error", "error"},
      {"[\"1\"]", "error", "error", "error", "error", "error"},
      {"{\"a\":1}", "error", "error", "error", "error", "error"},
      {"12345678901234567890", "12345678901234567890", "error", "error", "true", "error"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.value);
    EXPECT_EQ(as_string(row.value), row.string);
    EXPECT_EQ(as_int(row.value), row.integer);
    EXPECT_EQ(as_long(row.value), row.long_integer);
    EXPECT_EQ(as_boolean(row.value), row.boolean);
    EXPECT_EQ(as_optional_int(row.value), row.optional);
  }
}

// spec/language.md 4.1.
TEST(Config, RequiredKeysMustBeSetAndNotNull) {
  const auto read = [](const Config& c) { c.string("k"); };
  EXPECT_EQ(message_of("{}", read), "Parameter 'k' is required but not set");
  EXPECT_EQ(message_of(R"({"k":null})", read), "Parameter 'k' is required but null");
  const auto nested = [](const Config& c) { c.nested("k"); };
  EXPECT_EQ(message_of("{}", nested), "Parameter 'k' is required but not set");
  EXPECT_EQ(message_of(R"({"k":null})", nested), "Parameter 'k' must be an object");
  EXPECT_EQ(message_of(R"({"k":1})", nested), "Parameter 'k' must be an object");
}

TEST(Config, SaysWhenItCutsAFractionOff) {
  const Value object = parse_json(R"({"a": 2.7, "b": 2.0, "c": 3, "d": -1.5, "e": 9.1})");
  std::vector<std::string> said;
  Config config(object);
  config.report_cuts([&](std::string message) { said.push_back(std::move(message)); });
  EXPECT_EQ(config.integer("a"), 2);
  EXPECT_EQ(config.integer("b"), 2);
  EXPECT_EQ(config.long_integer("c"), 3);
  EXPECT_EQ(config.integer_or("d", 0), -1);
  EXPECT_EQ(config.optional_integer("e"), 9);
  EXPECT_THAT(said, ElementsAre("Parameter 'a' is 2.7; 2 is used", "Parameter 'd' is -1.5; -1 is used", "Parameter 'e' is 9.1; 9 is used"));
}

TEST(Config, DefaultsStandInForMissingAndNull) {
  for (const char* object : {"{}", R"({"k":null})", "null"}) {
    const Value value = parse_json(object);
    const Config config(value);
    EXPECT_EQ(config.string_or("k", "x"), "x");
    EXPECT_EQ(config.integer_or("k", 5), 5);
    EXPECT_EQ(config.long_integer_or("k", 5), 5);
    EXPECT_TRUE(config.boolean_or("k", true));
    EXPECT_EQ(config.optional_string("k"), std::nullopt);
    EXPECT_EQ(config.optional_integer("k"), std::nullopt);
    EXPECT_EQ(config.optional_duration("k"), std::nullopt);
    EXPECT_EQ(to_json(config.nested_or_empty("k")), "{}");
    EXPECT_THAT(config.strings_or_empty("k"), IsEmpty());
  }
}

TEST(Config, ADefaultDoesNotHideAWrongValue) {
  EXPECT_EQ(message_of(R"({"k":"x"})", [](const Config& c) { c.integer_or("k", 5); }),
            "Expected integer (int) type for key 'k' but got \"x\" (string)");
  EXPECT_EQ(message_of(R"({"k":"x"})", [](const Config& c) { c.boolean_or("k", true); }),
            "Expected 'true' or 'false' for key 'k' but got \"x\" (string)");
  EXPECT_EQ(message_of(R"({"k":[1]})", [](const Config& c) { c.nested_or_empty("k"); }), "Parameter 'k' must be an object");
}

TEST(Config, HasAnExplicitNull) {
  const Value value = parse_json(R"({"k":null})");
  EXPECT_TRUE(Config(value).has("k"));
  EXPECT_FALSE(Config(value).has("x"));
}

// spec/language.md 4.2.
TEST(Config, FailureNamesTypeKeySampleAndKind) {
  EXPECT_EQ(unexpected_type("string type", "k", parse_json(R"({"a":1})")).message(),
            "Expected string type for key 'k' but got {\"a\":1} (object)");
  for (const auto& [json, kind] : {std::pair("null", "null"), std::pair("true", "boolean"), std::pair("1.5", "number"),
                                   std::pair("12345678901234567890", "number"), std::pair("[]", "array"), std::pair("\"x\"", "string")}) {
    EXPECT_THAT(unexpected_type("t", "k", parse_json(json)).message(), HasSubstr(std::string("but got ") + json + " (" + kind + ")"));
  }
}

TEST(Config, FailureShowsAtMost99CharactersOfTheSample) {
  const auto sample = [](std::size_t length) { return unexpected_type("t", "k", Value(std::string(length - 2, 'x'))).message(); };
  EXPECT_THAT(sample(99), HasSubstr("\"" + std::string(97, 'x') + "\" (string)"));
  EXPECT_THAT(sample(100), HasSubstr("\"" + std::string(96, 'x') + "... (string)"));
  EXPECT_THAT(sample(5000), HasSubstr("\"" + std::string(96, 'x') + "... (string)"));
}

TEST(Config, FailureOfAnOptionalNamesTheJavaType) {
  EXPECT_EQ(message_of(R"({"k":true})", [](const Config& c) { c.optional_integer("k"); }),
            "Expected [reference type, class com.google.common.base.Optional<java.lang.Integer><[simple type, class java.lang.Integer]>] "
            "for key 'k' but got true (boolean)");
}

TEST(Config, FailureHasThePositionOfTheKey) {
  Object object;
  object.set("k", "x", {.line = 14, .column = 5});
  object.set("n", Value(), {.line = 15, .column = 5});
  const Value value(std::move(object));
  const Config config(value);
  const auto line_of = [](auto read) {
    try {
      read();
    } catch (const Error& e) {
      return e.position().line;
    }
    return 0U;
  };
  EXPECT_EQ(line_of([&] { config.integer("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.nested("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.parse_list("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.duration("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.strings_or_empty("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.nested_ordered_or_empty("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.optional_integer("k"); }), 14U);
  EXPECT_EQ(line_of([&] { config.string("n"); }), 15U);
}

// spec/language.md 4.4.
TEST(Config, ReadsListsOfStrings) {
  const Value value = parse_json(R"({"k":[1,"a",true,null,1.5],"text":"x","deep":[[1]]})");
  EXPECT_THAT(Config(value).strings_or_empty("k"), ElementsAre("1", "a", "true", "null", "1.5"));
  EXPECT_EQ(message_of(to_json(value).c_str(), [](const Config& c) { c.strings_or_empty("text"); }),
            "Expected array type for key 'text' but got \"x\" (string)");
  EXPECT_EQ(message_of(to_json(value).c_str(), [](const Config& c) { c.strings_or_empty("deep"); }),
            "Expected array type for key 'deep' but got [[1]] (array)");
}

TEST(Config, ParsesListsFromText) {
  EXPECT_EQ(as_list("[1,2]"), "[1,2]");
  EXPECT_EQ(as_list(R"("[1,2]")"), "[1,2]");
  EXPECT_EQ(as_list(R"("[1] x")"), "[1]");
  EXPECT_EQ(as_list(R"("null")"), "null");
  for (const char* wrong : {R"("")", R"("{\"a\":1}")", R"("x")", R"("1")", "1", "{}", "null"}) EXPECT_EQ(as_list(wrong), error) << wrong;
  EXPECT_EQ(message_of(R"({"k":"{\"a\":1}"})", [](const Config& c) { c.parse_list("k"); }),
            "Expected array type for key 'k' but got {\"a\":1} (object)");
}

TEST(Config, ParsesObjectsFromText) {
  EXPECT_EQ(as_nested(R"({"a":1})"), R"({"a":1})");
  EXPECT_EQ(as_nested(R"("{\"a\":1}")"), R"({"a":1})");
  for (const char* wrong : {R"("")", R"("[1]")", R"("x")", "1", "[]", "null"}) EXPECT_EQ(as_nested(wrong), error) << wrong;
  EXPECT_EQ(message_of(R"({"k":"[1,2]"})", [](const Config& c) { c.parse_nested("k"); }), "Parameter 'k' must be an object");
}

TEST(Config, TextThatHoldsNoJsonIsNamedWithItsCause) {
  const Value value = parse_json(R"({"k":"{x"})");
  try {
    Config(value).parse_nested("k");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.chain(),
              "Parameter 'k' is a text that holds no JSON (config)\n"
              "> invalid JSON at line 1, column 2: expected a key in double quotes (parser)");
  }
}

TEST(Config, MergesListsOfObjectsByReplacingKeys) {
  const Value value = parse_json(R"({"k":[{"a":1},{"a":{"c":2},"b":3}],"o":{"x":1},"l":[1],"n":null})");
  const Config config(value);
  EXPECT_EQ(to_json(config.nested_ordered_or_empty("k")), R"({"a":{"c":2},"b":3})");
  EXPECT_EQ(to_json(config.nested_ordered_or_empty("o")), R"({"x":1})");
  EXPECT_EQ(to_json(config.nested_ordered_or_empty("missing")), "{}");
  EXPECT_EQ(message_of(to_json(value).c_str(), [](const Config& c) { c.nested_ordered_or_empty("l"); }), "Expected object but got 1");
  EXPECT_EQ(message_of(to_json(value).c_str(), [](const Config& c) { c.nested_ordered_or_empty("n"); }),
            "Parameter 'n' must be an object or array of objects");
}

// spec/language.md 4.4, operators.md 1.9; server 23.58
TEST(Duration, IsDaysHoursMinutesAndSecondsInThisOrder) {
  const std::pair<const char*, std::int64_t> cases[] = {{"1h", 3600}, {"1h 30m", 5400}, {"90s", 90},    {"1d2h3m4s", 93784}, {"1 d", 86400},
                                                        {"1H", 3600}, {"01h", 3600},    {" 1h ", 3600}, {"1d 4s", 86404},    {"0s", 0}};
  for (const auto& [text, seconds] : cases) EXPECT_EQ(parse_duration(text), seconds) << text;
  for (const char* wrong :
       {"", " ", "30", "1m 1h", "1.5h", "-1h", "1w", "1hour", "1h1h", "h", "1h x", "99999999999999999999s", "999999999999999999d"}) {
    EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
  }
}

TEST(Duration, PrintsWithoutZeroParts) {
  EXPECT_EQ(format_duration(93784), "1d 2h 3m 4s");
  EXPECT_EQ(format_duration(5400), "1h 30m");
  EXPECT_EQ(format_duration(86400), "1d");
  EXPECT_EQ(format_duration(0), "");
}

TEST(Duration, AsAnOptionMustBeText) {
  const Value value = parse_json(R"({"k":"1m 30s"})");
  EXPECT_EQ(Config(value).duration("k"), 90);
  EXPECT_EQ(Config(value).optional_duration("k"), 90);
  EXPECT_EQ(message_of(R"({"k":5})", [](const Config& c) { c.duration("k"); }),
            "Expected class io.digdag.util.DurationParam for key 'k' but got 5 (number)");
  EXPECT_EQ(message_of(R"({"k":"soon"})", [](const Config& c) { c.optional_duration("k"); }),
            "Expected [reference type, class com.google.common.base.Optional<io.digdag.util.DurationParam>"
            "<[simple type, class io.digdag.util.DurationParam]>] for key 'k' but got \"soon\" (string)");
}

TEST(Config, TellsWhichKeysWereAskedFor) {
  const Value value = parse_json(R"({"a":1,"b":{},"c":"x"})");
  Config config(value);
  std::vector<std::string> keys;
  config.record_reads([&](std::string_view key) {
    if (keys.empty() || keys.back() != key) keys.emplace_back(key);
  });
  config.integer("a");
  config.nested_or_empty("b");
  config.string_or("c", "");
  config.optional_string("missing");
  config.has("other");
  EXPECT_THAT(keys, ElementsAre("a", "b", "c", "missing", "other"));
}

}  // namespace
}  // namespace digdag
