#include "schedule/schedule_loop.h"

#include <atomic>
#include <future>

#include "base/eventually_for_test.h"
#include "schedule/schedule_control.h"
#include "schedule/schedules_for_test.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

std::string daily(const std::string& more = "") { return R"({"schedule": {"daily>": "07:00:00")" + more + R"(}, "+a": {"echo>": 1}})"; }
std::string every_minute(const std::string& more = "") {
  return R"({"schedule": {"minutes_interval>": 1)" + more + R"(}, "+a": {"echo>": 1}})";
}

class Loop : public WithSchedules {
 protected:
  ScheduleLoop::Round run(std::string_view now) { return loop().run_once(at(now)); }
  ScheduleLoop& loop() {
    if (!loop_) loop_ = std::make_unique<ScheduleLoop>(options_, *database_, *starter_, log_);
    return *loop_;
  }

  ScheduleLoop::Options options_{.clock = [] { return now(); }, .sites = {}};

 private:
  std::unique_ptr<ScheduleLoop> loop_;
};
DIGDAG_FOR_EVERY_DATABASE(Loop);

TEST_P(Loop, StartsASessionAtItsRunTimeAndMovesTheScheduleOn) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T06:59:59.999Z").started, 0);
  const auto round = run("2026-01-10T07:00:00Z");
  EXPECT_EQ(round.started, 1);
  EXPECT_EQ(round.next, at("2026-01-11T07:00:00Z"));
  EXPECT_THAT(starter_->started, ElementsAre("w 2026-01-10T00:00:00Z"));
  EXPECT_THAT(starter_->run_times, ElementsAre(at("2026-01-10T07:00:00Z")));
  EXPECT_EQ(next("w"), "2026-01-11T00:00:00Z / 2026-01-11T07:00:00Z");
  EXPECT_EQ(last("w"), "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T07:00:01Z").started, 0);
}

TEST_P(Loop, HasNothingToWaitForWithoutSchedules) { EXPECT_EQ(run("2026-01-10T06:00:00Z").next, std::nullopt); }

// scheduling 14.39, 14.58
TEST_P(Loop, CatchesUpInOrderWithEachSessionKnowingTheOneBefore) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-12T08:00:00Z").started, 3);
  EXPECT_THAT(attempts(), ElementsAre("w 2026-01-10T00:00:00Z", "w 2026-01-11T00:00:00Z {\"last_executed\":\"2026-01-10T00:00:00Z\"}",
                                      "w 2026-01-12T00:00:00Z {\"last_executed\":\"2026-01-11T00:00:00Z\"}"));
  EXPECT_EQ(next("w"), "2026-01-13T00:00:00Z / 2026-01-13T07:00:00Z");
}

TEST_P(Loop, CatchesUpInTheOrderOfRunTimesOverAllSchedules) {
  push({{"a", daily()}, {"b", R"({"schedule": {"hourly>": "30:00"}})"}}, "2026-01-10T05:00:00Z");
  run("2026-01-10T08:00:00Z");
  EXPECT_THAT(starter_->started,
              ElementsAre("b 2026-01-10T05:00:00Z", "b 2026-01-10T06:00:00Z", "a 2026-01-10T00:00:00Z", "b 2026-01-10T07:00:00Z"));
}

