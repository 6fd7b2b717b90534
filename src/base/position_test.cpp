#include "base/position.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace digdag {
namespace {

TEST(Position, PrintsThePartsThatAreKnown) {
  EXPECT_EQ(to_string(Position{}), "");
  EXPECT_EQ(to_string(Position{.line = 3}), "3");
  EXPECT_EQ(to_string(Position{.line = 3, .column = 7}), "3:7");
  EXPECT_EQ(to_string(Position{.line = 3, .column = 7, .file = file_id("a.dig")}), "a.dig:3:7");
  EXPECT_EQ(to_string(Position{.file = file_id("a.dig")}), "a.dig");
}

TEST(Position, NamesOneFileByOneNumber) {
  const std::uint16_t a = file_id("one.dig");
  EXPECT_EQ(file_id("one.dig"), a);
  EXPECT_NE(file_id("two.dig"), a);
  EXPECT_EQ(file_name(a), "one.dig");
  EXPECT_EQ(file_id(""), 0);
  EXPECT_EQ(file_name(0), "");
}

TEST(Position, FilesMayBeNamedByManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) {
        const std::string name = "file" + std::to_string(i);
        ASSERT_EQ(file_name(file_id(name)), name);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace digdag
