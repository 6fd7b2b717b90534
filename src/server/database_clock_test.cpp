#include "server/database_clock.h"

#include <gtest/gtest.h>

namespace digdag::server {
namespace {

class Clock : public testing::Test {
 protected:
  std::int64_t now() { return clock_.now().millis; }
  void pass(std::int64_t millis) {
    steady_ += millis;
    stored_ += millis;
  }

  std::int64_t steady_ = 1000, stored_ = 5000;
  DatabaseClock clock_{[this] { return Instant{stored_}; }, [this] { return Instant{steady_}; }};
};

// decisions E-50
TEST_F(Clock, ShowsTheTimeOfTheDatabase) {
  EXPECT_EQ(now(), 5000);
  pass(250);
  EXPECT_EQ(now(), 5250);
}

TEST_F(Clock, GoesOnFromWhatIsMeasuredAgain) {
  stored_ = 9000;
  EXPECT_EQ(now(), 5000);
  clock_.measure();
  EXPECT_EQ(now(), 9000);
}

TEST_F(Clock, NeverGoesBackButSlowlyUntilItIsRight) {
  stored_ = 4900;
  clock_.measure();
  EXPECT_EQ(now(), 5000);
  pass(100);
  EXPECT_EQ(now(), 5050);
  clock_.measure();
  EXPECT_EQ(now(), 5050);
  pass(100);
  EXPECT_EQ(now(), 5100);
  pass(100);
  EXPECT_EQ(now(), 5200);
}

}  // namespace
}  // namespace digdag::server
