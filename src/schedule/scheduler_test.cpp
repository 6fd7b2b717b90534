#include "schedule/scheduler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::StartsWith;

Instant at(std::string_view iso) {
  const auto instant = parse_instant(iso);
  if (!instant) throw std::runtime_error("no time: " + std::string(iso));
  return *instant;
}

TimeZone zone(std::string_view id) { return TimeZone::of(id).value(); }

/// A schedule as JSON writes it.
std::unique_ptr<Scheduler> scheduler(std::string_view json, std::string_view zone_id = "UTC") {
  return make_scheduler(parse_json(json), zone(zone_id));
}

std::string error_of(std::string_view json) {
  try {
    scheduler(json);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "config") << json;
    return error.message();
  }
}

std::vector<std::string> unused(std::string_view json) {
  std::vector<UnusedKey> keys;
  make_scheduler(parse_json(json), TimeZone(), &keys);
  std::vector<std::string> texts;
  for (const UnusedKey& key : keys) texts.push_back(key.text);
  return texts;
}

/// `session / run`, both `2024-01-15T00:00Z`.
std::string show(const ScheduleTime& time) {
  const auto text = [](Instant instant) {
    std::string iso = format_instant(instant);
    return iso.ends_with(":00Z") ? iso.replace(16, 4, "Z") : iso;
  };
  return text(time.session) + " / " + text(time.run);
}

std::string first(std::string_view json, std::string_view now, std::string_view zone_id = "UTC") {
  return show(scheduler(json, zone_id)->first(at(now)));
}
std::string next(std::string_view json, std::string_view t, std::string_view zone_id = "UTC") {
  return show(scheduler(json, zone_id)->next(at(t)));
}
std::string last(std::string_view json, std::string_view t, std::string_view zone_id = "UTC") {
  return show(scheduler(json, zone_id)->last(at(t)));
}

constexpr const char* finished = "9999-01-01T00:00Z / 9999-01-01T00:00Z";

// scheduling 14.1, 14.2
TEST(Schedule, TheFirstRunIsNowOrLater) {
  EXPECT_EQ(first(R"({"daily>": "07:00:00"})", "2016-02-03T06:59:59Z"), "2016-02-03T00:00Z / 2016-02-03T07:00Z");
  EXPECT_EQ(first(R"({"daily>": "07:00:00"})", "2016-02-03T07:00:00Z"), "2016-02-03T00:00Z / 2016-02-03T07:00Z");
  EXPECT_EQ(first(R"({"daily>": "07:00:00"})", "2016-02-03T07:00:00.500Z"), "2016-02-04T00:00Z / 2016-02-04T07:00Z");
}

// scheduling 14.3
TEST(Schedule, HourlyRunsSomeMinutesIntoTheHour) {
  EXPECT_EQ(first(R"({"hourly>": "30:00"})", "2016-02-03T10:45:00Z"), "2016-02-03T11:00Z / 2016-02-03T11:30Z");
  EXPECT_EQ(first(R"({"hourly>": "30:00"})", "2016-02-03T10:15:00Z"), "2016-02-03T10:00Z / 2016-02-03T10:30Z");
}

// scheduling 14.4
TEST(Schedule, WeeklySessionsAreMidnightsOfTheDay) {
  for (const char* day : {"Sun", "0", "7", "sun", " sun "}) {
    EXPECT_EQ(next(R"({"weekly>": ")" + std::string(day) + R"(,09:00:00"})", "2024-01-15T00:00Z"), "2024-01-21T00:00Z / 2024-01-21T09:00Z");
  }
}

// scheduling 14.5, 14.6
TEST(Schedule, AWrongDayOfTheWeekIsNamed) {
  EXPECT_EQ(error_of(R"({"weekly>": "-1,09:00:00"})"), "weekly>: invalid day: -1");
  EXPECT_EQ(error_of(R"({"weekly>": "Sunday,09:00:00"})"), "weekly>: scheduler requires day,hh:mm:ss format: Sunday,09:00:00");
}