// scheduling 14.26, 14.66
TEST_P(Loop, EndsWithTheSchedule) {
  push({{"w", daily(R"(, "end": "2026-01-11")")}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-20T00:00:00Z").started, 2);
  EXPECT_EQ(next("w"), "9999-01-01T00:00:00Z / 9999-01-01T00:00:00Z");
  push({{"w", daily(R"(, "end": "2025-01-11")")}}, "2026-01-10T00:00:00Z", {.schedule_from = {}, .clear = {}, .clear_all = true});
  EXPECT_EQ(next("w"), "9999-01-01T00:00:00Z / 9999-01-01T00:00:00Z");
}

// scheduling 14.40
TEST_P(Loop, PassesOverWhatIsLaterThanSkipDelayedBy) {
  push({{"w", every_minute(R"(, "skip_delayed_by": "3m")")}}, "2026-01-10T00:00:00Z");
  const auto round = run("2026-01-10T00:10:00Z");
  EXPECT_EQ(round.skipped, 7);
  EXPECT_THAT(starter_->started,
              ElementsAre("w 2026-01-10T00:07:00Z", "w 2026-01-10T00:08:00Z", "w 2026-01-10T00:09:00Z", "w 2026-01-10T00:10:00Z"));
}

// scheduling 14.41
TEST_P(Loop, PassesOverEverySessionThatIsDueWhileOneRuns) {
  push({{"w", every_minute(R"(, "skip_on_overtime": true)")}}, "2026-01-10T00:00:00Z");
  const auto round = run("2026-01-10T00:10:00Z");
  EXPECT_EQ(round.started, 1);
  EXPECT_EQ(round.skipped, 10);
  EXPECT_EQ(next("w"), "2026-01-10T00:11:00Z / 2026-01-10T00:11:00Z");
  EXPECT_EQ(last("w"), "2026-01-10T00:00:00Z");
  push({{"w", every_minute()}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(next("w"), "2026-01-10T00:11:00Z / 2026-01-10T00:11:00Z") << "what was passed over stays so";
}

// scheduling 14.42
TEST_P(Loop, DoesNotTakeAKilledAttemptForAnActiveOne) {
  push({{"w", every_minute(R"(, "skip_on_overtime": true)")}}, "2026-01-10T00:00:00Z");
  run("2026-01-10T00:00:00Z");
  database_->write([](store::Transaction& transaction) { transaction.send("update session_attempts set state_flags = 1"); });
  EXPECT_EQ(run("2026-01-10T00:01:00Z").started, 1);
}

TEST_P(Loop, CatchesUpOnlyTheLatest) {
  push({{"w", every_minute(R"(, "catch_up": "latest")")}}, "2026-01-10T00:00:00Z");
  const auto round = run("2026-01-10T00:10:30Z");
  EXPECT_EQ(round.skipped, 10);
  EXPECT_THAT(starter_->started, ElementsAre("w 2026-01-10T00:10:00Z"));
  EXPECT_THAT(logged(), HasSubstr("Skipped session 2026-01-10T00:03:00+00:00 of workflow w (project p, schedule id 1): "
                                  "a later session is due too (catch_up: latest)"));
  push({{"w", every_minute()}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T00:10:30Z").started, 0) << "each is started or passed over, once";
}

TEST_P(Loop, CatchesUpNothing) {
  push({{"w", daily(R"(, "catch_up": "none")")}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-12T07:00:30Z").skipped, 2);
  EXPECT_THAT(starter_->started, ElementsAre("w 2026-01-12T00:00:00Z")) << "that one is not missed, only a little late";
  EXPECT_EQ(run("2026-01-13T07:01:01Z").skipped, 1);
}

TEST_P(Loop, TakesTheOptionsOfTheEntryThatGivesTheSession) {
  push({{"w", R"({"schedule": [{"daily>": "01:00:00", "skip_delayed_by": "1h"}, {"cron>": "30 0 * * *"}]})"}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T12:00:00Z").skipped, 1);
  EXPECT_THAT(starter_->started, ElementsAre("w 2026-01-10T00:30:00Z"));
}

// scheduling 14.43
TEST_P(Loop, WaitsTenMinutesAtTheAttemptLimitAndLessWhereAnAttemptEnds) {
  starter_->attempt_limit = options_.attempt_limit = 2;
  push({{"a", daily()}, {"b", daily()}, {"c", daily()}, {"d", daily()}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T07:00:00.5Z").started, 2);
  EXPECT_EQ(next("c"), "2026-01-10T00:00:00Z / 2026-01-10T07:10:00Z");
  EXPECT_EQ(run("2026-01-10T07:00:10Z").started, 0);
  EXPECT_EQ(next("c"), "2026-01-10T00:00:00Z / 2026-01-10T07:10:00Z");
  database_->write([](store::Transaction& transaction) { transaction.send("update session_attempts set state_flags = 6 where id = 1"); });
  EXPECT_EQ(run("2026-01-10T07:00:20Z").started, 1);
  EXPECT_EQ(next("c"), "2026-01-11T00:00:00Z / 2026-01-11T07:00:00Z");
  EXPECT_EQ(next("d"), "2026-01-10T00:00:00Z / 2026-01-10T07:10:00Z");
  finish_attempts();
  EXPECT_EQ(run("2026-01-10T07:00:30Z").started, 1);
  EXPECT_FALSE(schedule("d").waiting_since);
}

// scheduling 14.44
TEST_P(Loop, TakesASessionThatWasStartedByHandForStarted) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z");
  run("2026-01-10T07:00:00Z");
  database_->write([](store::Transaction& transaction) { transaction.send("update sessions set session_time = session_time + 86400"); });
  EXPECT_EQ(run("2026-01-11T07:00:00Z").started, 0);
  EXPECT_EQ(last("w"), "2026-01-11T00:00:00Z");
  EXPECT_EQ(next("w"), "2026-01-12T00:00:00Z / 2026-01-12T07:00:00Z");
  EXPECT_THAT(attempts(), SizeIs(1));
}

// scheduling 14.63
TEST_P(Loop, PutsAScheduleWithAWrongOptionOffByAnHour) {
  push({{"w", daily(R"(, "skip_delayed_by": "xyz")")}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T07:00:02.3Z").started, 0);
  EXPECT_EQ(next("w"), "2026-01-10T00:00:00Z / 2026-01-10T08:00:02Z");
  EXPECT_THAT(logged(), HasSubstr("Put off session 2026-01-10T00:00:00+00:00 of workflow w (project p, schedule id 1) to "
                                  "2026-01-10T08:00:02Z: Expected"));
}

TEST_P(Loop, LetsNoScheduleKeepOthersFromTheirs) {
  Workflows many;
  for (int i = 0; i < 30; ++i) many["w" + std::to_string(i)] = daily();
  push(many, "2026-01-10T00:00:00Z");
  starter_->poisoned = {"w3", "w17"};
  starter_->broken = {"w5"};
  starter_->unpreparable = {"w7"};
  EXPECT_EQ(run("2026-01-12T06:00:00Z").started, 2 * 26);
  for (const char* wrong : {"w3", "w17", "w5", "w7"}) {
    EXPECT_EQ(next(wrong), "2026-01-10T00:00:00Z / 2026-01-12T07:00:00Z") << wrong;
    EXPECT_EQ(last(wrong), "never") << wrong;
  }
  EXPECT_EQ(next("w4"), "2026-01-12T00:00:00Z / 2026-01-12T07:00:00Z");
}

TEST_P(Loop, PutsAScheduleOffThatTheDatabaseHoldsWrongly) {
  push({{"a", daily()}, {"b", daily()}}, "2026-01-10T00:00:00Z");
  database_->write([](store::Transaction& transaction) {
    transaction.send("insert into workflow_configs (project_id, config_digest, timezone, config) values (1, 0, 'Mars/Base', '{}')");
    transaction.send("update workflow_definitions set config_id = (select max(id) from workflow_configs) where name = 'a'");
  });
  EXPECT_EQ(run("2026-01-10T07:00:00Z").started, 1);
  EXPECT_EQ(run("2026-01-10T07:00:01Z").next, at("2026-01-10T08:00:00Z"));
}

// scheduling 14.57
TEST_P(Loop, StartsASessionOnceWhereTheServerEndsBeforeTheCommit) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z");
  starter_->poisoned = {"w"};
  run("2026-01-10T07:00:00Z");
  EXPECT_THAT(attempts(), IsEmpty()) << "with the schedule the attempt is rolled back, too";
  starter_->poisoned = {};
  EXPECT_EQ(run("2026-01-10T08:00:00Z").started, 1);
  EXPECT_EQ(run("2026-01-10T08:00:00Z").started, 0);
  EXPECT_THAT(attempts(), ElementsAre("w 2026-01-10T00:00:00Z"));
}

// scheduling 14.56, server 23.52
TEST_P(Loop, StartsEachSessionOnceWithSeveralServers) {
  Workflows many;
  for (int i = 0; i < 20; ++i) many["w" + std::to_string(i)] = every_minute();
  push(many, "2026-01-10T00:00:00Z");
  RowStarter other(*database_);
  ScheduleLoop other_loop(options_, *database_, other, log_);
  std::atomic<bool> done = false;
  const auto until_all = [&](ScheduleLoop& loop) {
    while (!done) {
      if (loop.run_once(at("2026-01-10T00:09:00Z")).next > at("2026-01-10T00:09:01Z")) done = true;
    }
  };
  const auto one = std::async(std::launch::async, [&] { until_all(loop()); });
  until_all(other_loop);
  one.wait();
  EXPECT_EQ(starter_->started.size() + other.started.size(), 200U);
  EXPECT_THAT(attempts(), SizeIs(200));
}

TEST_P(Loop, ServesOnlyItsSites) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z", {}, "UTC", "p", 1);
  push({{"w", daily()}}, "2026-01-10T00:00:00Z", {}, "UTC", "p", 2);
  options_.sites = {store::SiteSelection::Mode::except, {1}};
  EXPECT_EQ(run("2026-01-10T07:00:00Z").started, 1);
  EXPECT_EQ(schedules(1).at(0).last_session_time, std::nullopt);
  options_.sites = {store::SiteSelection::Mode::only, {1}};
  ScheduleLoop only(options_, *database_, *starter_, log_);
  EXPECT_EQ(only.run_once(at("2026-01-10T08:00:00Z")).started, 1);
  EXPECT_EQ(only.run_once(at("2026-01-10T08:00:00Z")).next, at("2026-01-11T07:00:00Z"));
}

TEST_P(Loop, StartsNoMoreInASecondThanItMay) {
  options_.max_starts_per_second = 3;
  push({{"w", every_minute()}}, "2026-01-10T00:00:00Z");
  const auto round = run("2026-01-10T00:09:00.5Z");
  EXPECT_EQ(round.started, 3);
  EXPECT_EQ(round.next, at("2026-01-10T00:09:01Z"));
  EXPECT_EQ(run("2026-01-10T00:09:00.9Z").started, 0);
  EXPECT_EQ(run("2026-01-10T00:09:01Z").started, 3);
}

// scheduling 14.54
TEST_P(Loop, LeavesDisabledSchedulesAlone) {
  push({{"w", daily()}}, "2026-01-10T00:00:00Z");
  ScheduleControl control({.clock = [] { return Instant{}; }, .changed = [] {}}, *database_, *starter_);
  control.disable(0, schedule("w").id);
  EXPECT_EQ(run("2026-01-12T08:00:00Z").started, 0);
  control.enable(0, schedule("w").id, {});
  EXPECT_EQ(run("2026-01-12T08:00:00Z").started, 3);
}

TEST_P(Loop, EndsADelayedAttemptThatNeverCanStartAndGoesOn) {
  push({{"a", every_minute()}, {"b", every_minute()}}, "2026-01-10T00:02:00Z");
  ScheduleControl control({.clock = [] { return Instant{}; }, .changed = [] {}}, *database_, *starter_);
  for (const char* workflow : {"a", "b"})
    control.backfill(0, schedule(workflow).id, {.from = at("2026-01-10T00:00:00Z"), .attempt_name = "x", .count = {}});
  starter_->started.clear();
  starter_->broken = {"a"};
  EXPECT_EQ(run("2026-01-10T00:01:00Z").delayed_started, 1);
  EXPECT_THAT(starter_->started, ElementsAre("b 2026-01-10T00:00:00Z"));
  const auto flags = database_->read([](store::Transaction& transaction) {
    std::vector<std::int64_t> all;
    for (const auto& row : transaction.query("select state_flags from session_attempts order by id")) all.push_back(row.integer(0));
    return all;
  });
  EXPECT_THAT(flags, ElementsAre(2, 2, 0, 0));
}

TEST_P(Loop, DoesNotCountDelayedAttemptsForTheLimitAndStartsThemWithinIt) {
  starter_->attempt_limit = options_.attempt_limit = 1;
  push({{"w", every_minute()}}, "2026-01-10T00:03:00Z");
  ScheduleControl control({.clock = [] { return Instant{}; }, .changed = [] {}}, *database_, *starter_);
  control.backfill(0, schedule("w").id, {.from = at("2026-01-10T00:00:00Z"), .attempt_name = "x", .count = {}, .parallel = 3});
  EXPECT_THAT(attempts(), SizeIs(3));
  EXPECT_EQ(run("2026-01-10T00:01:00Z").delayed_started, 1);
  EXPECT_EQ(run("2026-01-10T00:01:00Z").delayed_started, 0);
  finish_attempts();
  EXPECT_EQ(run("2026-01-10T00:01:00Z").delayed_started, 1);
}

// ---- The thread ----

TEST_P(Loop, WakesForWhatIsPushedAndWhatEnds) {
  std::atomic<std::int64_t> time = at("2026-01-10T00:00:00Z").millis;
  options_.clock = [&] { return Instant{time}; };
  options_.attempt_limit = starter_->attempt_limit = 1;
  loop().start();
  push({{"a", daily()}, {"b", daily()}}, "2026-01-10T00:00:00Z");
  time = at("2026-01-10T07:00:00Z").millis;
  loop().wake();
  EXPECT_TRUE(eventually([&] { return attempts().size() == 1; }));
  finish_attempts();
  loop().attempt_ended(0);
  EXPECT_TRUE(eventually([&] { return attempts().size() == 2; }));
  loop().stop();
}

TEST_P(Loop, SleepsWhenAllItsSchedulesAreFinished) {
  std::atomic<int> turns = 0;
  options_.clock = [&] {
    ++turns;
    return at("2026-01-12T00:00:00Z");
  };
  push({{"w", daily(R"(, "end": "2025-01-11")")}}, "2026-01-10T00:00:00Z");
  loop().start();
  ASSERT_TRUE(eventually([&] { return turns > 1; }));
  for (int i = 0; i < 10; ++i) push({{"w", daily(R"(, "end": "2025-01-11")")}}, "2026-01-10T00:00:00Z");
  EXPECT_LT(turns, 100);  // else it goes round and round
  loop().stop();
}

}  // namespace
}  // namespace digdag::schedule
