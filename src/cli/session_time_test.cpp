#include "cli/session_time.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "base/json.h"
#include "cli/arguments.h"
#include "dig/project_for_test.h"

namespace digdag::cli {
namespace {

using dig::TestProject;

const TimeZone tokyo = TimeZone::of("Asia/Tokyo").value();
const Instant now = parse_instant("2026-01-02T18:30:15Z").value();  // 03:30:15 of the next day in Tokyo

/// The session, and the notice behind it where there is one.
std::string session(std::string_view expression, const TestProject& states, const schedule::Scheduler* scheduler = nullptr) {
  const SessionTime session = session_time(expression, "w", tokyo, now, scheduler, states.directory());
  return format_session_time(session.time, tokyo) + (session.notice.empty() ? "" : " " + session.notice);
}

std::unique_ptr<schedule::Scheduler> daily_at_four() { return schedule::make_scheduler(parse_json(R"({"daily>": "04:00:00"})"), tokyo); }

TEST(SessionTime, OfHourAndDayBeginInTheZoneOfTheWorkflow) {
  EXPECT_EQ(session("hourly", {}), "2026-01-03T03:00:00+09:00");
  EXPECT_EQ(session("daily", {}), "2026-01-03T00:00:00+09:00");
}

TEST(SessionTime, MayBeWritten) {
  EXPECT_EQ(session("2026-01-05", {}), "2026-01-05T00:00:00+09:00");
  EXPECT_EQ(session("2026-01-05 06:07:08", {}), "2026-01-05T06:07:08+09:00");
  EXPECT_EQ(session("2026-02-30", {}), "2026-02-28T00:00:00+09:00");
  for (const char* wrong : {"", "now", "yesterday", "2026-1-5", "2026-01-05T06:07:08", "2026-01-05 06:07"})
    EXPECT_THROW(session(wrong, {}), Error) << wrong;
}

TEST(SessionTime, OfAScheduleIsTheNewestBeforeNowWhetherItsRunIsDueOrNot) {
  EXPECT_EQ(session("schedule", {}, daily_at_four().get()), "2026-01-03T00:00:00+09:00");
  EXPECT_THROW(session("schedule", {}), UsageError);
}

// cli 11.48
TEST(SessionTime, LastIsTheGreatestSessionWithStateOfThisWorkflow) {
  const TestProject states{{"20260101T000000+0900/+w+a.yml", ""},     {"20260102T000000+0900/+w^failure-alert.yml", ""},
                           {"20260103T000000+0900/+w.yml", ""},       {"20260104T000000+0900/+wide+a.yml", ""},
                           {"20260105T000000+0900/.meta.json", ""},   {"yesterday/+w+a.yml", ""},
                           {"20260106T000000+0900/+w+a.yml.part", ""}};
  EXPECT_EQ(session("last", states), "2026-01-02T00:00:00+09:00 Reusing the last session time 2026-01-02T00:00:00+09:00.");
}

// cli 11.45
TEST(SessionTime, WithoutStateLastIsThatOfTheScheduleOrToday) {
  EXPECT_EQ(session("last", {}, daily_at_four().get()),
            "2026-01-03T00:00:00+09:00 Using a new session time 2026-01-03T00:00:00+09:00 based on schedule.");
  EXPECT_EQ(session("last", {}), "2026-01-03T00:00:00+09:00 Using a new session time 2026-01-03T00:00:00+09:00.");
}

TEST(SessionTime, WithoutADirectoryOfStatesThereIsNone) {
  EXPECT_EQ(session_time("last", "w", tokyo, now, nullptr, "/no/such/directory").notice,
            "Using a new session time 2026-01-03T00:00:00+09:00.");
}

}  // namespace
}  // namespace digdag::cli