// scheduling 14.7
TEST(Schedule, ADayThatAMonthLacksIsLeftOut) {
  const auto monthly = scheduler(R"({"monthly>": "31,00:00:00"})");
  std::vector<std::string> days;
  for (Instant t = at("2024-01-01T00:00Z"); days.size() < 4;) {
    t = monthly->next(t).session;
    days.push_back(format_date(t, TimeZone()));
  }
  EXPECT_THAT(days, ElementsAre("2024-01-31", "2024-03-31", "2024-05-31", "2024-07-31"));
}

// scheduling 14.8, 14.9, 14.10
TEST(Schedule, WrongTimesAreNamed) {
  EXPECT_EQ(error_of(R"({"monthly>": "1 09:00:00"})"), "monthly>: scheduler requires day,hh:mm:ss format: 1 09:00:00");
  EXPECT_EQ(error_of(R"({"daily>": "07:00"})"), "daily> scheduler requires hh:mm:ss format: 07:00");
  EXPECT_EQ(error_of(R"({"hourly>": "1:2:3"})"), "hourly>: scheduler requires mm:ss format: 1:2:3");
}

// scheduling 14.11, 14.12
TEST(Schedule, MinutesBeginAnewEveryHour) {
  EXPECT_EQ(next(R"({"minutes_interval>": 7})", "2024-01-15T00:49:00Z"), "2024-01-15T00:56Z / 2024-01-15T00:56Z");
  EXPECT_EQ(next(R"({"minutes_interval>": 7})", "2024-01-15T00:56:00Z"), "2024-01-15T01:00Z / 2024-01-15T01:00Z");
  EXPECT_EQ(next(R"({"minutes_interval>": "90"})", "2024-01-15T00:00:00Z"), "2024-01-15T01:00Z / 2024-01-15T01:00Z");
}

// scheduling 14.13, 14.16, 14.18, 14.19
TEST(Schedule, PatternsGoThroughCron) {
  EXPECT_EQ(next(R"({"cron>": "0 0 13 * 5"})", "2024-01-15T00:00Z"), "2024-09-13T00:00Z / 2024-09-13T00:00Z");
  EXPECT_EQ(next(R"({"cron>": "0 0 L * *"})", "2024-01-31T00:00Z"), "2024-02-29T00:00Z / 2024-02-29T00:00Z");
  EXPECT_EQ(error_of(R"({"cron>": "@daily"})"), "invalid pattern: \"@daily\"");
  EXPECT_THAT(error_of(R"({"cron>": "* * ? * *"})"), StartsWith("invalid pattern \"* * ? * *\". Error parsing days of month field: "));
  EXPECT_EQ(next(R"({"cron>": "0 5 * * *|30 6 * * *"})", "2024-01-15T05:00Z"), "2024-01-15T06:30Z / 2024-01-15T06:30Z");
}

// scheduling 14.20
TEST(Schedule, OneHourlySessionIsLostWhenClocksGoBack) {
  EXPECT_EQ(next(R"({"hourly>": "00:00"})", "2024-11-03T04:00Z", "America/New_York"), "2024-11-03T06:00Z / 2024-11-03T06:00Z");
}

// scheduling 14.21, 14.23
TEST(Schedule, ASessionInAGapMovesForward) {
  EXPECT_EQ(next(R"({"cron>": "30 2 * * *"})", "2024-03-10T00:00-05:00", "America/New_York"), "2024-03-10T07:30Z / 2024-03-10T07:30Z");
  EXPECT_EQ(next(R"({"daily>": "00:00:00"})", "2018-11-03T03:00Z", "America/Sao_Paulo"), "2018-11-04T03:00Z / 2018-11-04T03:00Z");
}

// scheduling 14.22
TEST(Schedule, TheLastSessionIsTheTruePreviousOne) {
  EXPECT_EQ(last(R"({"cron>": "0 9-17 * * *"})", "2024-01-15T09:00Z"), "2024-01-14T17:00Z / 2024-01-14T17:00Z");
}

// scheduling 14.24
TEST(Schedule, TheDelayIsCountedInRealTime) {
  EXPECT_EQ(first(R"({"daily>": "07:00:00"})", "2024-03-10T06:00Z", "America/New_York"), "2024-03-10T05:00Z / 2024-03-10T12:00Z");
  EXPECT_EQ(first(R"({"daily>": "07:00:00"})", "2024-11-03T06:00Z", "America/New_York"), "2024-11-03T04:00Z / 2024-11-03T11:00Z");
}

