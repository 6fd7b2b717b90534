#include "executor/starter.h"
#include "schedule/delayed_attempts.h"
#include "schedule/schedule_control.h"
#include "schedule/schedule_loop.h"
#include "schedule/schedules_for_test.h"
#include "store/owned_attempts.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

/// Sessions as the executor's starter makes them; nothing executes them.
class StartedSessions : public WithSchedules {
 protected:
  void SetUp() override {
    WithSchedules::SetUp();
    owned_ = std::make_unique<store::OwnedAttempts>(*database_, "server", store::QueueLease{});
    start_server({});
  }
  void start_server(executor::Starter::Options options) {
    options.attempt_limit = 5;
    options.times_around = [](const store::WorkflowDefinition& workflow, Instant session) {
      const auto scheduler = scheduler_of(workflow.config, workflow.timezone);
      return scheduler ? schedule_params(*scheduler, session, workflow.timezone) : Value::object();
    };
    real_starter_ = std::make_unique<executor::Starter>(options, *database_, *owned_, nullptr, [] { return at("2026-01-12T08:00:00Z"); });
  }
  ScheduleLoop::Round run(std::string_view now) {
    return ScheduleLoop({.clock = {}, .sites = {}, .attempt_limit = 5}, *database_, *real_starter_, log_).run_once(at(now));
  }
  std::int64_t tasks() {
    return database_->read(
        [](store::Transaction& transaction) { return transaction.query("select count(*) from tasks").at(0).integer(0); });
  }

  /// Pushes a workflow `w` with a session each minute, and with these keys.
  void push_minutely(const std::string& keys, std::string_view schedule_from = "2026-01-10T00:00:00Z") {
    push({{"w", R"({"schedule": {"minutes_interval>": 1}, "+a": {"echo>": 1})" + (keys.empty() ? "" : ", " + keys) + "}"}}, schedule_from);
  }
  BackfillAnswer backfill(std::string_view from, int parallel = 1) {
    ScheduleControl control({.clock = [] { return Instant{}; }, .changed = [] {}}, *database_, *real_starter_);
    control.disable(0, schedule("w").id);
    return control.backfill(0, schedule("w").id, {.from = at(from), .attempt_name = "b", .count = {}, .parallel = parallel});
  }
  /// Starts those that wait and whose turn has come; gives their number.
  std::int64_t start_waiting() { return DelayedAttempts(*database_, *real_starter_, log_, {}).start_ready(at("2999-01-01T00:00:00Z")); }
  /// When `sla:` of attempts that are not done is violated.
  std::vector<std::string> slas() {
    return database_->read([](store::Transaction& transaction) {
      std::vector<std::string> times;
      for (const auto& row : transaction.query("select next_run_time from session_monitors order by next_run_time"))
        times.push_back(format_instant(Instant::of_seconds(row.integer(0))));
      return times;
    });
  }
  /// Sessions whose attempt runs; the others wait for their turn.
  std::vector<std::string> running() {
    return database_->read([](store::Transaction& transaction) {
      std::vector<std::string> sessions;
      for (const auto& row :
           transaction.query("select s.session_time from session_attempts a join sessions s on s.id = a.session_id where "
                             "a.state_flags & 2 = 0 and not exists (select 1 from delayed_session_attempts d where d.id = "
                             "a.id) order by s.session_time"))
        sessions.push_back(format_instant(Instant::of_seconds(row.integer(0))));
      return sessions;
    });
  }
  void finish(std::string_view session) {
    write([&](store::Transaction& transaction) {
      transaction.send("update session_attempts set state_flags = 6 where session_id in (select id from sessions where session_time = $1)",
                       {at(session).seconds()}, 1);
    });
  }

  std::unique_ptr<store::OwnedAttempts> owned_;
  std::unique_ptr<executor::Starter> real_starter_;
};
DIGDAG_FOR_EVERY_DATABASE(StartedSessions);

