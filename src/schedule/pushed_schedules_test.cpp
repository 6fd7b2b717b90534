#include "schedule/pushed_schedules.h"

#include "schedule/schedule_control.h"
#include "schedule/schedule_loop.h"
#include "schedule/schedules_for_test.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

const std::string daily = R"({"schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})";
const std::string hourly = R"({"schedule": {"hourly>": "00:00"}, "+a": {"echo>": 1}})";
const std::string unscheduled = R"({"+a": {"echo>": 1}})";

std::string error_of(const std::string& config, const PushOptions& options = {}) {
  try {
    PushedSchedules({{"w", TimeZone(), parse_json(config)}}, options);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "config");
    return error.message();
  }
}

// scheduling 14.29, 14.31, 14.68
TEST(PushedSchedules, ReportWhatIsWrongInTheWordsOfTheOriginal) {
  EXPECT_EQ(error_of(R"({"schedule": {"foo>": 1}})"), "Unknown scheduler type: foo");
  EXPECT_EQ(error_of(R"({"schedule": {"daily>": "07:00:00", "skip_on_over_time": true}})"),
            "Parameter 'skip_on_over_time' is not used at schedule. > Did you mean '[skip_on_overtime]'?\n");
  EXPECT_THAT(error_of(R"({"schedule": {"daily>": "07:00:00", "hourly>": "00:00"}})"),
              testing::StartsWith("Parameter 'hourly>' is not used at schedule. "));
}

// scheduling 14.38
TEST(PushedSchedules, ClearOnlyWorkflowsThatAreThere) {
  EXPECT_EQ(error_of(daily, {.schedule_from = {}, .clear = {"nosuch"}}), "nosuch does not exist");
  EXPECT_EQ(error_of(daily, {.schedule_from = {}, .clear = {"w"}}), "");
}

// rest-api 18.32
TEST(PushedSchedules, BeginNowOrAtAnInstant) {
  EXPECT_EQ(parse_schedule_from("", at("2026-01-01T00:00:00Z")), at("2026-01-01T00:00:00Z"));
  EXPECT_EQ(parse_schedule_from("2031-01-01T00:00:00.5Z", {}), at("2031-01-01T00:00:00.5Z"));
  EXPECT_EQ(parse_schedule_from("2031-01-01T00:00:00+09:00", {}), at("2030-12-31T15:00:00Z"));
  for (const char* wrong : {"yesterday", "2031-01-01", "2031-01-01T00:00:00"}) {
    EXPECT_THROW(parse_schedule_from(wrong, {}), Error) << wrong;
  }
}

class Push : public WithSchedules {
 protected:
  void start_due(std::string_view now) { ScheduleLoop({.clock = {}, .sites = {}}, *database_, *starter_, log_).run_once(at(now)); }
  ScheduleControl control() {
    return {{.clock = [] { return Instant{}; }, .changed = [] {}}, *database_, *starter_};
  }
  PushOptions clearing(const std::string& workflow) { return {.schedule_from = {}, .clear = {workflow}}; }
};
DIGDAG_FOR_EVERY_DATABASE(Push);

// scheduling 14.1, 14.2, 14.33
TEST_P(Push, SetsTheFirstSessionFromTheTimeThatItNames) {
  push({{"w", daily}, {"x", unscheduled}}, "2016-02-03T06:59:59Z");
  EXPECT_EQ(next("w"), "2016-02-03T00:00:00Z / 2016-02-03T07:00:00Z");
  push({{"w", daily}}, "2016-02-03T07:00:00.5Z");
  EXPECT_EQ(next("w"), "2016-02-04T00:00:00Z / 2016-02-04T07:00:00Z");
  EXPECT_THAT(schedules(), SizeIs(1));
}

// decisions S-18
TEST_P(Push, TellsHowManyMissedSessionsWillStart) {
  const auto missed = [&](const std::string& config, std::string_view from) {
    PushOptions options;
    options.now = at("2016-02-03T07:00:00Z");
    push({{"w", config}}, from, options);
    return missed_;
  };
  EXPECT_EQ(missed(daily, "2016-02-03T07:00:01Z"), 0);
  EXPECT_EQ(missed(daily, "2016-02-01T00:00:00Z"), 3);
  start_due("2016-02-03T07:00:00Z");
  EXPECT_EQ(missed(daily, "2016-02-01T00:00:00Z"), 0);
  EXPECT_EQ(missed(R"({"schedule": {"hourly>": "00:00"}})", "2016-02-01T00:00:00Z"), 7);
  EXPECT_EQ(missed(R"({"schedule": {"hourly>": "00:00", "skip_delayed_by": "2h"}})", "2016-02-01T00:00:00Z"), 3);
  EXPECT_EQ(missed(R"({"schedule": {"hourly>": "00:00", "catch_up": "latest"}})", "2016-02-01T00:00:00Z"), 1);
  EXPECT_EQ(missed(R"({"schedule": {"seconds_interval>": 1}})", "2016-02-01T00:00:00Z"), PushedSchedules::most_counted);
  control().disable(0, schedule("w").id);
  EXPECT_EQ(missed(R"({"schedule": {"hourly>": "00:00"}})", "2016-02-01T00:00:00Z"), 0);
}