// scheduling 14.25, 14.26, 14.66
TEST(Schedule, StartAndEndBoundTheRuns) {
  EXPECT_EQ(first(R"({"daily>": "00:00:00", "start": "2022-01-10"})", "2022-01-01T00:00Z"), "2022-01-10T00:00Z / 2022-01-10T00:00Z");
  EXPECT_EQ(next(R"({"daily>": "00:00:00", "end": "2022-01-10"})", "2022-01-09T00:00Z"), "2022-01-10T00:00Z / 2022-01-10T00:00Z");
  EXPECT_EQ(next(R"({"daily>": "00:00:00", "end": "2022-01-10"})", "2022-01-10T00:00Z"), finished);
  EXPECT_EQ(first(R"({"daily>": "00:00:00", "end": "2022-01-10"})", "2023-01-01T00:00Z"), finished);
}

// scheduling 14.27, 14.28
TEST(Schedule, WrongDatesAreNamed) {
  EXPECT_THAT(error_of(R"({"daily>": "00:00:00", "start": "2022-02-30"})"), StartsWith("Invalid start: 2022-02-30"));
  EXPECT_THAT(error_of(R"({"daily>": "00:00:00", "end": "2022-2-3"})"), StartsWith("Invalid end: 2022-2-3"));
  EXPECT_THAT(error_of(R"({"daily>": "00:00:00", "end": "2022-02-03 00:00:00"})"), StartsWith("Invalid end: "));
  EXPECT_EQ(error_of(R"({"daily>": "00:00:00", "start": "2022-02-02", "end": "2022-02-01"})"), "The schedule of end is earlier than start");
  EXPECT_EQ(error_of(R"({"daily>": "00:00:00", "start": "2022-02-02", "end": "2022-02-02"})"), "");
}

// scheduling 14.29, 14.30
TEST(Schedule, ASchedulesTypeIsItsFirstOperatorKey) {
  EXPECT_EQ(error_of(R"({"foo>": 1})"), "Unknown scheduler type: foo");
  EXPECT_EQ(error_of(R"({"at": "x"})"), "Schedule config requires 'type>: at' parameter: {\"at\":\"x\"}");
  EXPECT_EQ(error_of(R"({"foo>": 1, "daily>": "07:00:00"})"), "Unknown scheduler type: foo");
}

// scheduling 14.31, 14.32, 14.68
TEST(Schedule, KeysThatMeanNothingAreReported) {
  EXPECT_THAT(unused(R"({"daily>": "07:00:00", "skip_on_over_time": true})"),
              ElementsAre("Parameter 'skip_on_over_time' is not used at schedule. > Did you mean '[skip_on_overtime]'?"));
  EXPECT_THAT(unused(R"({"daily>": "07:00:00", "hourly>": "00:00"})"), ElementsAre("Parameter 'hourly>' is not used at schedule. "));
  EXPECT_THAT(unused(R"({"cron>": "0 * * * *", "delay": 60, "start": "2022-01-01", "skip_delayed_by": "3m", "catch_up": "latest"})"),
              IsEmpty());
  EXPECT_THAT(unused(R"({"daily>": "07:00:00", "delay": 60})"), ElementsAre(StartsWith("Parameter 'delay' is not used at schedule. ")));
  EXPECT_EQ(next(R"({"cron>": "0 * * * *", "delay": 60})", "2024-01-15T00:00Z"), "2024-01-15T01:00Z / 2024-01-15T01:01Z");
}

// scheduling 14.62
TEST(Schedule, APatternThatNeverMatchesIsAnError) {
  EXPECT_EQ(error_of(R"({"cron>": "0 0 31 2 *"})"), "cron pattern \"0 0 31 2 *\" never matches");
}