// scheduling 14.58, 14.69
TEST_P(StartedSessions, KnowTheSessionsAroundThem) {
  push({{"w", R"({"schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})"}}, "2026-01-09T12:00:00Z", {}, "Asia/Tokyo");
  EXPECT_EQ(run("2026-01-10T23:00:00Z").started, 2);
  EXPECT_THAT(
      attempts(),
      ElementsAre(
          R"(w 2026-01-09T15:00:00Z {"last_session_time":"2026-01-09T00:00:00+09:00","next_session_time":"2026-01-11T00:00:00+09:00"})",
          R"(w 2026-01-10T15:00:00Z {"last_session_time":"2026-01-10T00:00:00+09:00","next_session_time":"2026-01-12T00:00:00+09:00","last_executed_session_time":"2026-01-10T00:00:00+09:00"})"));
  EXPECT_EQ(tasks(), 4) << "a root and one task each";
}

TEST_P(StartedSessions, OfABackfillGetTheirTasksWhenTheirTurnComes) {
  push({{"w", R"({"schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})"}}, "2026-01-10T00:00:00Z");
  backfill("2026-01-08T00:00:00Z");
  EXPECT_EQ(tasks(), 0);
  EXPECT_EQ(run("2999-01-01T00:00:00Z").delayed_started, 1);
  EXPECT_EQ(tasks(), 2);
  EXPECT_EQ(run("2999-01-01T00:00:00Z").delayed_started, 0);
  finish_attempts();
  EXPECT_EQ(run("2999-01-01T00:00:00Z").delayed_started, 1);
}

TEST_P(StartedSessions, WaitAtTheAttemptLimit) {
  push_minutely("");
  EXPECT_EQ(run("2026-01-10T00:10:00Z").started, 5);
  EXPECT_EQ(next("w"), "2026-01-10T00:05:00Z / 2026-01-10T00:20:00Z");
  EXPECT_THAT(logged(), HasSubstr("Too many attempts running. Limit: 5, Current: 5"));
  finish_attempts();
  EXPECT_EQ(run("2026-01-10T00:10:01Z").started, 5);
}

TEST_P(StartedSessions, OfABackfillAreRefusedAtTheAttemptLimit) {
  push_minutely("");
  EXPECT_EQ(run("2026-01-10T00:10:00Z").started, 5);
  const auto answer = backfill("2026-01-09T23:00:00Z");
  EXPECT_EQ(std::get<ScheduleRefused>(answer).message, "Too many attempts running. Limit: 5, Current: 5");
  EXPECT_THAT(attempts(), SizeIs(5));
}

// ---- sla: ----

// execution 18.2
TEST_P(StartedSessions, HaveTheirSlaCountedFromTheRunTimeOfTheSchedule) {
  push({{"w", R"({"sla": {"duration": "00:10"}, "schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})"}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T08:00:00Z").started, 1);
  EXPECT_THAT(slas(), ElementsAre("2026-01-10T07:10:00Z"));
}

// execution 32.62
TEST_P(StartedSessions, WhoseSlaIsATimeOfDayBeforeTheRunTimeHaveItOnTheNextDay) {
  push({{"w", R"({"sla": {"time": "06:00"}, "schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})"}}, "2026-01-09T12:00:00Z", {},
       "Asia/Tokyo");
  EXPECT_EQ(run("2026-01-10T08:00:00Z").started, 1);
  EXPECT_THAT(slas(), ElementsAre("2026-01-10T21:00:00Z"));
}

// scheduling 14.53, decisions S-23
TEST_P(StartedSessions, OfABackfillHaveNoSlaUnlessTheConfigurationWantsIt) {
  push_minutely(R"("sla": {"duration": "00:10"})", "2026-01-10T00:02:00Z");
  backfill("2026-01-10T00:00:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(slas(), ElementsAre());
  finish_attempts();
  executor::Starter::Options options;
  options.backfill_sla = true;
  start_server(options);
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(slas(), ElementsAre("2026-01-12T08:10:00Z")) << "since its turn has come";
}

// decisions E-62
TEST_P(StartedSessions, ThatWaitForTheirTurnHaveTheirSlaFromTheSchedule) {
  push_minutely(R"("_concurrency": 1, "sla": {"duration": "00:10"})");
  EXPECT_EQ(run("2026-01-10T00:01:00Z").started, 2);
  EXPECT_THAT(slas(), ElementsAre("2026-01-10T00:10:00Z", "2026-01-10T00:11:00Z"));
  finish("2026-01-10T00:00:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(slas(), ElementsAre("2026-01-10T00:10:00Z", "2026-01-10T00:11:00Z"));
}

// ---- _concurrency ----

// decisions E-62
TEST_P(StartedSessions, OfWhichOneMayRunStartInTheOrderOfTheirTimes) {
  push_minutely(R"("_concurrency": 1)");
  EXPECT_EQ(run("2026-01-10T00:03:00Z").started, 4);
  for (const char* session : {"2026-01-10T00:00:00Z", "2026-01-10T00:01:00Z", "2026-01-10T00:02:00Z", "2026-01-10T00:03:00Z"}) {
    EXPECT_THAT(running(), ElementsAre(session));
    finish(session);
    start_waiting();
  }
}

// decisions E-62
TEST_P(StartedSessions, OfWhichTwoMayRunStartAsSoonAsOneOfThemEnds) {
  push_minutely(R"("_concurrency": 2)");
  EXPECT_EQ(run("2026-01-10T00:03:00Z").started, 4);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:00:00Z", "2026-01-10T00:01:00Z"));
  finish("2026-01-10T00:01:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), SizeIs(2));
  finish("2026-01-10T00:00:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:02:00Z", "2026-01-10T00:03:00Z"));
}

// decisions E-62
TEST_P(StartedSessions, ThatWaitForDifferentOnesStartInTheOrderOfTheirTimes) {
  push_minutely(R"("_concurrency": 2)");
  EXPECT_EQ(run("2026-01-10T00:05:00Z").started, 6);
  finish("2026-01-10T00:01:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:00:00Z", "2026-01-10T00:02:00Z"));
  finish("2026-01-10T00:02:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:00:00Z", "2026-01-10T00:03:00Z"));
  finish_attempts();
  EXPECT_EQ(start_waiting(), 2);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:04:00Z", "2026-01-10T00:05:00Z"));
}

// decisions E-62
TEST_P(StartedSessions, DoNotPassThoseThatWaitForTheirTurnAlready) {
  push_minutely(R"("_concurrency": 1)");
  EXPECT_EQ(run("2026-01-10T00:01:00Z").started, 2);
  finish("2026-01-10T00:00:00Z");
  EXPECT_EQ(run("2026-01-10T00:02:00Z").started, 1);
  EXPECT_THAT(running(), ElementsAre());
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:01:00Z"));
}

// decisions E-62
TEST_P(StartedSessions, OverTheLimitAreSkippedWithTheReasonWhereTheWorkflowWantsIt) {
  push_minutely(R"("_concurrency": {"limit": 1, "on_limit": "skip"})");
  const auto round = run("2026-01-10T00:02:00Z");
  EXPECT_EQ(round.started, 1);
  EXPECT_EQ(round.skipped, 2);
  EXPECT_EQ(last("w"), "2026-01-10T00:00:00Z");
  EXPECT_EQ(next("w"), "2026-01-10T00:03:00Z / 2026-01-10T00:03:00Z");
  EXPECT_THAT(attempts(), SizeIs(1));
  EXPECT_THAT(logged(), HasSubstr("Skipped session 2026-01-10T00:01:00+00:00 of workflow w (project p, schedule id 1): Workflow 'w' runs "
                                  "already. _concurrency limit: 1"));
}

// decisions E-62, E-63
TEST_P(StartedSessions, OverTheLimitAreTriedAgainWhereTheWorkflowFailsThem) {
  push_minutely(R"("_concurrency": {"limit": 1, "on_limit": "fail"})");
  EXPECT_EQ(run("2026-01-10T00:02:00Z").started, 1);
  EXPECT_EQ(next("w"), "2026-01-10T00:01:00Z / 2026-01-10T00:12:00Z");
  EXPECT_THAT(attempts(), SizeIs(1));
  finish_attempts();
  EXPECT_EQ(run("2026-01-10T00:02:01Z").started, 1) << "as soon as an attempt has ended";
}

// decisions E-62
TEST_P(StartedSessions, OfABackfillCount) {
  push_minutely(R"("_concurrency": 2)", "2026-01-10T00:04:00Z");
  backfill("2026-01-10T00:00:00Z", 3);
  EXPECT_EQ(start_waiting(), 2);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:00:00Z", "2026-01-10T00:01:00Z"));
  finish("2026-01-10T00:00:00Z");
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:01:00Z", "2026-01-10T00:02:00Z"));
  finish_attempts();
  EXPECT_EQ(start_waiting(), 1);
  EXPECT_THAT(running(), ElementsAre("2026-01-10T00:03:00Z"));
}

}  // namespace
}  // namespace digdag::schedule
