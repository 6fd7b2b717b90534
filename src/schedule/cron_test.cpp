#include "schedule/cron.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"

namespace digdag::schedule {
namespace {

using testing::HasSubstr;

Instant at(std::string_view iso) {
  const auto instant = parse_instant(iso);
  if (!instant) throw std::runtime_error("no time: " + std::string(iso));
  return *instant;
}

TimeZone zone(std::string_view id) { return TimeZone::of(id).value(); }

/// `2024-03-10T01:00-05:00`
std::string show(Instant instant, const TimeZone& in) {
  std::string text = format_session_time(instant, in);
  return text.erase(16, 3);
}

std::vector<std::string> sessions(std::string_view pattern, std::string_view zone_id, std::string_view after, std::size_t count,
                                  OverlapSessions overlap = OverlapSessions::second) {
  const CronPattern cron = CronPattern::parse(pattern);
  const TimeZone in = zone(zone_id);
  std::vector<std::string> found;
  Instant t = at(after);
  while (found.size() < count) {
    t = cron.next(t, in, overlap).value();
    found.push_back(show(t, in));
  }
  return found;
}

std::string error_of(std::string_view pattern) {
  try {
    CronPattern::parse(pattern);
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "config");
    return error.message();
  }
}

struct Vector {
  std::string pattern, zone, after;
  std::vector<std::string> next;

