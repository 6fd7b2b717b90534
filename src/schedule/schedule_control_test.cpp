#include "schedule/schedule_control.h"

#include "schedule/schedule_loop.h"
#include "schedule/schedules_for_test.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Why = ScheduleRefused::Why;

const std::string daily = R"({"schedule": {"daily>": "07:00:00"}, "+a": {"echo>": 1}})";
const std::string hourly = R"({"schedule": {"hourly>": "00:00"}, "+a": {"echo>": 1}})";

class Control : public WithSchedules {
 protected:
  ScheduleControl control() {
    return {{.clock = [] { return at("2026-01-10T12:00:00Z"); }, .changed = [&] { ++changes_; }}, *database_, *starter_};
  }
  std::int64_t id(std::string_view workflow) { return schedule(workflow).id; }

  /// `session / run`, or why not.
  static std::string show(const ScheduleAnswer& answer) {
    if (const auto* refused = std::get_if<ScheduleRefused>(&answer)) return show(*refused);
    const auto& row = std::get<store::Schedule>(answer);
    return format_instant(row.next_session_time) + " / " + format_instant(row.next_run_time);
  }
  static std::string show(const ScheduleRefused& refused) {
    return (refused.why == Why::not_found ? "404 " : refused.why == Why::conflict ? "409 " : "400 ") + refused.message;
  }
  static SkipTarget to(std::string_view time) { return {.time = *RequestedTime::parse(time), .count = {}, .run_time = {}}; }
  static SkipTarget ahead(std::string_view from, std::int64_t count) {
    return {.time = RequestedTime::of(at(from)), .count = count, .run_time = {}};
  }

  BackfillRequest backfill_from(std::string_view from, const std::string& name) {
    return {.from = at(from), .attempt_name = name, .count = {}};
  }
  std::string refusal(const BackfillAnswer& answer) {
    const auto* refused = std::get_if<ScheduleRefused>(&answer);
    return refused != nullptr ? show(*refused) : "started";
  }
  std::int64_t start_delayed() {
    return ScheduleLoop({.clock = {}, .sites = {}}, *database_, *starter_, log_).run_once(at("2026-01-10T02:59:00Z")).delayed_started;
  }

  int changes_ = 0;
};
DIGDAG_FOR_EVERY_DATABASE(Control);

