#include "server/client_version.h"

#include <gtest/gtest.h>

namespace digdag::server {
namespace {

ClientVersion version(std::string_view text) { return ClientVersion::parse(text).value(); }

// rest-api 18.3
TEST(ClientVersion, NumbersAreComparedAsNumbers) {
  EXPECT_GT(version("0.10.0"), version("0.9.42"));
  EXPECT_LT(version("0.8.27"), version("0.9"));
  EXPECT_FALSE(version("0.10") < version("0.10.0"));
  EXPECT_FALSE(version("0.10.0") < version("0.10"));
}

// rest-api 18.3
TEST(ClientVersion, AQualifierMakesItOlder) {
  EXPECT_LT(version("0.10.0-SNAPSHOT"), version("0.10.0"));
  EXPECT_GT(version("0.10.0-SNAPSHOT"), version("0.9.42"));
  EXPECT_LT(version("1-a"), version("1-b"));
}

// rest-api 18.5
TEST(ClientVersion, AnythingElseIsNoVersion) {
  for (const char* text : {"", "banana", "1..2", "1.", ".1", "-1", "1.x", "+1", "1 "}) EXPECT_FALSE(ClientVersion::parse(text)) << text;
}

}  // namespace
}  // namespace digdag::server
