#include "base/fair_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace digdag {
namespace {

std::string all_of(FairQueue<char>& queue) {
  std::string text;
  while (!queue.empty()) text += queue.pop().second;
  return text;
}

TEST(FairQueue, LetsLinesTakeTurns) {
  FairQueue<char> queue;
  for (const char c : {'a', 'b', 'c', 'd'}) queue.push(1, c);
  queue.push(2, 'X');
  queue.push(3, 'Y');
  EXPECT_EQ(all_of(queue), "aXYbcd");
}

TEST(FairQueue, KeepsTheOrderOfALine) {
  FairQueue<char> queue;
  for (const char c : {'a', 'b', 'c'}) queue.push(7, c);
  EXPECT_EQ(all_of(queue), "abc");
}

TEST(FairQueue, LosesNoTurnWhenItemsAreTakenOut) {
  FairQueue<char> queue;
  queue.push(1, 'a');
  queue.push(2, 'x');
  queue.push(2, 'y');
  queue.push(3, 'm');
  EXPECT_EQ(queue.remove(2, [](char c) { return c == 'x'; }), 'x');
  EXPECT_EQ(queue.remove(2, [](char c) { return c == 'q'; }), std::nullopt);
  queue.unpush(3);
  EXPECT_EQ(queue.take_line(1).size(), 1u);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(all_of(queue), "y");
}

}  // namespace
}  // namespace digdag