// scheduling 14.65
TEST(Schedule, SecondsIntervalsAreMultiplesSinceTheEpoch) {
  const auto interval = scheduler(R"({"seconds_interval>": 3000})", "Asia/Tokyo");
  const Instant session = interval->next(at("2024-01-15T00:00:01Z")).session;
  EXPECT_EQ(session.millis % 3'000'000, 0);
  EXPECT_EQ(interval->next(session).session, session.plus_seconds(3000));
  EXPECT_EQ(interval->last(session).session, session.plus_seconds(-3000));
  EXPECT_EQ(interval->last(session.plus_millis(1)).session, session);
  EXPECT_EQ(interval->first(session).session, session);
  EXPECT_EQ(interval->first(session.plus_millis(1)).session, session.plus_seconds(3000));
}

// spec/scheduling.md 2, 3 and decisions.md 4.

TEST(Schedule, TimesOutsideOfTheirRangeAreOnlyADelay) {
  EXPECT_EQ(next(R"({"hourly>": "75:00"})", "2024-01-15T00:00Z"), "2024-01-15T01:00Z / 2024-01-15T02:15Z");
  EXPECT_EQ(next(R"({"daily>": "25:00:00"})", "2024-01-15T00:00Z"), "2024-01-16T00:00Z / 2024-01-17T01:00Z");
  EXPECT_EQ(next(R"({"hourly>": "-10:00"})", "2024-01-15T00:00Z"), "2024-01-15T01:00Z / 2024-01-15T00:50Z");
  EXPECT_EQ(next(R"({"hourly>": "30:00:"})", "2024-01-15T00:00Z"), "2024-01-15T01:00Z / 2024-01-15T01:30Z");
}

TEST(Schedule, TimesOfAnotherFormAreErrors) {
  for (const char* time : {"", "7", "07:00:00:00", "07:xx:00", "07: 00:00", "99999999999:00:00"}) {
    EXPECT_EQ(error_of(R"({"daily>": ")" + std::string(time) + "\"}"), "daily> scheduler requires hh:mm:ss format: " + std::string(time));
  }
  EXPECT_EQ(error_of(R"({"hourly>": 30})"), "hourly>: scheduler requires mm:ss format: 30");
  EXPECT_EQ(error_of(R"({"weekly>": "mon"})"), "weekly>: scheduler requires day,hh:mm:ss format: mon");
  EXPECT_EQ(error_of(R"({"weekly>": "mon,tue,09:00:00"})"), "weekly> scheduler requires hh:mm:ss format: tue,09:00:00");
  EXPECT_EQ(error_of(R"({"monthly>": "L,09:00:00"})"), "monthly>: scheduler requires day,hh:mm:ss format: L,09:00:00");
  EXPECT_EQ(error_of(R"({"monthly>": "1,x"})"), "monthly> scheduler requires hh:mm:ss format: x");
}

TEST(Schedule, WeeklyTakesAnyFieldOfCron) {
  EXPECT_EQ(next(R"({"weekly>": "mon-fri,09:00:00"})", "2024-01-19T00:00Z"), "2024-01-22T00:00Z / 2024-01-22T09:00Z");
}

TEST(Schedule, MonthlyDaysAreThoseOfCron) {
  EXPECT_THAT(error_of(R"({"monthly>": "32,00:00:00"})"), StartsWith("invalid pattern \"0 0 32 * *\"."));
  EXPECT_THAT(error_of(R"({"monthly>": "0,00:00:00"})"), StartsWith("invalid pattern \"0 0 0 * *\"."));
  EXPECT_EQ(next(R"({"monthly>": "-1,00:00:00"})", "2024-01-15T00:00Z"), "2024-02-01T00:00Z / 2024-02-01T00:00Z");
  EXPECT_EQ(next(R"({"monthly>": "1, 09:00:00"})", "2024-01-15T00:00Z"), "2024-02-01T00:00Z / 2024-02-01T09:00Z");
}

TEST(Schedule, IntervalsOfNothingAreErrors) {
  EXPECT_THAT(error_of(R"({"minutes_interval>": 0})"), testing::HasSubstr("non positive divisor \"0\""));
  EXPECT_THAT(error_of(R"({"minutes_interval>": -5})"), testing::HasSubstr("non positive divisor \"-5\""));
  EXPECT_THAT(error_of(R"({"minutes_interval>": "x"})"), StartsWith("Expected integer (int) type for key 'minutes_interval>'"));
  EXPECT_EQ(error_of(R"({"seconds_interval>": 0})"), "seconds_interval>: scheduler requires an interval of 1 or more seconds: 0");
}