// scheduling 14.34, rest-api 18.35
TEST_P(Push, GoesOnAfterTheLastSessionThatWasStarted) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  start_due("2016-02-03T08:00:00Z");
  EXPECT_EQ(last("w"), "2016-02-03T00:00:00Z");
  push({{"w", hourly}}, "2016-03-01T00:00:00Z");
  EXPECT_EQ(next("w"), "2016-02-03T01:00:00Z / 2016-02-03T01:00:00Z");
}

// scheduling 14.37
TEST_P(Push, ForgetsTheLastSessionOfWhatIsCleared) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  start_due("2016-02-03T08:00:00Z");
  push({{"w", daily}}, "2016-03-01T00:00:00Z", clearing("w"));
  EXPECT_EQ(last("w"), "never");
  EXPECT_EQ(next("w"), "2016-03-01T00:00:00Z / 2016-03-01T07:00:00Z");
}

// scheduling 14.35, rest-api 18.34
TEST_P(Push, KeepsIdAndDisabledState) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  const auto before = schedule("w");
  control().disable(0, before.id);
  push({{"w", hourly}}, "2016-02-03T00:00:00Z");
  EXPECT_EQ(schedule("w").id, before.id);
  EXPECT_NE(schedule("w").workflow_definition_id, before.workflow_definition_id);
  EXPECT_TRUE(schedule("w").disabled_at);
}

// scheduling 14.36, rest-api 18.36
TEST_P(Push, DeletesTheScheduleOfWhatHasNoneAnyMoreAndBeginsAnewLater) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  const auto before = schedule("w");
  start_due("2016-02-03T08:00:00Z");
  control().disable(0, before.id);
  push({{"w", unscheduled}}, "2016-02-03T00:00:00Z");
  EXPECT_THAT(schedules(), IsEmpty());
  push({{"w", daily}}, "2016-02-10T00:00:00Z");
  EXPECT_NE(schedule("w").id, before.id);
  EXPECT_EQ(last("w"), "never");
  EXPECT_FALSE(schedule("w").disabled_at);
}

// scheduling 14.67 (decisions.md S-17 changes it)
TEST_P(Push, DoesNotGoBackBeforeASkippedSession) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  start_due("2016-02-03T08:00:00Z");
  const SkipTarget march{.time = RequestedTime::of(at("2016-03-01T00:00:00Z")), .count = {}, .run_time = at("2016-03-01T09:30:00Z")};
  ASSERT_TRUE(std::holds_alternative<store::Schedule>(control().skip(0, schedule("w").id, march, false)));
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  EXPECT_EQ(next("w"), "2016-03-01T00:00:00Z / 2016-03-01T09:30:00Z");
  start_due("2016-03-01T09:30:00Z");
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  EXPECT_EQ(next("w"), "2016-03-02T00:00:00Z / 2016-03-02T07:00:00Z") << "once a session has been started, it alone counts";
  push({{"w", daily}}, "2016-02-05T00:00:00Z", clearing("w"));
  EXPECT_EQ(next("w"), "2016-02-05T00:00:00Z / 2016-02-05T07:00:00Z");
}

TEST_P(Push, RunsASkippedSessionWhenTheNewScheduleSays) {
  push({{"w", daily}}, "2016-02-03T00:00:00Z");
  const SkipTarget march{.time = RequestedTime::of(at("2016-03-01T00:00:00Z")), .count = {}, .run_time = {}};
  control().skip(0, schedule("w").id, march, false);
  push({{"w", hourly}}, "2016-02-03T00:00:00Z");
  EXPECT_EQ(next("w"), "2016-03-01T00:00:00Z / 2016-03-01T00:00:00Z");
}

TEST_P(Push, FindsSessionsAgainAfterASkipPastTheEnd) {
  push({{"w", R"({"schedule": {"daily>": "00:00:00", "end": "2016-02-05"}})"}}, "2016-02-03T00:00:00Z");
  const SkipTarget march{.time = RequestedTime::of(at("2016-03-01T00:00:00Z")), .count = {}, .run_time = {}};
  control().skip(0, schedule("w").id, march, false);
  EXPECT_EQ(next("w"), "9999-01-01T00:00:00Z / 9999-01-01T00:00:00Z");
  push({{"w", R"({"schedule": {"daily>": "00:00:00", "end": "2016-03-05"}})"}}, "2016-02-03T00:00:00Z");
  EXPECT_EQ(next("w"), "2016-02-04T00:00:00Z / 2016-02-04T00:00:00Z");
}

}  // namespace
}  // namespace digdag::schedule