  friend std::ostream& operator<<(std::ostream& out, const Vector& vector) { return out << vector.pattern << " in " << vector.zone; }
};

class ReferenceVectors : public testing::TestWithParam<Vector> {};

TEST_P(ReferenceVectors, AreMet) {
  const Vector& vector = GetParam();
  EXPECT_EQ(sessions(vector.pattern, vector.zone, vector.after, vector.next.size()), vector.next);
}

/// spec/scheduling.md 15.
INSTANTIATE_TEST_SUITE_P(
    Cron, ReferenceVectors,
    testing::Values(
        Vector{"0 * * * *",
               "America/New_York",
               "2024-11-02T23:30-04:00",
               {"2024-11-03T00:00-04:00", "2024-11-03T01:00-05:00", "2024-11-03T02:00-05:00", "2024-11-03T03:00-05:00"}},
        Vector{"*/30 * * * *",
               "America/New_York",
               "2024-11-03T00:00-04:00",
               {"2024-11-03T00:30-04:00", "2024-11-03T01:00-05:00", "2024-11-03T01:30-05:00", "2024-11-03T02:00-05:00"}},
        Vector{"* * * * *",
               "America/New_York",
               "2024-11-03T01:58-04:00",
               {"2024-11-03T01:59-04:00", "2024-11-03T01:00-05:00", "2024-11-03T01:01-05:00"}},
        Vector{"30 1 * * *",
               "America/New_York",
               "2024-11-01T23:30-04:00",
               {"2024-11-02T01:30-04:00", "2024-11-03T01:30-05:00", "2024-11-04T01:30-05:00"}},
        Vector{"0 * * * *",
               "America/New_York",
               "2024-03-10T00:30-05:00",
               {"2024-03-10T01:00-05:00", "2024-03-10T03:00-04:00", "2024-03-10T04:00-04:00"}},
        Vector{"30 2 * * *",
               "America/New_York",
               "2024-03-09T01:00-05:00",
               {"2024-03-09T02:30-05:00", "2024-03-10T03:30-04:00", "2024-03-11T02:30-04:00"}},
        Vector{"0 0 * * *",
               "America/Sao_Paulo",
               "2018-11-02T03:00-03:00",
               {"2018-11-03T00:00-03:00", "2018-11-04T01:00-02:00", "2018-11-05T00:00-02:00"}},
        Vector{"0 0 * * *",
               "America/Sao_Paulo",
               "2018-02-16T04:00-02:00",
               {"2018-02-17T00:00-02:00", "2018-02-18T00:00-03:00", "2018-02-19T00:00-03:00"}},
        Vector{"15 * * * *",
               "Europe/London",
               "2024-10-27T00:20+01:00",
               {"2024-10-27T01:15+00:00", "2024-10-27T02:15+00:00", "2024-10-27T03:15+00:00"}},
        Vector{"0 0 L * *",
               "UTC",
               "2024-01-15T00:00Z",
               {"2024-01-31T00:00+00:00", "2024-02-29T00:00+00:00", "2024-03-31T00:00+00:00", "2024-04-30T00:00+00:00"}},
        Vector{"0 0 29 2 *", "UTC", "2024-03-15T00:40Z", {"2028-02-29T00:00+00:00", "2032-02-29T00:00+00:00"}},
        Vector{"50-10/5 * * * *",
               "UTC",
               "2024-01-15T00:40Z",
               {"2024-01-15T00:50+00:00", "2024-01-15T00:55+00:00", "2024-01-15T01:00+00:00", "2024-01-15T01:05+00:00",
                "2024-01-15T01:10+00:00", "2024-01-15T01:50+00:00"}},
        Vector{"*/7 * * * *",
               "UTC",
               "2024-01-15T00:40Z",
               {"2024-01-15T00:42+00:00", "2024-01-15T00:49+00:00", "2024-01-15T00:56+00:00", "2024-01-15T01:00+00:00",
                "2024-01-15T01:07+00:00"}},
        Vector{"0 0 13 * 5", "UTC", "2024-01-15T00:00Z", {"2024-09-13T00:00+00:00", "2024-12-13T00:00+00:00", "2025-06-13T00:00+00:00"}},
        Vector{"0 0 * * 1-7",
               "UTC",
               "2024-01-15T09:00Z",
               {"2024-01-16T00:00+00:00", "2024-01-17T00:00+00:00", "2024-01-18T00:00+00:00", "2024-01-19T00:00+00:00",
                "2024-01-20T00:00+00:00", "2024-01-21T00:00+00:00", "2024-01-22T00:00+00:00"}}));

/// The minutes, hours, … of the next `count` sessions in UTC after the start of 2024 (a Monday).
std::vector<std::string> in_utc(std::string_view pattern, std::size_t count) {
  auto found = sessions(pattern, "UTC", "2023-12-31T23:59Z", count);
  for (std::string& session : found) session = session.substr(5, 11);
  return found;
}
using Times = std::vector<std::string>;

TEST(CronDialect, AlternativesAreUnited) {
  EXPECT_EQ(in_utc("0 5 * * *|30 6 * * *", 3), (Times{"01-01T05:00", "01-01T06:30", "01-02T05:00"}));
  EXPECT_EQ(in_utc("||0 5 * * *|", 2), (Times{"01-01T05:00", "01-02T05:00"}));
}

TEST(CronDialect, BothDayFieldsMustMatch) {
  EXPECT_EQ(sessions("0 0 13 * 5", "UTC", "2024-01-15T00:00Z", 1), (Times{"2024-09-13T00:00+00:00"}));
}

// scheduling 14.14
TEST(CronDialect, AStepOnASingleValueIsThatValue) { EXPECT_EQ(in_utc("5/10 * * * *", 2), (Times{"01-01T00:05", "01-01T01:05"})); }

// scheduling 14.15, 14.17
TEST(CronDialect, WeekdaysRangeModuloSeven) {
  EXPECT_EQ(in_utc("0 0 * * 0-7", 2), (Times{"01-07T00:00", "01-14T00:00"}));
  EXPECT_EQ(in_utc("0 0 * * 7", 2), (Times{"01-07T00:00", "01-14T00:00"}));
  EXPECT_EQ(in_utc("0 0 * * 6-7", 3), (Times{"01-06T00:00", "01-07T00:00", "01-13T00:00"}));
  EXPECT_EQ(in_utc("0 0 * * 5-7", 4), (Times{"01-05T00:00", "01-06T00:00", "01-07T00:00", "01-12T00:00"}));
  EXPECT_EQ(in_utc("0 0 * * fri-MON", 5), (Times{"01-01T00:00", "01-05T00:00", "01-06T00:00", "01-07T00:00", "01-08T00:00"}));
  EXPECT_EQ(in_utc("0 0 * * */7", 2), (Times{"01-07T00:00", "01-14T00:00"}));
}

TEST(CronDialect, RangesWrapAndStepsCountFromTheirStart) {
  EXPECT_EQ(in_utc("0 22-2/2 * * *", 3), (Times{"01-01T00:00", "01-01T02:00", "01-01T22:00"}));
  EXPECT_EQ(in_utc("0 0 1 nov-Feb *", 4), (Times{"01-01T00:00", "02-01T00:00", "11-01T00:00", "12-01T00:00"}));
  EXPECT_EQ(in_utc("0 0 */10 * *", 5), (Times{"01-01T00:00", "01-11T00:00", "01-21T00:00", "01-31T00:00", "02-01T00:00"}));
}

TEST(CronDialect, DanglingCommasSlashesAndDashesAreTolerated) {
  EXPECT_EQ(in_utc(",0,,30, * * * *", 2), (Times{"01-01T00:00", "01-01T00:30"}));
  EXPECT_EQ(in_utc("*/ 0 * * *", 2), (Times{"01-01T00:00", "01-01T00:01"}));
  EXPECT_EQ(in_utc("/5 0 * * *", 2), (Times{"01-01T00:05", "01-02T00:05"}));
  EXPECT_EQ(in_utc("0 0 1- * *", 2), (Times{"01-01T00:00", "02-01T00:00"}));
  EXPECT_EQ(in_utc("0 0 -1 * *", 2), (Times{"01-01T00:00", "02-01T00:00"}));
}

TEST(CronDialect, TheLastDayFollowsTheMonth) {
  EXPECT_EQ(in_utc("0 0 l 2 *", 1), (Times{"02-29T00:00"}));
  EXPECT_EQ(in_utc("0 0 28-L 2 *", 2), (Times{"02-28T00:00", "02-29T00:00"}));
  EXPECT_EQ(in_utc("0 0 1,L * *", 3), (Times{"01-01T00:00", "01-31T00:00", "02-01T00:00"}));
  EXPECT_EQ(in_utc("0 0 L-2 * *", 3), (Times{"01-01T00:00", "01-02T00:00", "02-01T00:00"}));
}

TEST(CronDialect, FieldsAreSeparatedByBlanksAndTabs) { EXPECT_EQ(in_utc(" 0\t\t5  * * * ", 1), (Times{"01-01T05:00"})); }

// scheduling 14.18
TEST(CronErrors, ACountOfFieldsOtherThanFiveIsNamedWithTheAlternative) {
  EXPECT_EQ(error_of(""), "invalid pattern: \"\"");
  EXPECT_EQ(error_of("|"), "invalid pattern: \"|\"");
  EXPECT_EQ(error_of("@daily"), "invalid pattern: \"@daily\"");
  EXPECT_EQ(error_of("0 0 5 * * *"), "invalid pattern: \"0 0 5 * * *\"");
  EXPECT_EQ(error_of("0 5 * * *|0 5"), "invalid pattern: \"0 5\"");
}

TEST(CronErrors, NameTheFieldTheElementAndTheValue) {
  EXPECT_EQ(error_of("* * ? * *"),
            "invalid pattern \"* * ? * *\". Error parsing days of month field: invalid field \"?\", invalid element \"?\", invalid range, "
            "invalid value \"?\", invalid integer value.");
  EXPECT_EQ(error_of("1,60 * * * *"),
            "invalid pattern \"1,60 * * * *\". Error parsing minutes field: invalid field \"1,60\", invalid element \"60\", invalid range, "
            "invalid value \"60\", value out of range.");
  EXPECT_EQ(error_of("* * * * 8"),
            "invalid pattern \"* * * * 8\". Error parsing days of week field: invalid field \"8\", invalid element \"8\", invalid range, "
            "invalid value \"8\", invalid alias \"8\".");
  EXPECT_EQ(
      error_of("* * * juni *"),
      "invalid pattern \"* * * juni *\". Error parsing months field: invalid field \"juni\", invalid element \"juni\", invalid range, "
      "invalid value \"juni\", invalid alias \"juni\".");
  EXPECT_THAT(error_of("* , * * *"), HasSubstr("Error parsing hours field: invalid field \",\"."));
  EXPECT_THAT(error_of("*/0 * * * *"), HasSubstr("invalid element \"*/0\", non positive divisor \"0\"."));
  EXPECT_THAT(error_of("*/x * * * *"), HasSubstr("invalid element \"*/x\", invalid divisor \"x\"."));
  EXPECT_THAT(error_of("1/2/3 * * * *"), HasSubstr("invalid element \"1/2/3\", syntax error."));
  EXPECT_THAT(error_of("1-2-3 * * * *"), HasSubstr("invalid element \"1-2-3\", invalid range, syntax error."));
  EXPECT_THAT(error_of("* * 5L * *"), HasSubstr("invalid value \"5L\", invalid integer value."));
  EXPECT_THAT(error_of("* * 15W * *"), HasSubstr("invalid value \"15W\""));
  EXPECT_THAT(error_of("* * * * 5#2"), HasSubstr("invalid alias \"5#2\""));
  EXPECT_THAT(error_of("99999999999999999999 * * * *"), HasSubstr("invalid integer value"));
}

TEST(CronErrors, WhatNeverMatchesIsFoundAtOnce) {
  EXPECT_EQ(error_of("0 0 31 2 *"), "cron pattern \"0 0 31 2 *\" never matches");
  EXPECT_EQ(error_of("0 0 30 feb *"), "cron pattern \"0 0 30 feb *\" never matches");
  EXPECT_EQ(error_of("0 0 31 4,6,9,11 *"), "cron pattern \"0 0 31 4,6,9,11 *\" never matches");
  EXPECT_EQ(error_of("0 0 31 2 *|0 0 1 1 *"), "");
  EXPECT_EQ(error_of("0 0 29 2 mon"), "");
}

TEST(CronNext, IsStrictlyAfterAndOnWholeMinutes) {
  const CronPattern cron = CronPattern::parse("*/5 * * * *");
  EXPECT_EQ(cron.next(at("2024-01-01T00:05:00Z"), TimeZone()), at("2024-01-01T00:10:00Z"));
  EXPECT_EQ(cron.next(at("2024-01-01T00:04:59.999Z"), TimeZone()), at("2024-01-01T00:05:00Z"));
  EXPECT_EQ(cron.next(at("1969-12-31T23:59:30Z"), TimeZone()), at("1970-01-01T00:00:00Z"));
}

TEST(CronNext, WorksInZonesWithOddOffsets) {
  EXPECT_EQ(sessions("0 * * * *", "Asia/Kathmandu", "2024-01-01T00:00Z", 2), (Times{"2024-01-01T06:00+05:45", "2024-01-01T07:00+05:45"}));
  EXPECT_EQ(sessions("15 2 * * *", "Australia/Lord_Howe", "2024-10-05T00:00Z", 1), (Times{"2024-10-06T02:45+11:00"}));
}

TEST(CronNext, ADayThatAZoneLeftOutHasNoSessionOfItsOwn) {
  EXPECT_EQ(sessions("0 5 * * *", "Pacific/Apia", "2011-12-29T00:00-10:00", 3),
            (Times{"2011-12-29T05:00-10:00", "2011-12-31T05:00+14:00", "2012-01-01T05:00+14:00"}));
}

TEST(CronNext, AGapBeforeMidnightCostsOnlyWhatLiesInIt) {
  EXPECT_EQ(sessions("0 * * * *", "America/Nuuk", "2024-03-30T21:30-02:00", 3),
            (Times{"2024-03-30T22:00-02:00", "2024-03-31T00:00-01:00", "2024-03-31T01:00-01:00"}));
  EXPECT_EQ(sessions("30 23 * * *", "America/Nuuk", "2024-03-30T00:00-02:00", 1), (Times{"2024-03-31T23:30-01:00"}));
}

TEST(CronOverlap, BothOccurrencesOnRequest) {
  EXPECT_EQ(sessions("0 * * * *", "America/New_York", "2024-11-02T23:30-04:00", 4, OverlapSessions::both),
            (Times{"2024-11-03T00:00-04:00", "2024-11-03T01:00-04:00", "2024-11-03T01:00-05:00", "2024-11-03T02:00-05:00"}));
  EXPECT_EQ(sessions("*/30 * * * *", "America/New_York", "2024-11-03T00:30-04:00", 5, OverlapSessions::both),
            (Times{"2024-11-03T01:00-04:00", "2024-11-03T01:30-04:00", "2024-11-03T01:00-05:00", "2024-11-03T01:30-05:00",
                   "2024-11-03T02:00-05:00"}));
  EXPECT_EQ(sessions("30 1 * * *", "America/New_York", "2024-11-02T12:00-04:00", 3, OverlapSessions::both),
            (Times{"2024-11-03T01:30-04:00", "2024-11-03T01:30-05:00", "2024-11-04T01:30-05:00"}));
}

TEST(CronOverlap, TheFirstOccurrenceOnRequest) {
  EXPECT_EQ(sessions("*/30 * * * *", "America/New_York", "2024-11-03T00:30-04:00", 3, OverlapSessions::first),
            (Times{"2024-11-03T01:00-04:00", "2024-11-03T01:30-04:00", "2024-11-03T02:00-05:00"}));
  EXPECT_EQ(sessions("30 1 * * *", "America/New_York", "2024-11-03T01:10-05:00", 1, OverlapSessions::first),
            (Times{"2024-11-04T01:30-05:00"}));
}

std::string previous(std::string_view pattern, std::string_view zone_id, std::string_view before) {
  const TimeZone in = zone(zone_id);
  return show(CronPattern::parse(pattern).previous(at(before), in).value(), in);
}

TEST(CronPrevious, IsTheTruePreviousSession) {
  EXPECT_EQ(previous("0 9-17 * * *", "UTC", "2024-01-15T09:00Z"), "2024-01-14T17:00+00:00");
  EXPECT_EQ(previous("0 9-17 * * *", "UTC", "2024-01-15T10:00Z"), "2024-01-15T09:00+00:00");
  EXPECT_EQ(previous("0 9 * * mon,tue,wed", "UTC", "2024-01-15T09:00Z"), "2024-01-10T09:00+00:00");
  EXPECT_EQ(previous("0 0 * * mon-fri", "UTC", "2024-01-15T00:00Z"), "2024-01-12T00:00+00:00");
  EXPECT_EQ(previous("0 0 31 * *", "UTC", "2024-03-31T00:00Z"), "2024-01-31T00:00+00:00");
  EXPECT_EQ(previous("0 0 29 2 *", "UTC", "2024-02-29T00:00Z"), "2020-02-29T00:00+00:00");
  EXPECT_EQ(previous("0 0 * * *", "UTC", "2024-03-31T00:00:00.001Z"), "2024-03-31T00:00+00:00");
}

TEST(CronPrevious, GoesBackTheWayThatNextCame) {
  EXPECT_EQ(previous("0 * * * *", "America/New_York", "2024-11-03T01:00-05:00"), "2024-11-03T00:00-04:00");
  EXPECT_EQ(previous("* * * * *", "America/New_York", "2024-11-03T01:00-05:00"), "2024-11-03T01:59-04:00");
  EXPECT_EQ(previous("30 2 * * *", "America/New_York", "2024-03-11T00:00-04:00"), "2024-03-10T03:30-04:00");
  EXPECT_EQ(previous("0 5 * * *", "Pacific/Apia", "2011-12-31T05:00+14:00"), "2011-12-29T05:00-10:00");
}

/// For every session around changes of clocks, in chains of each kind of pattern.
TEST(CronPrevious, IsTheReverseOfNext) {
  const std::vector<std::pair<std::string, std::string>> changes = {{"America/New_York", "2024-03-09"},
                                                                    {"America/New_York", "2024-11-02"},
                                                                    {"Europe/London", "2024-03-30"},
                                                                    {"Europe/London", "2024-10-26"},
                                                                    {"Australia/Lord_Howe", "2024-04-06"},
                                                                    {"Australia/Lord_Howe", "2024-10-05"},
                                                                    {"America/Nuuk", "2024-03-30"},
                                                                    {"America/Nuuk", "2024-10-26"},
                                                                    {"America/Sao_Paulo", "2018-02-17"},
                                                                    {"America/Sao_Paulo", "2018-11-03"},
                                                                    {"UTC", "2024-02-28"}};
  for (const char* pattern : {"0 * * * *", "*/30 * * * *", "*/7 * * * *", "30 1 * * *", "30 2 * * *", "45 2 * * *|0 3 * * *",
                              "55-59,0-30 * * * *", "* 1 * * *", "0 0 L * *", "0 0 13 * 5", "30 0,23 * * *", "15 2 * * sun"}) {
    for (const auto& [id, day] : changes) {
      for (const auto overlap : {OverlapSessions::second, OverlapSessions::first, OverlapSessions::both}) {
        const CronPattern cron = CronPattern::parse(pattern);
        const TimeZone in = zone(id);
        Instant session = cron.next(at(day + "T00:00Z"), in, overlap).value();
        const Instant end = session.plus_seconds(3 * 86'400);
        while (session < end) {
          const Instant following = cron.next(session, in, overlap).value();
          ASSERT_LT(session, following);
          ASSERT_EQ(show(*cron.previous(following, in, overlap), in), show(session, in))
              << pattern << " " << id << " before " << show(following, in) << " overlap " << static_cast<int>(overlap);
          session = following;
        }
      }
    }
  }
}

TEST(CronNext, IsFoundWithoutWalkingThroughTheYears) {
  const CronPattern cron = CronPattern::parse("0 0 29 2 mon");
  const TimeZone in = zone("America/New_York");
  for (int i = 0; i < 10'000; ++i) EXPECT_EQ(cron.next(at("2024-01-01T00:00Z").plus_seconds(i), in), at("2044-02-29T05:00Z"));
}

}  // namespace
}  // namespace digdag::schedule
