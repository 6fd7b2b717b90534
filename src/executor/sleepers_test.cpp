#include "executor/sleepers.h"

#include <gmock/gmock.h>

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;
using testing::Pair;

TEST(Sleepers, WhoWaitsForAnEndIsTakenOutAtThatEnd) {
  Sleepers sleepers;
  sleepers.add({1, 3}, 1, 9);
  sleepers.add({2, 3}, 1, 9);
  sleepers.add({1, 4}, 1, 8);
  EXPECT_THAT(sleepers.take(9), ElementsAre(Key(Pair(1, 3)), Key(Pair(2, 3))));
  EXPECT_THAT(sleepers.take(9), IsEmpty());
  EXPECT_EQ(sleepers.awaited(), 1u);
}

TEST(Sleepers, AnAttemptThatIsGoneWaitsForNothing) {
  Sleepers sleepers;
  sleepers.add({1, 3}, 1, 9);
  sleepers.add({2, 0}, 1, 9);
  sleepers.add({2, 3}, 1, 9);
  sleepers.add({2, 4}, 1, 8);
  sleepers.add({3, 0}, 1, 9);
  sleepers.forget(2);
  EXPECT_EQ(sleepers.awaited(), 1u);
  EXPECT_THAT(sleepers.take(9), ElementsAre(Key(Pair(1, 3)), Key(Pair(3, 0))));
}

TEST(Sleepers, NothingIsKeptOfWhatNobodyWaitsForAnyMore) {
  Sleepers sleepers;
  sleepers.add({1, 3}, 1, 8);  // its end will never be seen here: another server has it now
  sleepers.add({1, 3}, 2, 9);
  EXPECT_EQ(sleepers.awaited(), 1u);
}

}  // namespace
}  // namespace digdag::executor
