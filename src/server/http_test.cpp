#include "server/http.h"

#include <gmock/gmock.h>

#include "server/content_coding.h"

namespace digdag::server {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

int status_thrown_by(const std::function<void()>& call) {
  try {
    call();
  } catch (const HttpError& error) {
    return error.response().body.empty() ? -error.status() : error.status();
  }
  return 0;
}

TEST(Query, APlusIsABlankAndTheFirstOfRepeatedOnesCounts) {
  const Query query("name=a+b%2Bc&&name=second&empty=&bare&j=%E6%97%A5%ff");
  EXPECT_EQ(query.text("name"), "a b+c");
  EXPECT_THAT(query.all("name"), ElementsAre("a b+c", "second"));
  EXPECT_EQ(query.text("empty"), "");
  EXPECT_EQ(query.text("bare"), "");
  EXPECT_EQ(query.text("j"), "日\uFFFD");
  EXPECT_EQ(query.text("none"), std::nullopt);
  EXPECT_FALSE(query.has("none"));
}

// rest-api 18.12
TEST(Query, WhatIsNoNumberIsNotFound) {
  const Query query("a=12&b=abc&c=&d=99999999999&e=-1&f=1.0");
  EXPECT_EQ(query.int32("a"), 12);
  EXPECT_EQ(query.int32("none"), std::nullopt);
  EXPECT_EQ(query.int64("d"), 99999999999);
  EXPECT_EQ(query.int32("e"), -1);
  for (const std::string_view name : {"b", "c", "d", "f"}) EXPECT_EQ(status_thrown_by([&] { query.int32(name); }), -404) << name;
}

// rest-api 18.76
TEST(Query, OnlyTrueIsTrue) {
  const Query query("a=true&b=TRUE&c=1&d=yes&e=&f=false");
  EXPECT_TRUE(query.flag("a") && query.flag("b"));
  for (const std::string_view name : {"c", "d", "e", "f", "none"}) EXPECT_FALSE(query.flag(name)) << name;
}

TEST(Query, ANulIsRefused) {
  EXPECT_EQ(status_thrown_by([] { Query("name=a%00b").text("name"); }), 400);
}

TEST(Path, SegmentsAreDecodedOneByOne) {
  EXPECT_THAT(path_segments("/api/a%2Fb/c+d/%"), ElementsAre("api", "a/b", "c+d", "%"));
  EXPECT_THAT(path_segments("/api/"), ElementsAre("api"));
  EXPECT_THAT(path_segments("//api"), ElementsAre("", "api"));
  EXPECT_THAT(path_segments("/"), IsEmpty());
}

TEST(Target, MayBeAbsolute) {
  Request request;
  EXPECT_TRUE(set_target(request, "http://host:1/a?b=c#d"));
  EXPECT_EQ(request.path, "/a");
  EXPECT_EQ(request.query.text("b"), "c");
  EXPECT_FALSE(set_target(request, "a"));
  EXPECT_FALSE(set_target(request, "http://host"));
}

TEST(Headers, NamesHaveNoCase) {
  Headers headers{{"Accept", "a"}, {"ACCEPT", "b"}};
  EXPECT_EQ(*headers.find("accept"), "a");
  EXPECT_EQ(headers.joined("Accept"), "a, b");
  headers.set("accept", "c");
  EXPECT_EQ(headers.joined("Accept"), "c");
}

// rest-api 18.16
TEST(Errors, AreTwoFields) {
  EXPECT_EQ(error_response(404, "Resource does not exist: project id=1").body,
            R"({"message":"Resource does not exist: project id=1","status":404})");
}

TEST(Errors, KindsHaveTheirStatus) {
  EXPECT_EQ(status_of(config_error("x")), 400);
  EXPECT_EQ(status_of(Error("conflict", "x")), 409);
  EXPECT_EQ(status_of(Error("runtime", "x")), std::nullopt);
}

TEST(Body, MustBeAJsonObject) {
  Request request;
  EXPECT_EQ(status_thrown_by([&] { request.json_object(); }), 400);
  request.body = "[1]";
  EXPECT_EQ(status_thrown_by([&] { request.json_object(); }), 400);
  request.body = R"({"a":1})";
  EXPECT_EQ(request.json_object().find("a")->as_integer(), 1);
}

TEST(Coding, GzipIsPreferredUnlessTheAskerSaysOtherwise) {
  EXPECT_EQ(preferred_coding("deflate, gzip"), Coding::gzip);
  EXPECT_EQ(preferred_coding("*"), Coding::gzip);
  EXPECT_EQ(preferred_coding("gzip;q=0.5, deflate"), Coding::deflate);
  EXPECT_EQ(preferred_coding("gzip;q=0, *;q=0"), Coding::identity);
  EXPECT_EQ(preferred_coding("br"), Coding::identity);
  EXPECT_EQ(preferred_coding(""), Coding::identity);
}

TEST(Coding, WhatIsEncodedIsDecodedWithinALimit) {
  for (const std::size_t size : std::vector<std::size_t>{1, 4096, 4097, 3'000'000}) {
    std::string text;
    while (text.size() < size) text += std::to_string(text.size());
    for (const Coding coding : {Coding::gzip, Coding::deflate}) {
      const std::string encoded = encode(text, coding);
      EXPECT_EQ(decode(encoded, coding, text.size()), text);
      EXPECT_EQ(decode(encoded, coding, text.size() - 1), std::nullopt);
      EXPECT_THROW(decode(encoded.substr(0, encoded.size() / 2), coding, text.size()), Error);
    }
  }
  EXPECT_EQ(decode(encode("a", Coding::gzip) + encode("b", Coding::gzip), Coding::gzip, 2), "ab");
  EXPECT_EQ(decode({"\x78\x9c\x4b\x04\x00\x00\x62\x00\x62", 9}, Coding::deflate, 10), "a") << "deflate in zlib's frame, as others send it";
}

}  // namespace
}  // namespace digdag::server