TEST(Schedule, SecondsIntervalsHonourDelayStartAndEnd) {
  const char* json = R"({"seconds_interval>": 300, "delay": 60, "start": "2024-01-15", "end": "2024-01-15"})";
  EXPECT_EQ(first(json, "2024-01-10T00:00Z"), "2024-01-15T00:00Z / 2024-01-15T00:01Z");
  EXPECT_EQ(first(json, "2024-01-15T10:01:00Z"), "2024-01-15T10:00Z / 2024-01-15T10:01Z");
  EXPECT_EQ(first(json, "2024-01-15T10:01:01Z"), "2024-01-15T10:05Z / 2024-01-15T10:06Z");
  EXPECT_EQ(next(json, "2024-01-15T23:55Z"), finished);
}

TEST(Schedule, StartIsComparedWithTheRunAndStartsOverAtTheSession) {
  EXPECT_EQ(first(R"({"daily>": "25:00:00", "start": "2024-01-10"})", "2024-01-01T00:00Z"), "2024-01-10T00:00Z / 2024-01-11T01:00Z");
  EXPECT_EQ(first(R"({"daily>": "-25:00:00", "start": "2024-01-10"})", "2024-01-01T00:00Z"), "2024-01-10T00:00Z / 2024-01-08T23:00Z");
}

TEST(Schedule, StartAndEndAreMidnightsOfTheZone) {
  EXPECT_EQ(first(R"({"daily>": "00:00:00", "start": "2024-01-10"})", "2024-01-01T00:00Z", "Asia/Tokyo"),
            "2024-01-09T15:00Z / 2024-01-09T15:00Z");
}

TEST(Schedule, TheLastSessionKnowsNoStart) {
  EXPECT_EQ(last(R"({"daily>": "07:00:00", "start": "2024-01-10"})", "2024-01-10T00:00Z"), "2024-01-09T00:00Z / 2024-01-09T07:00Z");
}

TEST(Schedule, TheTypeMayStandApartFromItsCommand) {
  EXPECT_EQ(next(R"({"_type": "daily", "_command": "07:00:00"})", "2024-01-15T00:00Z"), "2024-01-16T00:00Z / 2024-01-16T07:00Z");
  EXPECT_EQ(next(R"({"_type": "daily", "at": "07:00:00"})", "2024-01-15T00:00Z"), "2024-01-16T00:00Z / 2024-01-16T07:00Z");
  EXPECT_EQ(next(R"({"daily>": null, "at": "07:00:00"})", "2024-01-15T00:00Z"), "2024-01-16T00:00Z / 2024-01-16T07:00Z");
  EXPECT_THAT(unused(R"({"_type": "daily", "_command": "07:00:00"})"), IsEmpty());
  EXPECT_THAT(unused(R"({"_type": "daily", "at": "07:00:00"})"), IsEmpty());
  EXPECT_EQ(error_of(R"({"_type": "daily"})"), "Parameter '_command' is required but not set");
  EXPECT_EQ(error_of(R"({"daily>": null})"), "Parameter 'daily>' is required but null");
  EXPECT_EQ(error_of(R"({"cron>": null, "at": "x"})"), "Parameter 'cron>' is required but null");
}

TEST(Schedule, MustBeAMappingOrAListOfThem) {
  EXPECT_EQ(error_of(R"("daily")"), "Parameter 'schedule' must be an object");
  EXPECT_EQ(error_of("null"), "Parameter 'schedule' must be an object");
  EXPECT_EQ(error_of("[]"), "Parameter 'schedule' is a list without a schedule");
  EXPECT_EQ(error_of(R"([{"daily>": "07:00:00"}, "x"])"), "Parameter 'schedule' must be an object or a list of objects");
  EXPECT_THAT(error_of("{}"), StartsWith("Schedule config requires 'type>: at' parameter"));
}

TEST(Schedule, ErrorsPointAtTheKeyOfTheType) {
  Value config = Value::object();
  config.mutable_object().set("daily>", "07:00", {.line = 3, .column = 5, .file = 0});
  try {
    make_scheduler(config, TimeZone());
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.position(), (Position{.line = 3, .column = 5, .file = 0}));
  }
}

