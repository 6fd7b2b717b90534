#include "server/body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"

namespace digdag::server {
namespace {

using ::testing::HasSubstr;

Body body(std::string_view json) { return Body(parse_json(json)); }

template <typename Use>
std::string error_of(Use use) {
  try {
    use();
    return "";
  } catch (const HttpError& error) {
    return std::to_string(error.status()) + " " + error.what();
  }
}

TEST(Body, MissingFieldsAreNamedAndNullIsMissing) {
  const Body given = body(R"({"a": 1, "b": null})");
  EXPECT_EQ(error_of([&] { given.require({"a"}); }), "");
  EXPECT_THAT(error_of([&] { given.require({"a", "b", "c"}); }), HasSubstr("400 "));
  EXPECT_THAT(error_of([&] { given.require({"a", "b", "c"}); }), HasSubstr("some of required attributes are not set [b, c]"));
  EXPECT_FALSE(given.optional_text("b").has_value());
}

// rest-api 18.61
TEST(Body, AnIdIsAStringOrANumber) {
  const Body given = body(R"({"text": "12", "number": 34, "word": "abc", "half": 1.5, "long": "99999999999999999999"})");
  EXPECT_EQ(given.id("text"), 12);
  EXPECT_EQ(given.id("number"), 34);
  EXPECT_THAT(error_of([&] { given.id("word"); }), HasSubstr("400 For input string: \"abc\""));
  EXPECT_THAT(error_of([&] { given.id("half"); }), HasSubstr("'half'"));
  EXPECT_THAT(error_of([&] { given.id("long"); }), HasSubstr("400 For input string"));
}

// rest-api 18.62, 18.63
TEST(Body, AnInstantHasAZone) {
  const Body given =
      body(R"({"utc": "2026-03-04T05:06Z", "zone": "2026-03-04T05:06:07.250+09:00[Asia/Tokyo]", "local": "2026-03-04T05:06:07"})");
  EXPECT_EQ(format_instant(given.instant("utc")), "2026-03-04T05:06:00Z");
  EXPECT_EQ(given.instant("zone").seconds(), parse_instant("2026-03-03T20:06:07Z")->seconds());
  EXPECT_THAT(error_of([&] { given.instant("local"); }), HasSubstr("400 Invalid ISO time format: 2026-03-04T05:06:07 (field 'local'"));
}

TEST(Body, OtherTypesAreNamed) {
  const Body given = body(R"({"list": [1], "word": "yes", "nul": "a\u0000b", "big": 3000000000})");
  EXPECT_THAT(error_of([&] { given.text("list"); }), HasSubstr("Field 'list' must be a string, but it is [1]"));
  EXPECT_THAT(error_of([&] { given.flag("word"); }), HasSubstr("Field 'word' must be true or false"));
  EXPECT_THAT(error_of([&] { given.object("list"); }), HasSubstr("Field 'list' must be an object"));
  EXPECT_THAT(error_of([&] { given.text("nul"); }), HasSubstr("Field 'nul' must not contain a NUL character"));
  EXPECT_THAT(error_of([&] { given.optional_int("big"); }), HasSubstr("Field 'big' must be a whole number"));
}

TEST(Body, ASecretStandsInNoError) {
  const Body given = body(R"({"whole": "hush", "parts": {"password": "hush"}})");
  EXPECT_EQ(given.secret("whole"), "hush");
  EXPECT_EQ(error_of([&] { given.secret("parts"); }), "400 Field 'parts' must be a string");
}

// rest-api 18.64
TEST(Body, OfARepeatedKeyTheLastCounts) { EXPECT_EQ(body(R"({"mode": "failed", "mode": "from"})").text("mode"), "from"); }

}  // namespace
}  // namespace digdag::server