// scheduling 14.45, 14.47
TEST_P(Control, SkipsToTheFirstSessionThatRunsAtATimeOrAfterIt) {
  push({{"w", daily}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(show(control().skip(0, id("w"), to("2026-01-15T07:00:01"), false)), "2026-01-16T00:00:00Z / 2026-01-16T07:00:00Z");
  EXPECT_EQ(next("w"), "2026-01-16T00:00:00Z / 2026-01-16T07:00:00Z");
  EXPECT_EQ(changes_, 1);
  SkipTarget at_noon = to("2026-01-20T00:00:00Z");
  at_noon.run_time = at("2026-01-20T12:34:56.7Z");
  EXPECT_EQ(show(control().skip(0, id("w"), at_noon, false)), "2026-01-20T00:00:00Z / 2026-01-20T12:34:56Z");
  EXPECT_EQ(show(control().skip(0, id("w"), to("2026-01-20T00:00:00"), false)), "409 Specified time to skip schedules is already past");
  EXPECT_EQ(next("w"), "2026-01-20T00:00:00Z / 2026-01-20T12:34:56Z");
}

// scheduling 14.46, 14.48
TEST_P(Control, SkipsANumberOfSessionsAndTriesItDry) {
  push({{"w", daily}}, "2026-01-10T00:00:00Z");
  EXPECT_EQ(show(control().skip(0, id("w"), ahead("2026-01-10T08:00:00Z", 2), true)), "2026-01-13T00:00:00Z / 2026-01-13T07:00:00Z");
  EXPECT_EQ(next("w"), "2026-01-10T00:00:00Z / 2026-01-10T07:00:00Z");
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(show(control().skip(0, id("w"), ahead("2026-01-10T08:00:00Z", 2'000'000), true)), "400 count must not be larger than 1000000");
}

// rest-api 18.94
TEST_P(Control, KnowsOnlySchedulesOfTheSite) {
  push({{"w", daily}}, "2026-01-10T00:00:00Z");
  const std::int64_t schedule = id("w");
  const std::string unknown = "404 Resource does not exist: schedule id=" + std::to_string(schedule);
  EXPECT_EQ(show(control().skip(1, schedule, to("2026-02-01T00:00:00Z"), false)), unknown);
  EXPECT_EQ(show(control().disable(1, schedule)), unknown);
  EXPECT_EQ(show(control().enable(1, schedule, {})), unknown);
  EXPECT_EQ(refusal(control().backfill(1, schedule, backfill_from("2026-01-01T00:00:00Z", "b"))), unknown);
}

// scheduling 14.54, 14.64; rest-api 18.96
TEST_P(Control, EnablesWithOrWithoutWhatWasMissed) {
  push({{"w", daily}}, "2026-01-05T00:00:00Z");
  const auto disabled = control().disable(0, id("w"));
  EXPECT_TRUE(std::get<store::Schedule>(disabled).disabled_at);
  EXPECT_GE(std::get<store::Schedule>(disabled).updated_at, std::get<store::Schedule>(disabled).created_at);
  EXPECT_EQ(show(control().enable(0, id("w"), RequestedTime::parse("2026-01-04T00:00:00"))),
            "409 Specified time to skip schedules is already past");
  EXPECT_TRUE(schedule("w").disabled_at);
  EXPECT_EQ(show(control().enable(0, id("w"), RequestedTime::parse("2026-01-10T12:00:00Z"))),
            "2026-01-11T00:00:00Z / 2026-01-11T07:00:00Z");
  EXPECT_FALSE(schedule("w").disabled_at);
  EXPECT_EQ(show(control().enable(0, id("w"), {})), "2026-01-11T00:00:00Z / 2026-01-11T07:00:00Z");
}

// scheduling 14.49; rest-api 18.99, 18.101
TEST_P(Control, BackfillsOneSessionAfterTheOther) {
  push({{"w", hourly}}, "2026-01-10T03:00:00Z");
  const auto answer = control().backfill(0, id("w"), backfill_from("2026-01-10T00:00:00Z", "b"));
  const auto& attempts = std::get<Backfill>(answer).attempts;
  ASSERT_THAT(attempts, SizeIs(3));
  EXPECT_EQ(attempts[0].retry_attempt_name, "b");
  EXPECT_EQ(attempts[2].session_time, at("2026-01-10T02:00:00Z"));
  EXPECT_THAT(this->attempts(), ElementsAre("w 2026-01-10T00:00:00Z", "w 2026-01-10T01:00:00Z {\"last_executed\":\"2026-01-10T00:00:00Z\"}",
                                            "w 2026-01-10T02:00:00Z {\"last_executed\":\"2026-01-10T01:00:00Z\"}"));
  starter_->started.clear();
  EXPECT_EQ(start_delayed(), 1);
  EXPECT_EQ(start_delayed(), 0) << "the first one still runs";
  finish_attempts();
  EXPECT_EQ(start_delayed(), 1);
  finish_attempts();
  EXPECT_EQ(start_delayed(), 1);
  EXPECT_THAT(starter_->started, ElementsAre("w 2026-01-10T00:00:00Z", "w 2026-01-10T01:00:00Z", "w 2026-01-10T02:00:00Z"));
}

TEST_P(Control, BackfillsAsManySessionsAtOnceAsAskedFor) {
  push({{"w", hourly}}, "2026-01-10T05:00:00Z");
  BackfillRequest request = backfill_from("2026-01-10T00:00:00Z", "b");
  request.parallel = 2;
  control().backfill(0, id("w"), request);
  EXPECT_EQ(start_delayed(), 2);
  EXPECT_EQ(start_delayed(), 0);
  finish_attempts();
  EXPECT_EQ(start_delayed(), 2);
  finish_attempts();
  EXPECT_EQ(start_delayed(), 1);
}

// scheduling 14.50, 14.51, 14.52; rest-api 18.98, 18.100
TEST_P(Control, RefusesABackfillThatIsNotPossible) {
  push({{"w", hourly}}, "2026-01-10T03:00:00Z");
  BackfillRequest request = backfill_from("2026-01-10T00:00:00Z", "b");
  request.count = 5;
  EXPECT_EQ(refusal(control().backfill(0, id("w"), request)),
            "400 count is set to 5 but there are only 3 attempts until the next schedule time");
  request.count = 2;
  request.dry_run = true;
  const auto dry = control().backfill(0, id("w"), request);
  ASSERT_THAT(std::get<Backfill>(dry).attempts, SizeIs(2));
  EXPECT_EQ(std::get<Backfill>(dry).attempts[0].id, 0);
  EXPECT_NE(std::get<Backfill>(dry).attempts[0].session_uuid, std::get<Backfill>(dry).attempts[1].session_uuid);
  EXPECT_THAT(attempts(), IsEmpty());

  request.dry_run = false;
  EXPECT_EQ(refusal(control().backfill(0, id("w"), request)), "started");
  request.count = 3;
  EXPECT_EQ(refusal(control().backfill(0, id("w"), request)),
            "409 Attempt of project id=1 workflow=w instant=2026-01-10T00:00:00Z attempt name=b already exists");
  EXPECT_THAT(attempts(), SizeIs(2));
  EXPECT_THAT(std::get<Backfill>(control().backfill(0, id("w"), backfill_from("2026-02-01T00:00:00Z", "c"))).attempts, IsEmpty());
  EXPECT_THAT(refusal(control().backfill(0, id("w"), backfill_from("1500-01-01T00:00:00Z", "c"))), HasSubstr("at most 100000 sessions"));
  EXPECT_EQ(refusal(control().backfill(0, id("w"), backfill_from("2026-01-10T00:00:00Z", " "))), "400 attemptName must not be blank");
}

TEST_P(Control, RefusesTheWholeBackfillWhereOneAttemptCannotBeMade) {
  push({{"w", hourly}}, "2026-01-10T03:00:00Z");
  starter_->broken.insert("w");
  EXPECT_EQ(refusal(control().backfill(0, id("w"), backfill_from("2026-01-10T00:00:00Z", "b"))), "400 it is broken");
  EXPECT_THAT(attempts(), IsEmpty());
}

// scheduling 14.61
TEST(TruncatedSessionTime, FollowsItsMode) {
  const TimeZone kolkata = TimeZone::of("Asia/Kolkata").value();
  const auto scheduler = make_scheduler(parse_json(R"({"hourly>": "15:00"})"), kolkata);
  const auto truncated = [&](std::string_view mode, std::string_view time = "2026-03-04T05:06:07.8") {
    return format_session_time(
        truncated_session_time(RequestedTime::parse(time)->in(kolkata), *parse_truncation(mode), kolkata, scheduler.get()), kolkata);
  };
  EXPECT_EQ(truncated("second"), "2026-03-04T05:06:07+05:30");
  EXPECT_EQ(truncated("minute"), "2026-03-04T05:06:00+05:30");
  EXPECT_EQ(truncated("hour"), "2026-03-04T05:00:00+05:30");
  EXPECT_EQ(truncated("day"), "2026-03-04T00:00:00+05:30");
  EXPECT_EQ(truncated("schedule"), "2026-03-04T05:00:00+05:30");
  EXPECT_EQ(truncated("schedule", "2026-03-04T05:15:00.1"), "2026-03-04T06:00:00+05:30");
  EXPECT_EQ(truncated("next_schedule"), "2026-03-04T06:00:00+05:30");
  EXPECT_FALSE(parse_truncation("week"));
  EXPECT_THROW(truncated_session_time({}, Truncation::schedule, kolkata, nullptr), Error);
}

TEST(TruncatedSessionTime, KeepsTheOccurrenceOfAnHourThatComesTwice) {
  const TimeZone berlin = TimeZone::of("Europe/Berlin").value();
  const auto hour = [&](std::string_view time) {
    return format_session_time(truncated_session_time(at(time), Truncation::hour, berlin, nullptr), berlin);
  };
  EXPECT_EQ(hour("2026-10-25T00:45:00Z"), "2026-10-25T02:00:00+02:00");
  EXPECT_EQ(hour("2026-10-25T01:45:00Z"), "2026-10-25T02:00:00+01:00");
}

TEST(RequestedTime, IsAnInstantOrALocalTime) {
  const TimeZone tokyo = TimeZone::of("Asia/Tokyo").value();
  EXPECT_EQ(RequestedTime::parse("2031-01-10T12:00")->in(tokyo), at("2031-01-10T03:00:00Z"));
  EXPECT_EQ(RequestedTime::parse("2031-01-10T12:00:00.250")->in(tokyo), at("2031-01-10T03:00:00.25Z"));
  EXPECT_EQ(RequestedTime::parse("2031-01-10T12:00:00-05:00")->in(tokyo), at("2031-01-10T17:00:00Z"));
  for (const char* wrong : {"2031-01-25", "2031-01-25T", "now", "2031-13-01T00:00:00", ""}) {
    EXPECT_FALSE(RequestedTime::parse(wrong)) << wrong;
  }
}

}  // namespace
}  // namespace digdag::schedule