TEST(Schedule, OptionsWithUnknownWordsAreErrors) {
  EXPECT_EQ(error_of(R"({"hourly>": "00:00", "overlap": "all"})"), "Invalid overlap: all");
  EXPECT_EQ(error_of(R"({"hourly>": "00:00", "catch_up": "some"})"), "Invalid catch_up: some");
  EXPECT_EQ(error_of(R"({"cron>": "0 * * * *", "delay": 9000000000000000000})"), "Invalid delay: 9000000000000000000");
}

TEST(ScheduleOverlap, KeepsTheLostSessionsOnRequest) {
  EXPECT_EQ(next(R"({"hourly>": "00:00", "overlap": "both"})", "2024-11-03T04:00Z", "America/New_York"),
            "2024-11-03T05:00Z / 2024-11-03T05:00Z");
  EXPECT_EQ(next(R"({"hourly>": "00:00", "overlap": "both"})", "2024-11-03T05:00Z", "America/New_York"),
            "2024-11-03T06:00Z / 2024-11-03T06:00Z");
  EXPECT_EQ(next(R"({"hourly>": "00:00", "overlap": "first"})", "2024-11-03T05:00Z", "America/New_York"),
            "2024-11-03T07:00Z / 2024-11-03T07:00Z");
}

TEST(ScheduleWallClock, RunsAtTheLocalTimeOnDaysOfChange) {
  const char* json = R"({"daily>": "07:00:00", "wall_clock": true})";
  EXPECT_EQ(first(json, "2024-03-10T06:00Z", "America/New_York"), "2024-03-10T05:00Z / 2024-03-10T11:00Z");
  EXPECT_EQ(first(json, "2024-11-03T06:00Z", "America/New_York"), "2024-11-03T04:00Z / 2024-11-03T12:00Z");
  EXPECT_EQ(first(json, "2024-11-03T11:30Z", "America/New_York"), "2024-11-03T04:00Z / 2024-11-03T12:00Z");
  EXPECT_EQ(first(json, "2024-11-03T12:00:01Z", "America/New_York"), "2024-11-04T05:00Z / 2024-11-04T12:00Z");
}

TEST(ScheduleWallClock, GapsMoveForwardAndOverlapsAreTheFirst) {
  EXPECT_EQ(next(R"({"daily>": "02:30:00", "wall_clock": true})", "2024-03-10T00:00Z", "America/New_York"),
            "2024-03-10T05:00Z / 2024-03-10T07:30Z");
  EXPECT_EQ(next(R"({"daily>": "01:30:00", "wall_clock": true})", "2024-11-03T00:00Z", "America/New_York"),
            "2024-11-03T04:00Z / 2024-11-03T05:30Z");
  EXPECT_EQ(next(R"({"daily>": "25:30:00", "wall_clock": true})", "2024-03-09T00:00Z", "America/New_York"),
            "2024-03-09T05:00Z / 2024-03-10T06:30Z");
}

std::vector<std::string> chain(std::string_view json, std::string_view now, std::size_t count) {
  const auto list = scheduler(json);
  std::vector<std::string> times;
  ScheduleTime time = list->first(at(now));
  for (; times.size() < count; time = list->next(time.session)) times.push_back(show(time).substr(8, 8) + show(time).substr(30, 6));
  return times;
}

TEST(ScheduleList, SessionsComeInTheOrderOfTheirRuns) {
  EXPECT_THAT(chain(R"([{"daily>": "02:00:00"}, {"cron>": "15 * * * *"}])", "2024-01-15T00:00Z", 5),
              ElementsAre("15T00:15T00:15", "15T01:15T01:15", "15T00:00T02:00", "15T02:15T02:15", "15T03:15T03:15"));
}

