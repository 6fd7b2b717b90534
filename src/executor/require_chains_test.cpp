#include "executor/require_chains.h"

#include <gtest/gtest.h>

namespace digdag::executor {
namespace {

class RequireChainsTest : public testing::Test {
 protected:
  std::set<std::int64_t> running_ = {1, 2, 3};
  RequireChains chains_{[this](std::int64_t attempt) { return running_.contains(attempt); }};
};

// decisions O-12
TEST_F(RequireChainsTest, NoAttemptWaitsForItself) {
  EXPECT_EQ(chains_.wait(1, "a", 2), "");
  EXPECT_EQ(chains_.wait(2, "b", 3), "");
  EXPECT_EQ(chains_.wait(1, "a", 3), "");
  EXPECT_EQ(chains_.wait(3, "c", 1), "");  // it is not known to wait: at the next poll it is
  EXPECT_EQ(chains_.wait(3, "c", 1), "a -> b -> c");
}

TEST_F(RequireChainsTest, WhatHasEndedIsNoPartOfAChain) {
  chains_.wait(1, "a", 2);
  chains_.end_wait(1, 2);
  EXPECT_EQ(chains_.size(), 0u);
  EXPECT_EQ(chains_.wait(2, "b", 1), "");
}

TEST_F(RequireChainsTest, AttemptsThatWereKilledWhileTheyWaitedAreForgotten) {
  for (const std::int64_t attempt : running_) chains_.wait(attempt, "kept", 9);
  for (std::int64_t attempt = 10; attempt < 10'000; ++attempt) chains_.wait(attempt, "killed", 9);
  EXPECT_LE(chains_.size(), 1003u);
  chains_.wait(9, "last", 1);
  EXPECT_EQ(chains_.wait(9, "last", 1), "kept -> last") << "those that run wait all the same";
}

}  // namespace
}  // namespace digdag::executor
