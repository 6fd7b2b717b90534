#include "base/base64.h"

#include <gtest/gtest.h>

namespace digdag {
namespace {

TEST(Base64, EndsWithPaddingAndIsReadBack) {
  for (const auto& [bytes, text] : {std::pair("", ""), {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe\xfb", "//77"}}) {
    EXPECT_EQ(base64(bytes), text);
    EXPECT_EQ(from_base64(text), bytes);
  }
}

TEST(Base64, WhatIsNoneIsNotRead) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Z=g=", "====", "Zm9*", "Zm 9"}) EXPECT_EQ(from_base64(text), std::nullopt) << text;
}

}  // namespace
}  // namespace digdag
