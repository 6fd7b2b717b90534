#include "executor/handouts.h"

#include <gtest/gtest.h>

#include <string>

namespace digdag::executor {
namespace {

constexpr std::int64_t here = 0, there = 7;

/// Who gets places, as `attempt.task` in order, until nobody does.
std::string given(Handouts& handouts) {
  std::string all;
  while (const auto next = handouts.next()) {
    all += (all.empty() ? "" : " ") + std::to_string(next->first) + "." + std::to_string(next->second.task);
  }
  EXPECT_FALSE(handouts.has_next());
  return all;
}
void wait(Handouts& handouts, std::int64_t site, std::int64_t attempt, int runs) {
  for (int task = 0; task < runs; ++task) handouts.wait(site, attempt, engine::Run{task, 1, false});
}

// decisions E-47
TEST(Handouts, AttemptsTakeTurns) {
  Handouts handouts({.places = 4});
  wait(handouts, here, 1, 3);
  wait(handouts, here, 2, 2);
  EXPECT_EQ(given(handouts), "1.0 2.0 1.1 2.1");
  handouts.free_place(here);
  EXPECT_TRUE(handouts.has_next());
  EXPECT_EQ(given(handouts), "1.2");
}

TEST(Handouts, SitesTakeTurns) {
  Handouts handouts({.places = 5});
  wait(handouts, here, 1, 2);
  wait(handouts, here, 2, 2);
  wait(handouts, there, 3, 2);
  EXPECT_EQ(given(handouts), "1.0 3.0 2.0 3.1 1.1");
}

// decisions E-46
TEST(Handouts, ASiteNeverHasMoreThanItsLimitAndKeepsNoOtherBack) {
  Handouts handouts({.places = 10, .of_site = 2});
  wait(handouts, there, 1, 3);
  wait(handouts, there, 2, 1);
  wait(handouts, here, 3, 1);
  EXPECT_EQ(given(handouts), "1.0 3.0 2.0");
  handouts.free_place(here);
  EXPECT_EQ(given(handouts), "");
  handouts.free_place(there);
  EXPECT_EQ(given(handouts), "1.1");
  EXPECT_EQ(handouts.waiting(), 1U);
}

// decisions E-46
TEST(Handouts, WhatIsTakenAtOnceCountsForItsSite) {
  Handouts handouts({.places = 5, .of_site = 3});
  EXPECT_EQ(handouts.try_take(here, 2), 2);
  EXPECT_EQ(handouts.try_take(here, 2), 1);
  EXPECT_EQ(handouts.try_take(here, 2), 0);
  EXPECT_EQ(handouts.try_take(there, 3), 2);
  wait(handouts, here, 1, 1);
  EXPECT_FALSE(handouts.has_next());
  handouts.free_place(here);
  EXPECT_EQ(handouts.try_take(there, 1), 0) << "somebody stands in line";
  EXPECT_EQ(given(handouts), "1.0");
  EXPECT_EQ(handouts.taken(), 5);
}

TEST(Handouts, NobodyStandsInLineForASiteWithoutPlaces) {
  Handouts handouts({.places = 5, .of_site = 1});
  wait(handouts, there, 1, 2);
  EXPECT_EQ(given(handouts), "1.0");
  EXPECT_EQ(handouts.try_take(here, 1), 1);
}

// server 4.3
TEST(Handouts, RunsOfSitesThatAreNotServedGetNoPlace) {
  Handouts handouts({.places = 10, .served = {store::SiteSelection::Mode::except, {there}}});
  EXPECT_FALSE(handouts.serves(there));
  wait(handouts, there, 1, 1);
  EXPECT_EQ(handouts.try_take(there, 1), 0);
  wait(handouts, here, 2, 1);
  EXPECT_EQ(given(handouts), "2.0");
  EXPECT_EQ(handouts.waiting(), 1U);
  EXPECT_TRUE(handouts.remove(there, 1, 0, 1));
  EXPECT_EQ(handouts.waiting(), 0U);
}

TEST(Handouts, WithoutAnAgentNobodyIsServed) {
  Handouts handouts({.places = 0});
  EXPECT_FALSE(handouts.serves(here));
  wait(handouts, here, 1, 1);
  EXPECT_EQ(given(handouts), "");
}

TEST(Handouts, WhatIsTakenOutWaitsNoLonger) {
  Handouts handouts({.places = 10});
  wait(handouts, here, 1, 3);
  wait(handouts, here, 2, 1);
  EXPECT_TRUE(handouts.remove(here, 1, 1, 1));
  EXPECT_FALSE(handouts.remove(here, 1, 1, 1));
  EXPECT_FALSE(handouts.remove(there, 1, 0, 1));
  EXPECT_EQ(handouts.take_out(here, 1).size(), 2U);
  EXPECT_EQ(handouts.take_out(there, 1).size(), 0U);
  EXPECT_EQ(given(handouts), "2.0");
}

TEST(Handouts, NothingIsGivenWhileHeldOrClosed) {
  Handouts handouts({.places = 10});
  wait(handouts, here, 1, 2);
  handouts.hold(true);
  EXPECT_EQ(given(handouts), "");
  handouts.hold(false);
  EXPECT_EQ(given(handouts), "1.0 1.1");
  handouts.hold(true);
  EXPECT_EQ(handouts.try_take(here, 1), 0);
  handouts.hold(false);
  wait(handouts, here, 1, 1);
  handouts.close();
  EXPECT_EQ(given(handouts), "");
  EXPECT_EQ(handouts.try_take(here, 1), 0);
}

}  // namespace
}  // namespace digdag::executor
