#include "schedule/warnings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> ids(std::string_view json) {
  std::vector<std::string> found;
  for (const auto& warning : schedule_warnings(parse_json(json))) found.push_back(warning.id);
  return found;
}
std::vector<std::string> ids_of_cron(const std::string& pattern) { return ids(R"({"cron>": ")" + pattern + "\"}"); }

TEST(ScheduleWarnings, UsualSchedulesHaveNone) {
  for (const char* json : {R"({"daily>": "07:00:00"})", R"({"hourly>": "30:00"})", R"({"weekly>": "mon-fri,09:00:00"})",
                           R"({"monthly>": "1,09:00:00"})", R"({"minutes_interval>": 15})", R"({"seconds_interval>": 10})",
                           R"({"daily>": "07:00:00", "skip_on_overtime": true, "skip_delayed_by": "1h 30m"})"}) {
    EXPECT_THAT(ids(json), IsEmpty()) << json;
  }
  for (const char* pattern :
       {"0 0 * * *", "*/5 * * * *", "0 9-17/2 * * mon-fri", "0 0 L * *", "0 0 28-L * *", "0 0 * * 1-7", "0 0 1,15 * *"}) {
    EXPECT_THAT(ids_of_cron(pattern), IsEmpty()) << pattern;
  }
}

TEST(ScheduleWarnings, BothDayFields) {
  const auto warnings = schedule_warnings(parse_json(R"({"cron>": "0 0 13 * 5"})"));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].id, "W-cron-and");
  EXPECT_EQ(warnings[0].message,
            "cron pattern \"0 0 13 * 5\": the day of month and the day of week must both match; for either write "
            "\"0 0 13 * *|0 0 * * 5\"");
}

TEST(ScheduleWarnings, AStepOnASingleValue) {
  const auto warnings = schedule_warnings(parse_json(R"({"cron>": "5/10 * * * *"})"));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].id, "W-cron-step");
  EXPECT_EQ(warnings[0].message, "\"5/10\" is the single value 5; for steps from there on write 5-59/10");
}

TEST(ScheduleWarnings, WeekdaysThatAreSundayAlone) {
  EXPECT_THAT(ids_of_cron("0 0 * * 0-7"), ElementsAre("W-cron-0-7"));
  EXPECT_THAT(ids_of_cron("0 0 * * sun-7"), ElementsAre("W-cron-0-7"));
}

TEST(ScheduleWarnings, RangesThatAreNone) {
  EXPECT_THAT(ids_of_cron("0 0 L-2 * *"), ElementsAre("W-cron-range"));
  EXPECT_THAT(ids_of_cron("0 0 -1 * *"), ElementsAre("W-cron-range"));
  EXPECT_THAT(ids_of_cron("*/ 1- * * *"), ElementsAre("W-cron-range", "W-cron-range"));
}

TEST(ScheduleWarnings, TimesOutsideOfTheirRange) {
  const auto warnings = schedule_warnings(parse_json(R"({"hourly>": "75:00"})"));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].id, "W-schedule-clock");
  EXPECT_EQ(warnings[0].message, "hourly>: in 75:00, 75 is outside of its range; sessions run 1h 15m after their session time");
  EXPECT_THAT(ids(R"({"daily>": "25:00:00"})"), ElementsAre("W-schedule-clock"));
  EXPECT_THAT(ids(R"({"daily>": "+25:00:00"})"), ElementsAre("W-schedule-clock"));
  EXPECT_THAT(ids(R"({"weekly>": "mon,00:-5:00"})"), ElementsAre("W-schedule-clock"));
  EXPECT_THAT(ids(R"({"monthly>": "-1,00:00:00"})"), ElementsAre("W-schedule-clock"));
  EXPECT_THAT(ids(R"({"daily>": null, "at": "24:00:00"})"), ElementsAre("W-schedule-clock"));
}

TEST(ScheduleWarnings, UnevenMinutesAndFewSeconds) {
  EXPECT_THAT(ids(R"({"minutes_interval>": 7})"), ElementsAre("W-schedule-interval"));
  EXPECT_THAT(ids(R"({"minutes_interval>": 90})"), ElementsAre("W-schedule-interval"));
  EXPECT_THAT(ids(R"({"seconds_interval>": 9})"), ElementsAre("W-schedule-interval"));
}

TEST(ScheduleWarnings, SkipsThatAServerCouldNotRead) {
  EXPECT_THAT(ids(R"({"daily>": "07:00:00", "skip_on_overtime": "yes"})"), ElementsAre("W-schedule-skip"));
  EXPECT_THAT(ids(R"({"daily>": "07:00:00", "skip_delayed_by": "xyz"})"), ElementsAre("W-schedule-skip"));
  EXPECT_THAT(ids(R"({"daily>": "07:00:00", "skip_delayed_by": 3})"), ElementsAre("W-schedule-skip"));
}

TEST(ScheduleWarnings, OfAListAreThoseOfItsEntries) {
  EXPECT_THAT(ids(R"([{"hourly>": "75:00"}, {"cron>": "5/10 * * * *"}])"), ElementsAre("W-schedule-clock", "W-cron-step"));
}

TEST(ScheduleWarnings, ErrorsAreNotTheirBusiness) {
  for (const char* json : {R"({"cron>": "x"})", R"({"daily>": "07:00"})", R"({"foo>": 1})", "{}", "null", "[1]",
                           R"({"minutes_interval>": "x"})", R"({"cron>": {"a": 1}})"}) {
    EXPECT_THAT(ids(json), IsEmpty()) << json;
  }
}

TEST(ScheduleWarnings, PointAtTheKey) {
  Value config = Value::object();
  config.mutable_object().set("hourly>", "75:00", {.line = 3, .column = 5, .file = 0});
  EXPECT_EQ(schedule_warnings(config).at(0).position, (Position{.line = 3, .column = 5, .file = 0}));
}

}  // namespace
}  // namespace digdag::schedule
