#include "base/json_pointer.h"

#include <gmock/gmock.h>

namespace digdag {
namespace {

using testing::ElementsAre;

TEST(JsonPointer, EscapesWhatStandsInKeys) {
  EXPECT_EQ(pointer_to(pointer_to("", "_export"), "a/b~1"), "/_export/a~1b~01");
  EXPECT_THAT(pointer_keys("/_export/a~1b~01"), ElementsAre("_export", "a/b~1"));
  EXPECT_THAT(pointer_keys(""), ElementsAre());
  EXPECT_THAT(pointer_keys("/"), ElementsAre(""));
}

TEST(JsonPointer, KnowsWhatLiesInside) {
  EXPECT_TRUE(is_at_or_below("/a", "/a"));
  EXPECT_TRUE(is_at_or_below("/a/b", "/a"));
  EXPECT_FALSE(is_at_or_below("/ab", "/a"));
}

}  // namespace
}  // namespace digdag
