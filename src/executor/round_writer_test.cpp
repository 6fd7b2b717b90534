#include "executor/round_writer.h"

#include <gmock/gmock.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "executor/attempt_for_test.h"
#include "store/database.h"

namespace digdag::executor {
namespace {

using store::DatabaseError;
using testing::ElementsAre;
using testing::IsEmpty;

/// Says what was committed, a line for each transaction: `1: 0 1, 2: 0` are tasks of two attempts.
class Commits : public store::MemoryStore {
 public:
  void commit(std::vector<store::AttemptChange>& changes) override {
    look(changes);
    std::string line;
    for (const store::AttemptChange& change : changes) line += (line.empty() ? "" : ", ") + line_of(change);
    lines.push_back(line);
  }
  void commit_in_steps(store::AttemptChange& change) override {
    std::vector<store::AttemptChange> alone{change};
    look(alone);
    lines.push_back("in steps " + line_of(change));
  }
  std::size_t most_rows_at_once() const override { return 2; }

  std::vector<std::string> lines;
  std::map<std::int64_t, DatabaseError::Cause> fails;  ///< by attempt
  int away = 0;                                        ///< transactions for which the database is not there
  std::function<void()> seen_away;                     ///< called for each of them

 private:
  void look(const std::vector<store::AttemptChange>& changes) {
    if (away > 0) {
      --away;
      if (seen_away) seen_away();
      throw DatabaseError(DatabaseError::Cause::unavailable, "the disk is full");
    }
    for (const store::AttemptChange& change : changes) {
      const auto found = fails.find(change.rows->attempt_id);
      if (found != fails.end()) throw DatabaseError(found->second, "not this one");
    }
  }
  static std::string line_of(const store::AttemptChange& change) {
    std::string line = std::to_string(change.rows->attempt_id) + ":";
    for (const engine::TaskIndex task : change.changed) line += " " + std::to_string(task);
    for (const std::int64_t event : change.events) line += " event " + std::to_string(event);
    return line;
  }
};

class RoundWriterTest : public testing::Test {
 protected:
  RoundWriterTest() { writer_.keep_going(); }

  /// What a round did to an attempt with three tasks below its root.
  Work work(std::int64_t attempt, std::vector<engine::TaskIndex> changed) {
    Added added = added_for_test(attempt, "+x: {echo>: 1}\n+y: {echo>: 2}\n+z: {echo>: 3}\n");
    added.rows.attempt_id = attempt;
    attempts_.push_back({std::move(added.identity), std::move(added.attempt), std::move(added.rows)});
    Work work{&attempts_.back()};
    work.outcome.changed = std::move(changed);
    return work;
  }
  bool commit(std::vector<Work> round) {
    return writer_.commit(round, [this](Work& work, const Trouble& trouble) {
      given_up_.push_back(std::to_string(work.owned->identity.attempt_id) + (trouble.refused ? " is refused" : " is to be read back"));
    });
  }
  void write_beside(Work work) { writer_.write_beside(std::make_shared<Work>(std::move(work))); }
  void let_beside_go_on() {
    for (const auto& write : std::exchange(beside_, {})) write();
  }

