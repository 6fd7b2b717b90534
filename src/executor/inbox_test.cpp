#include "executor/inbox.h"

#include <gmock/gmock.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "executor/attempt_for_test.h"

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using namespace std::chrono_literals;

class InboxTest : public testing::Test {
 protected:
  /// As the loop: until something arrives.
  bool wait() {
    return inbox_.wait(
        std::nullopt, [this] { return over_; }, [this] { ++slept_; });
  }
  static QueuedEvent kill(std::int64_t attempt, std::int64_t stored_event = 0) {
    return {attempt, engine::Kill{}, std::nullopt, {}, stored_event};
  }
  /// `attempt/stored event` of each.
  std::vector<std::string> taken_events() {
    std::vector<std::string> all;
    for (const QueuedEvent& event : inbox_.take().events)
      all.push_back(std::to_string(event.attempt_id) + "/" + std::to_string(event.stored_event));
    return all;
  }
  static std::vector<std::int64_t> ids(const std::vector<Added>& added) {
    std::vector<std::int64_t> all;
    for (const Added& one : added) all.push_back(one.identity.attempt_id);
    return all;
  }

  Inbox inbox_;
  bool over_ = false;
  int slept_ = 0;
};

TEST_F(InboxTest, WhatArrivedBeforeTheLoopWaitsKeepsItAwake) {
  inbox_.push(kill(1));
  EXPECT_TRUE(wait());
  EXPECT_EQ(slept_, 0);
  EXPECT_THAT(taken_events(), ElementsAre("1/0"));
  inbox_.push(added_for_test(2));
  EXPECT_TRUE(wait());
  inbox_.take();
  inbox_.push(Written{});
  EXPECT_TRUE(wait());
  inbox_.take();
  inbox_.drop_all();
  EXPECT_TRUE(wait());
  EXPECT_EQ(slept_, 0);
}

TEST_F(InboxTest, WhatArrivesWhileTheLoopGoesToSleepWakesIt) {
  const bool goes_on = inbox_.wait(
      std::nullopt, [] { return false; }, [&] { inbox_.push(kill(1)); });
  EXPECT_TRUE(goes_on);
  EXPECT_THAT(taken_events(), ElementsAre("1/0"));
}

TEST_F(InboxTest, NobodyWhoPausesTakesTheWakeUpOfTheLoop) {
  std::vector<std::future<bool>> pauses;
  for (int i = 0; i < 4; ++i) pauses.push_back(std::async(std::launch::async, [this] { return inbox_.pause(1h); }));
  std::promise<void> all_taken;
  std::jthread loop([&] {
    for (int taken = 0; taken < 1000 && wait();) taken += static_cast<int>(inbox_.take().events.size());
    all_taken.set_value();
  });
  for (int i = 0; i < 1000; ++i) {
    inbox_.push(kill(1));
    std::this_thread::yield();  // so that it sleeps now and then: passes in any case, but tells more
  }
  EXPECT_EQ(all_taken.get_future().wait_for(1min), std::future_status::ready);
  inbox_.interrupt();
  for (auto& pause : pauses) EXPECT_FALSE(pause.get());
}

TEST_F(InboxTest, AnInterruptEndsTheWaitAndEveryPause) {
  auto pause = std::async(std::launch::async, [this] { return inbox_.pause(1h); });
  auto other_pause = std::async(std::launch::async, [this] { return inbox_.pause(1h); });
  auto loop = std::async(std::launch::async, [this] { return wait(); });
  inbox_.interrupt();
  EXPECT_FALSE(pause.get());
  EXPECT_FALSE(other_pause.get());
  EXPECT_FALSE(loop.get());
  inbox_.push(kill(1));
  EXPECT_FALSE(wait()) << "it stays interrupted";
  EXPECT_FALSE(inbox_.pause(1h));
}

TEST_F(InboxTest, APauseEndsByItself) { EXPECT_TRUE(inbox_.pause(1ms)); }

TEST_F(InboxTest, TheLoopSleepsNoLongerThanUntilWhatIsDue) {
  const bool goes_on = inbox_.wait(
      1, [] { return false; }, [] {});
  EXPECT_TRUE(goes_on);
}

TEST_F(InboxTest, ALoopThatIsOverReturnsWhenItIsToldToLook) {
  const bool goes_on = inbox_.wait(
      std::nullopt, [this] { return over_; },
      [this] {
        over_ = true;
        inbox_.wake();
      });
  EXPECT_FALSE(goes_on);
}

TEST_F(InboxTest, TheLastEventIsTakenBeforeTheLoopIsOver) {
  inbox_.push(kill(1), [this] { over_ = true; });
  EXPECT_TRUE(wait());
  EXPECT_THAT(taken_events(), ElementsAre("1/0"));
  EXPECT_FALSE(wait());
}

TEST_F(InboxTest, DroppingAllGivesBackWhatWasAddedAndNotTaken) {
  inbox_.push(added_for_test(1));
  inbox_.take();
  inbox_.push(added_for_test(2));
  inbox_.push(added_for_test(3));
  EXPECT_THAT(ids(inbox_.drop_all()), ElementsAre(2, 3));
  inbox_.push(added_for_test(4));
  const Inbox::Arrivals arrivals = inbox_.take();
  EXPECT_TRUE(arrivals.drop_all) << "the loop has attempt 1";
  EXPECT_THAT(ids(arrivals.added), ElementsAre(4)) << "added later: kept";
  EXPECT_FALSE(inbox_.take().drop_all);
  EXPECT_THAT(inbox_.drop_all(), IsEmpty());
}

TEST_F(InboxTest, StoredEventsOfAnAttemptThatIsReadBackComeFromItsRowsAlone) {
  inbox_.push(kill(1, 7));
  inbox_.push(kill(1));
  inbox_.push(kill(2, 8));
  inbox_.push(added_for_test(1));
  inbox_.push(kill(1, 9));
  EXPECT_THAT(taken_events(), ElementsAre("1/0", "2/8", "1/9"));
}

}  // namespace
}  // namespace digdag::executor
