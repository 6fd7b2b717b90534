#include "base/time.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>
#include <string>

namespace digdag {
namespace {

TimeZone zone(std::string_view id) { return TimeZone::of(id).value(); }
Instant at(std::string_view iso) { return parse_instant(iso).value(); }
std::string id_of(std::string_view id) {
  const auto found = TimeZone::of(id);
  return found ? found->id() : "unknown";
}

/// The environment variable TZ for one test.
class ProcessZone {
 public:
  explicit ProcessZone(const char* value) {
    if (const char* before = std::getenv("TZ")) before_ = before;
    value != nullptr ? setenv("TZ", value, 1) : unsetenv("TZ");
  }
  ~ProcessZone() { before_.empty() ? unsetenv("TZ") : setenv("TZ", before_.c_str(), 1); }
  ProcessZone(const ProcessZone&) = delete;
  ProcessZone& operator=(const ProcessZone&) = delete;

 private:
  std::string before_;
};

TEST(TimeZone, RegionsAreKnownByTheirExactName) {
  for (const char* id : {"Asia/Tokyo", "America/New_York", "EST5EDT", "GMT", "UTC", "UT", "UCT", "Zulu", "GMT0", "Etc/UTC", "Etc/GMT+9",
                         "America/Argentina/Buenos_Aires", "Japan", "CET"}) {
    EXPECT_EQ(id_of(id), id);
  }
}

TEST(TimeZone, NamesThatJavaDoesNotKnowAreUnknown) {
  for (const char* id : {"",
                         "J",
                         "JST",
                         "PST",
                         "EST",
                         "MST",
                         "HST",
                         "ROC",
                         "utc",
                         "gmt",
                         "z",
                         "asia/tokyo",
                         "Asia/Nowhere",
                         "Asia",
                         "Asia/",
                         "Asia//Tokyo",
                         "Asia/./Tokyo",
                         "../zoneinfo/UTC",
                         "/etc/localtime",
                         "/usr/share/zoneinfo/UTC",
                         "posix/Asia/Tokyo",
                         "right/UTC",
                         "localtime",
                         "posixrules",
                         "Factory",
                         "tzdata.zi",
                         "zone.tab",
                         "Fixed/UTC+09:00:00",
                         "UTCx",
                         " UTC",
                         "UTC ",
                         "Asia/Tokyo\n"}) {
    EXPECT_EQ(id_of(id), "unknown") << id;
  }
  EXPECT_EQ(id_of(std::string_view("UTC\0", 4)), "unknown");
  EXPECT_EQ(id_of(std::string(10'000, 'A')), "unknown");
}

TEST(TimeZone, OffsetsAreWrittenInOneWay) {
  EXPECT_EQ(id_of("+9"), "+09:00");
  EXPECT_EQ(id_of("+09"), "+09:00");
  EXPECT_EQ(id_of("+0900"), "+09:00");
  EXPECT_EQ(id_of("+09:00"), "+09:00");
  EXPECT_EQ(id_of("+09:00:00"), "+09:00");
  EXPECT_EQ(id_of("-090030"), "-09:00:30");
  EXPECT_EQ(id_of("+00:00"), "Z");
  EXPECT_EQ(id_of("-0"), "Z");
  EXPECT_EQ(id_of("Z"), "Z");
  EXPECT_EQ(id_of("UTC+9"), "UTC+09:00");
  EXPECT_EQ(id_of("GMT+09:00"), "GMT+09:00");
  EXPECT_EQ(id_of("UT-3"), "UT-03:00");
  EXPECT_EQ(id_of("GMT+0"), "GMT");
  EXPECT_EQ(id_of("UTC-00:00"), "UTC");
}

TEST(TimeZone, OffsetsEndAtEighteenHours) {
  EXPECT_EQ(id_of("+18:00"), "+18:00");
  EXPECT_EQ(id_of("-18"), "-18:00");
  for (const char* id : {"+18:00:01", "+18:01", "+19", "+09:60", "+9:00", "+090", "+09:0000", "+", "+x", "UTC+", "UTC9", "+ 9", "+-9"}) {
    EXPECT_EQ(id_of(id), "unknown") << id;
  }
}

TEST(TimeZone, OffsetsFollowTheRulesOfTheRegion) {
  EXPECT_EQ(zone("UTC").offset_at(at("2026-01-02T03:04:05Z")), 0);
  EXPECT_EQ(zone("America/New_York").offset_at(at("2024-07-01T00:00:00Z")), -4 * 3600);
  EXPECT_EQ(zone("America/New_York").offset_at(at("2024-01-01T00:00:00Z")), -5 * 3600);
  EXPECT_EQ(zone("America/New_York").offset_at(at("2060-07-01T00:00:00Z")), -4 * 3600);
  EXPECT_EQ(zone("Asia/Kathmandu").offset_at(at("2026-01-02T03:04:05Z")), (5 * 60 + 45) * 60);
  EXPECT_EQ(zone("GMT+09:00").offset_at({0}), 9 * 3600);
  EXPECT_EQ(zone("Etc/GMT+9").offset_at({0}), -9 * 3600);
}

TEST(TimeZone, AGapMovesForwardByItsSize) {
  const TimeZone new_york = zone("America/New_York");
  const LocalTime missing{2024, 3, 10, 2, 30, 0};
  EXPECT_EQ(format_session_time(new_york.instant(missing), new_york), "2024-03-10T03:30:00-04:00");
  EXPECT_EQ(new_york.instant(missing, TimeZone::Overlap::later_offset), new_york.instant(missing));
}

TEST(TimeZone, AnOverlapIsTheFirstOrTheSecondOccurrence) {
  const TimeZone new_york = zone("America/New_York");
  const LocalTime twice{2024, 11, 3, 1, 30, 0};
  EXPECT_EQ(format_session_time(new_york.instant(twice), new_york), "2024-11-03T01:30:00-04:00");
  EXPECT_EQ(format_session_time(new_york.instant(twice, TimeZone::Overlap::later_offset), new_york), "2024-11-03T01:30:00-05:00");
}

TEST(TimeZone, LocalTimesComeBack) {
  for (const char* id : {"UTC", "Asia/Tokyo", "America/New_York", "+05:30", "Australia/Lord_Howe"}) {
    const TimeZone in = zone(id);
    for (std::int64_t seconds = -70'000'000'000; seconds < 260'000'000'000; seconds += 86'400 * 97 + 12'345) {
      const Instant instant = Instant::of_seconds(seconds);
      const LocalTime local = in.local(instant);
      EXPECT_TRUE(in.instant(local) == instant || in.instant(local, TimeZone::Overlap::later_offset) == instant) << id << seconds;
    }
  }
}

TEST(TimeZone, TheProcessHasOneByTZ) {
  EXPECT_EQ((ProcessZone("Asia/Tokyo"), TimeZone::system().id()), "Asia/Tokyo");
  EXPECT_EQ((ProcessZone(":Asia/Tokyo"), TimeZone::system().id()), "Asia/Tokyo");
  EXPECT_EQ((ProcessZone("UTC"), TimeZone::system().id()), "UTC");
  EXPECT_EQ((ProcessZone("Etc/UTC"), TimeZone::system().id()), "Etc/UTC");
  EXPECT_EQ((ProcessZone("EST"), TimeZone::system().id()), "-05:00");
  EXPECT_EQ((ProcessZone("XYZ-9"), TimeZone::system().id()), "GMT+09:00");
  EXPECT_EQ((ProcessZone("nonsense"), TimeZone::system().id()), "GMT");
}

TEST(TimeZone, TheProcessHasAlwaysAZone) {
  const ProcessZone none(nullptr);
  EXPECT_TRUE(TimeZone::of(TimeZone::system().id()));
}

TEST(TimeZone, ZonesAreEqualByTheirId) {
  EXPECT_EQ(TimeZone(), zone("UTC"));
  EXPECT_EQ(zone("+9"), zone("+09:00"));
  EXPECT_FALSE(zone("UTC") == zone("Etc/UTC"));
}

TEST(Dates, DaysAreAddedOverMonthsAndYears) {
  EXPECT_EQ(plus_days({2024, 2, 28, 1, 2, 3}, 1), (LocalTime{2024, 2, 29, 1, 2, 3}));
  EXPECT_EQ(plus_days({2023, 12, 31}, 1), (LocalTime{2024, 1, 1}));
  EXPECT_EQ(plus_days({2024, 3, 1}, -1), (LocalTime{2024, 2, 29}));
  EXPECT_EQ(plus_days({1970, 1, 1}, -719'528), (LocalTime{0, 1, 1}));
  EXPECT_EQ(plus_days({2024, 1, 1}, 0), (LocalTime{2024, 1, 1}));
}

TEST(Dates, WeekdaysCountFromSunday) {
  EXPECT_EQ(weekday({2024, 1, 14}), 0);
  EXPECT_EQ(weekday({2024, 1, 15}), 1);
  EXPECT_EQ(weekday({1969, 12, 31}), 3);
  EXPECT_EQ(weekday({1600, 2, 29}), 2);
}

TEST(Dates, LeapYearsFollowTheGregorianRule) {
  EXPECT_EQ(days_in_month(2024, 2), 29);
  EXPECT_EQ(days_in_month(2000, 2), 29);
  EXPECT_EQ(days_in_month(1900, 2), 28);
  EXPECT_EQ(days_in_month(2023, 4), 30);
  EXPECT_EQ(days_in_month(2023, 12), 31);
}

TEST(TimeFormats, AreThoseOfTheBuiltInVariables) {
  const Instant instant = at("2026-01-02T03:04:05.678Z");
  EXPECT_EQ(format_session_time(instant, TimeZone()), "2026-01-02T03:04:05+00:00");
  EXPECT_EQ(format_local_time(instant, TimeZone()), "2026-01-02 03:04:05");
  EXPECT_EQ(format_date(instant, TimeZone()), "2026-01-02");
  EXPECT_EQ(format_date_compact(instant, TimeZone()), "20260102");
  EXPECT_EQ(format_offset(instant, TimeZone()), "+0000");
  EXPECT_EQ(format_log_time(instant, TimeZone(), false), "2026-01-02 03:04:05 +0000");
  EXPECT_EQ(format_log_time(instant, TimeZone(), true), "2026-01-02 03:04:05.678 +0000");
  EXPECT_EQ(format_state_directory(instant, TimeZone()), "20260102T030405+0000");
  EXPECT_EQ(format_instant(instant), "2026-01-02T03:04:05.678Z");
  EXPECT_EQ(format_instant(at("2026-01-02T03:04:05Z")), "2026-01-02T03:04:05Z");
}

TEST(TimeFormats, ShowTheOffsetOfTheZoneAtThatTime) {
  const TimeZone los_angeles = zone("America/Los_Angeles");
  EXPECT_EQ(format_offset(at("2026-01-02T00:00:00Z"), los_angeles), "-0800");
  EXPECT_EQ(format_session_time(at("2026-07-02T00:00:00Z"), los_angeles), "2026-07-01T17:00:00-07:00");
  EXPECT_EQ(format_state_directory(at("2026-01-02T00:00:00Z"), zone("Asia/Kolkata")), "20260102T053000+0530");
  EXPECT_EQ(format_session_time({0}, zone("Z")), "1970-01-01T00:00:00+00:00");
}

TEST(TimeFormats, FarYearsAreWrittenAsJavaDoes) {
  EXPECT_EQ(format_session_time(at("+10000-01-02T00:00:00Z"), TimeZone()), "+10000-01-02T00:00:00+00:00");
  EXPECT_EQ(format_date_compact(at("0007-01-02T00:00:00Z"), TimeZone()), "00070102");
  EXPECT_EQ(format_instant(at("-0044-03-15T12:00:00Z")), "-0044-03-15T12:00:00Z");
  EXPECT_EQ(format_date(at("-0043-03-15T12:00:00Z"), TimeZone()), "0044-03-15");
  EXPECT_EQ(format_session_time(at("9999-12-31T23:00:00Z"), zone("+09:00")), "+10000-01-01T08:00:00+09:00");
}

TEST(TimeFormats, TimesBeforeTheEpochKeepTheirMillis) {
  EXPECT_EQ(format_instant({-1}), "1969-12-31T23:59:59.999Z");
  EXPECT_EQ(Instant{-1}.seconds(), -1);
  EXPECT_EQ(Instant{-1000}.seconds(), -1);
}

TEST(ParseInstant, TakesIsoTimesWithAnOffset) {
  EXPECT_EQ(at("2016-01-01T00:00:00Z").seconds(), 1'451'606'400);
  for (const char* text : {"2016-01-01T09:00:00+09:00", "2016-01-01T09:00+09:00", "2016-01-01T09:00:00.000000000+09:00",
                           "2016-01-01T09:00:00+09:00[Asia/Tokyo]", "2016-01-01T09:00:00+09", "2016-01-01T09:00:00+0900",
                           "2016-01-01T09:00:00+09:00:00", "2016-01-01t00:00:00z", "2016-01-01T00:00Z[UTC]"}) {
    ASSERT_TRUE(parse_instant(text)) << text;
    EXPECT_EQ(at(text), at("2016-01-01T00:00:00Z")) << text;
  }
  EXPECT_EQ(at("2016-01-01T00:00:00.5Z").millis, 1'451'606'400'500);
  EXPECT_EQ(at("2016-01-01T00:00:00.123999Z").millis, 1'451'606'400'123);
}

TEST(ParseInstant, RefusesEverythingElse) {
  for (const char* text : {"",
                           "2016-01-01",
                           "2016-01-01T00:00:00",
                           "2016-01-01 00:00:00Z",
                           "2016-02-30T00:00:00Z",
                           "2016-01-01T24:00:00Z",
                           "2016-01-01T00:60:00Z",
                           "2016-13-01T00:00:00Z",
                           "16-01-01T00:00:00Z",
                           "2016-1-1T00:00:00Z",
                           "2016-01-01T00:00:00+19:00",
                           "2016-01-01T00:00:00Z ",
                           "2016-01-01T00:00:00[Asia/Tokyo]",
                           "2016-01-01T00:00:00Z[Nowhere]",
                           "2016-01-01T00:00:00Z[UTC",
                           "2016-01-01T00:00:00.1234567890Z",
                           "12016-01-01T00:00:00Z",
                           "+999999999-01-01T00:00:00Z",
                           "2016-01-01T00Z",
                           "1451606400"}) {
    EXPECT_FALSE(parse_instant(text)) << text;
  }
}

TEST(ParseSessionTime, TakesItsExactFormOnly) {
  EXPECT_EQ(parse_session_time("2026-01-02T03:04:05+00:00"), at("2026-01-02T03:04:05Z"));
  EXPECT_EQ(parse_session_time("2026-01-02T03:04:05-08:00"), at("2026-01-02T11:04:05Z"));
  EXPECT_EQ(parse_session_time("+10000-01-02T00:00:00+00:00"), at("+10000-01-02T00:00:00Z"));
  for (const char* text : {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05+0000", "2026-01-02 03:04:05+00:00", "2026-01-02T03:04+00:00",
                           "2026-01-02T03:04:05.0+00:00", "x", ""}) {
    EXPECT_FALSE(parse_session_time(text)) << text;
  }
}

TEST(ParseLocalTime, TakesADateOrADateAndATime) {
  EXPECT_EQ(parse_local_time("2026-01-02 03:04:05"), (LocalTime{2026, 1, 2, 3, 4, 5}));
  EXPECT_EQ(parse_local_time("2026-01-02"), (LocalTime{2026, 1, 2}));
  for (const char* text : {"", "2026-01", "2026-01-02 03:04", "2026-01-02T03:04:05", "2026-1-2", "2026-01-02 ", "2026-01-32", "2026-00-01",
                           "2026-01-02 24:00:01", "2026-01-02 03:04:05 +0900", "0000-01-01", "last"}) {
    EXPECT_FALSE(parse_local_time(text)) << text;
  }
}

TEST(ParseLocalTime, ADayPastTheEndOfTheMonthBecomesItsLast) {
  EXPECT_EQ(parse_local_time("2026-02-30"), (LocalTime{2026, 2, 28}));
  EXPECT_EQ(parse_local_time("2024-02-31 01:02:03"), (LocalTime{2024, 2, 29, 1, 2, 3}));
  EXPECT_EQ(parse_local_time("2026-04-31"), (LocalTime{2026, 4, 30}));
}

TEST(ParseLocalTime, MidnightAtTheEndOfADayIsTheNextDay) { EXPECT_EQ(parse_local_time("2026-12-31 24:00:00"), (LocalTime{2027, 1, 1})); }

TEST(ParseStateDirectory, IsTheReverseOfItsFormat) {
  for (const char* text : {"20260102T030405+0000", "20260102T053000+0530", "+100000102T000000-0800"}) {
    ASSERT_TRUE(parse_state_directory(text)) << text;
  }
  EXPECT_EQ(parse_state_directory("20260102T053000+0530"), at("2026-01-02T00:00:00Z"));
  for (const char* text : {"", "20260102T030405", "20260102T030405Z", "20260102 030405+0000", "2026-01-02T03:04:05+00:00", ".lock",
                           "20261302T030405+0000", "aaaaaaaaTaaaaaa+0000"}) {
    EXPECT_FALSE(parse_state_directory(text)) << text;
  }
}

TEST(Instant, SumsStayWhereDatesCanBeWritten) {
  constexpr std::int64_t huge = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(Instant::of_seconds(huge).millis, Instant::most_millis);
  EXPECT_EQ(Instant{}.plus_millis(-huge).millis, -Instant::most_millis);
  EXPECT_EQ(Instant::of_seconds(huge).plus_seconds(-huge).millis, -Instant::most_millis);
  EXPECT_EQ(format_instant(Instant::of_seconds(huge)), "+275760-09-13T00:00:00Z");
  EXPECT_EQ(Instant::of_seconds(10).plus_seconds(-20).millis, -10'000);
}

}  // namespace
}  // namespace digdag