  Commits store_;
  Log log_{Log::Options{.quiet = true}};
  Inbox inbox_;
  std::deque<Owned> attempts_;
  std::vector<std::function<void()>> beside_;
  std::vector<std::string> given_up_;
  RoundWriter writer_{store_, log_, std::chrono::milliseconds(1),
                      [this](std::function<void()> write) { beside_.push_back(std::move(write)); }, inbox_};
};

TEST_F(RoundWriterTest, ARoundIsOneCommitInWhichEachTaskStandsOnce) {
  EXPECT_TRUE(commit({work(1, {2, 1, 2}), work(2, {1})}));
  EXPECT_THAT(store_.lines, ElementsAre("1: 1 2, 2: 1"));
}

TEST_F(RoundWriterTest, WhatChangesNoRowIsNotCommitted) {
  EXPECT_TRUE(commit({work(1, {}), work(2, {1}), work(3, {})}));
  EXPECT_THAT(store_.lines, ElementsAre("2: 1"));
}

TEST_F(RoundWriterTest, AStoredEventThatComesToNothingIsRemoved) {
  Work nothing = work(1, {});
  nothing.events.push_back({1, engine::Kill{}, std::nullopt, {}, 7});
  EXPECT_TRUE(commit({std::move(nothing)}));
  EXPECT_THAT(store_.lines, ElementsAre("1: event 7"));
}

TEST_F(RoundWriterTest, OneThatCannotBeStoredStandsAloneAndTheOthersGoOn) {
  store_.fails = {{2, DatabaseError::Cause::refused}, {3, DatabaseError::Cause::unexpected_rows}};
  EXPECT_TRUE(commit({work(1, {1}), work(2, {1}), work(3, {1}), work(4, {1})}));
  EXPECT_THAT(store_.lines, ElementsAre("1: 1", "4: 1"));
  EXPECT_THAT(given_up_, ElementsAre("2 is refused", "3 is to be read back"));
}

TEST_F(RoundWriterTest, ADatabaseThatIsAwayIsWaitedForAndNobodyIsGivenUp) {
  store_.away = 3;
  EXPECT_TRUE(commit({work(1, {1}), work(2, {1})}));
  EXPECT_THAT(store_.lines, ElementsAre("1: 1, 2: 1"));
  EXPECT_THAT(given_up_, IsEmpty());
}

TEST_F(RoundWriterTest, SaysThatItWaitsFromTheFirstFailureUntilItHasStored) {
  std::vector<bool> waits;
  store_.away = 3;
  store_.seen_away = [&] { waits.push_back(writer_.is_waiting()); };
  EXPECT_TRUE(commit({work(1, {1})}));
  EXPECT_THAT(waits, ElementsAre(false, true, true));
  EXPECT_FALSE(writer_.is_waiting());
}

TEST_F(RoundWriterTest, AnInterruptEndsTheWaitForTheDatabase) {
  store_.away = 1'000'000'000;
  inbox_.interrupt();
  EXPECT_FALSE(commit({work(1, {1})}));
  write_beside(work(2, {0, 1, 2}));
  let_beside_go_on();
  EXPECT_THAT(inbox_.take().written, IsEmpty());
  EXPECT_THAT(store_.lines, IsEmpty());
}

TEST_F(RoundWriterTest, ManyRowsAreALargeChangeAndTheEndOfAnAttemptThatHasThem) {
  EXPECT_FALSE(writer_.is_large(work(1, {1, 2})));
  EXPECT_TRUE(writer_.is_large(work(2, {1, 2, 3})));
  Work end = work(3, {1});
  end.outcome.finished = true;
  EXPECT_TRUE(writer_.is_large(end)) << "all its tasks go to the archive";
}

TEST_F(RoundWriterTest, ALargeChangeIsOnItsWayUntilTheLoopHasTakenIt) {
  EXPECT_FALSE(writer_.is_writing());
  write_beside(work(1, {0, 1, 2}));
  EXPECT_THAT(store_.lines, IsEmpty());
  EXPECT_TRUE(writer_.is_writing());
  let_beside_go_on();
  EXPECT_THAT(store_.lines, ElementsAre("in steps 1: 0 1 2"));
  EXPECT_TRUE(writer_.is_writing());
  const std::vector<Written> written = inbox_.take().written;
  ASSERT_EQ(written.size(), 1u);
  EXPECT_EQ(written[0].work->owned->identity.attempt_id, 1);
  EXPECT_FALSE(written[0].trouble);
  writer_.taken();
  EXPECT_FALSE(writer_.is_writing());
}

TEST_F(RoundWriterTest, ALargeChangeWaitsForTheDatabaseAndSaysWhyItCannotBeStored) {
  store_.away = 2;
  store_.fails = {{2, DatabaseError::Cause::unexpected_rows}};
  write_beside(work(1, {0, 1, 2}));
  write_beside(work(2, {0, 1, 2}));
  let_beside_go_on();
  EXPECT_THAT(store_.lines, ElementsAre("in steps 1: 0 1 2"));
  const std::vector<Written> written = inbox_.take().written;
  ASSERT_EQ(written.size(), 2u);
  ASSERT_TRUE(written[1].trouble);
  EXPECT_FALSE(written[1].trouble->refused);
}

TEST_F(RoundWriterTest, LargeChangesHaveAThreadOfTheirOwn) {
  RoundWriter writer(store_, log_, std::chrono::milliseconds(1), {}, inbox_);
  writer.write_beside(std::make_shared<Work>(work(1, {0, 1, 2})));
  EXPECT_TRUE(inbox_.wait(
      std::nullopt, [] { return false; }, [] {}));
  EXPECT_EQ(inbox_.take().written.size(), 1u);
}

}  // namespace
}  // namespace digdag::executor
