#include "executor/strays.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "executor/attempt_for_test.h"

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StraysTest : public testing::Test {
 protected:
  static QueuedEvent succeeded(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease) {
    return {attempt, engine::Succeeded{task, lease, {}, {}}};
  }
  void ends(QueuedEvent event) {
    std::vector<QueuedEvent> events{std::move(event)};
    strays_.take_ends(events);
    ASSERT_THAT(events, IsEmpty());
  }
  /// What goes on of the attempts that were added.
  std::vector<std::int64_t> go_on(const std::vector<std::int64_t>& attempts) {
    std::vector<Added> added;
    for (const std::int64_t id : attempts) added.push_back(added_for_test(id));
    strays_.give_back(added);
    strays_.keep_back(added, [this](std::int64_t attempt) { return attempt == busy_; });
    std::vector<std::int64_t> ids;
    for (const Added& one : added) ids.push_back(one.identity.attempt_id);
    return ids;
  }

  Strays strays_;
  std::int64_t busy_ = 0;
};

TEST_F(StraysTest, WhatIsReadBackWaitsUntilAllItsRunsHaveEnded) {
  strays_.add(1, 3, 1);
  strays_.add(1, 4, 1);
  EXPECT_THAT(go_on({1, 2}), ElementsAre(2));
  ends(succeeded(1, 3, 1));
  EXPECT_THAT(go_on({}), IsEmpty());
  ends({1, engine::Failed{4, 1, {}, false, {}}});
  EXPECT_THAT(go_on({}), ElementsAre(1));
  EXPECT_THAT(go_on({}), IsEmpty()) << "it was given back";
}

TEST_F(StraysTest, APollIsTheEndOfARun) {
  strays_.add(1, 3, 1);
  ends({1, engine::RetryLater{3, 1, 1000, Value::object(), {}}});
  EXPECT_THAT(go_on({1}), ElementsAre(1));
}

TEST_F(StraysTest, TakesTheEndsOfStraysAlone) {
  strays_.add(1, 3, 1);
  std::vector<QueuedEvent> events{succeeded(2, 3, 1),  succeeded(1, 3, 2), succeeded(1, 4, 1),
                                  {1, engine::Kill{}}, succeeded(1, 3, 1), succeeded(1, 3, 1)};
  strays_.take_ends(events);
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(ended_run(events[4].event), std::pair(engine::TaskIndex{3}, engine::Lease{1})) << "a second end is of the next owner's run";
}

TEST_F(StraysTest, WhatIsReadBackWaitsWhileItsAttemptIsStillWritten) {
  busy_ = 1;
  EXPECT_THAT(go_on({1, 2}), ElementsAre(2));
  busy_ = 0;
  EXPECT_THAT(go_on({}), ElementsAre(1));
}

TEST_F(StraysTest, OfAnAttemptThatIsReadBackTwiceTheNewerRowsComeFirst) {
  strays_.add(1, 3, 1);
  for (const std::int64_t epoch : {5, 7}) {
    std::vector<Added> added;
    added.push_back(added_for_test(1));
    added.back().rows.epoch = epoch;
    strays_.give_back(added);
    strays_.keep_back(added, [](std::int64_t) { return false; });
    ASSERT_THAT(added, IsEmpty());
  }
  std::vector<Added> added;
  strays_.give_back(added);
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[0].rows.epoch, 7);
}

}  // namespace
}  // namespace digdag::executor