TEST(ScheduleList, ASessionOfTwoEntriesStartsOnceAtItsEarliestRun) {
  EXPECT_THAT(chain(R"([{"daily>": "02:30:00"}, {"hourly>": "00:00"}])", "2024-01-15T00:00Z", 4),
              ElementsAre("15T00:00T00:00", "15T01:00T01:00", "15T02:00T02:00", "15T03:00T03:00"));
  EXPECT_THAT(chain(R"([{"daily>": "02:30:00"}, {"hourly>": "00:00"}])", "2024-01-15T00:30Z", 3),
              ElementsAre("15T01:00T01:00", "15T02:00T02:00", "15T03:00T03:00"));
}

TEST(ScheduleList, EachEntryHasItsOwnEnd) {
  EXPECT_THAT(
      chain(R"([{"hourly>": "00:00", "end": "2024-01-15"}, {"daily>": "00:00:00", "start": "2024-01-17"}])", "2024-01-15T22:30Z", 3),
      ElementsAre("15T23:00T23:00", "17T00:00T00:00", "18T00:00T00:00"));
  EXPECT_EQ(next(R"([{"hourly>": "00:00", "end": "2024-01-15"}, {"daily>": "00:00:00", "end": "2024-01-10"}])", "2024-01-15T23:00Z"),
            finished);
}

TEST(ScheduleList, TheLastSessionIsTheLatestOfAll) {
  EXPECT_EQ(last(R"([{"daily>": "02:00:00"}, {"cron>": "15 * * * *"}])", "2024-01-15T00:00Z"), "2024-01-14T23:15Z / 2024-01-14T23:15Z");
  EXPECT_EQ(last(R"([{"daily>": "02:00:00"}, {"hourly>": "00:00"}])", "2024-01-15T00:01Z"), "2024-01-15T00:00Z / 2024-01-15T00:00Z");
}

TEST(ScheduleList, UnusedKeysAreThoseOfEachEntry) {
  EXPECT_THAT(unused(R"([{"daily>": "02:00:00", "x": 1}, {"hourly>": "00:00", "yy": 1}])"),
              ElementsAre("Parameter 'x' is not used at schedule. ", "Parameter 'yy' is not used at schedule. "));
}

TEST(SchedulerOfAWorkflow, NamesThePlaceOfItsKeyWhereNothingNearerIsKnown) {
  const auto error_position = [](std::string_view schedule) {
    Value config = Value::object();
    config.mutable_object().set("schedule", parse_json(schedule), Position{.line = 7, .column = 1, .file = 0});
    try {
      scheduler_of(config, TimeZone());
      return Position();
    } catch (const Error& error) {
      return error.position();
    }
  };
  for (const char* wrong : {R"({"daily": "07:00:00"})", R"({"daily>": "25"})", "[]", "7"})
    EXPECT_EQ(error_position(wrong).line, 7) << wrong;
  EXPECT_FALSE(error_position(R"({"daily>": "07:00:00"})").known());
  EXPECT_EQ(scheduler_of(Value::object(), TimeZone()), nullptr);
}

TEST(ScheduleParams, AreTheSessionsAroundOne) {
  const TimeZone tokyo = zone("Asia/Tokyo");
  EXPECT_EQ(to_json(schedule_params(*scheduler(R"({"hourly>": "30:00"})", "Asia/Tokyo"), at("2026-01-02T00:00:00+09:00"), tokyo)),
            R"({"last_session_time":"2026-01-01T23:00:00+09:00","next_session_time":"2026-01-02T01:00:00+09:00"})");
}

TEST(ScheduleParams, OfAListAreInTheOrderOfSessions) {
  EXPECT_EQ(
      to_json(schedule_params(*scheduler(R"([{"daily>": "02:00:00"}, {"cron>": "15 * * * *"}])"), at("2024-01-15T00:00Z"), TimeZone())),
      R"({"last_session_time":"2024-01-14T23:15:00+00:00","next_session_time":"2024-01-15T00:15:00+00:00"})");
}

TEST(ScheduleParams, AfterTheLastSessionComesTheYear9999) {
  EXPECT_EQ(to_json(schedule_params(*scheduler(R"({"daily>": "00:00:00", "end": "2024-01-15"})"), at("2024-01-15T00:00Z"), TimeZone())),
            R"({"last_session_time":"2024-01-14T00:00:00+00:00","next_session_time":"9999-01-01T00:00:00+00:00"})");
}

}  // namespace
}  // namespace digdag::schedule
