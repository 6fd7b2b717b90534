#include "dig/script_engine.h"

#include <gmock/gmock.h>

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "dig/script_date.h"

namespace digdag::dig {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::StartsWith;

class ScriptEngineTest : public testing::Test {
 protected:
  ScriptEngine::Result run(const std::string& expression, const std::string& zone = "UTC", const std::string& scope = "{}") {
    engine_.use_zone(TimeZone::of(zone).value());
    return engine_.evaluate({expression}, parse_json(scope), {64 << 20, 1});
  }
  std::string value(const std::string& expression, const std::string& zone = "UTC") {
    const ScriptEngine::Result result = run(expression, zone);
    return result.error.empty() ? result.values.at(0) : result.error;
  }

  ScriptEngine engine_;
};

// ---- local times (spec/decisions.md L-31) ------------------------------------------------------------------------------

TEST_F(ScriptEngineTest, ATimeThatAChangeSkipsMovesForward) {
  EXPECT_EQ(value("new Date(2016,2,13,2,30).toString()", "America/Los_Angeles"), "Sun Mar 13 2016 03:30:00 GMT-0700 (PDT)");
  EXPECT_EQ(value("new Date('2016-03-13 02:00:00').toISOString()", "America/Los_Angeles"), "2016-03-13T10:00:00.000Z");
  EXPECT_EQ(value("moment('2017-03-26 01:30').format()", "Europe/London"), "2017-03-26T02:30:00+01:00");
  EXPECT_EQ(value("new Date(2017,9,1,2,15).toString()", "Australia/Lord_Howe"), "Sun Oct 01 2017 02:45:00 GMT+1100 (+11)");
  EXPECT_EQ(value("moment('2011-12-30').format()", "Pacific/Apia"), "2011-12-31T00:00:00+14:00") << "a whole day was skipped";
}

TEST_F(ScriptEngineTest, OfATimeThatComesTwiceTheSecondIsMeant) {
  EXPECT_EQ(value("new Date(2016,10,6,1,30).toString()", "America/Los_Angeles"), "Sun Nov 06 2016 01:30:00 GMT-0800 (PST)");
  EXPECT_EQ(value("new Date(2017,9,29,1,30).toISOString()", "Europe/London"), "2017-10-29T01:30:00.000Z");
  EXPECT_EQ(value("new Date(2017,9,29,0,59,59).toISOString()", "Europe/London"), "2017-10-28T23:59:59.000Z");
}

TEST_F(ScriptEngineTest, OffsetsAreThoseOfTheZoneAtThatTime) {
  EXPECT_EQ(value("moment('2017-07-01 12:00').format()", "Europe/London"), "2017-07-01T12:00:00+01:00");
  EXPECT_EQ(value("moment('2017-07-01 12:00').format()", "Asia/Kathmandu"), "2017-07-01T12:00:00+05:45");
  EXPECT_EQ(value("moment('1970-07-01 12:00').format()", "Europe/London"), "1970-07-01T12:00:00+01:00");
  EXPECT_EQ(value("moment('2010-07-01 12:00').format()", "Europe/Moscow"), "2010-07-01T12:00:00+04:00");
  EXPECT_EQ(value("moment('2012-01-01 12:00').format()", "Europe/Moscow"), "2012-01-01T12:00:00+04:00");
  EXPECT_EQ(value("moment('2100-07-01 12:00').format()", "America/New_York"), "2100-07-01T12:00:00-04:00");
  EXPECT_EQ(value("moment('1950-01-01 00:00').format()", "Asia/Tokyo"), "1950-01-01T00:00:00+09:00");
}

TEST_F(ScriptEngineTest, OffsetsOfEverySpellingHaveTheirSign) {
  for (const auto& [zone, text] : std::vector<std::pair<std::string, std::string>>{{"+09:00", "+0900 (+09:00)"},
                                                                                   {"-03:30", "-0330 (-03:30)"},
                                                                                   {"GMT+09:00", "+0900 (GMT+09:00)"},
                                                                                   {"UTC+05:30", "+0530 (UTC+05:30)"},
                                                                                   {"Z", "+0000 (Z)"},
                                                                                   {"UTC", "+0000 (UTC)"},
                                                                                   {"Asia/Tokyo", "+0900 (JST)"},
                                                                                   {"Etc/GMT+5", "-0500 (-05)"}}) {
    EXPECT_THAT(value("String(new Date(0))", zone), testing::EndsWith("GMT" + text)) << zone;
  }
}

TEST_F(ScriptEngineTest, DatesHaveAllTheirParts) {
  EXPECT_EQ(value("(function(d){ d.setHours(1,2,3,4); d.setDate(0); d.setMonth(14, 5); return d.toISOString() })(new Date(2016,0,15))",
                  "Asia/Tokyo"),
            "2016-03-04T16:02:03.004Z");
  EXPECT_EQ(value("(function(d){ d.setFullYear(2020); d.setMinutes(61); return "
                  "d.getFullYear()+'|'+d.getMonth()+'|'+d.getDate()+'|'+d.getDay()+'|'+d.getHours()+"
                  "'|'+d.getMinutes()+'|'+d.getYear()+'|'+d.getTimezoneOffset() })(new Date(2016,1,29,23,30,0))",
                  "America/New_York"),
            "2020|2|1|0|0|1|120|300");
  EXPECT_EQ(value("new Date(99,0).getFullYear() + '|' + new Date(2016,0,31,24).toISOString() + '|' + (new Date(NaN).setHours(1))"),
            "1999|2016-02-01T00:00:00.000Z|NaN");
  EXPECT_EQ(
      value("new Date(0).toUTCString() + '|' + new Date(0).toLocaleDateString() + '|' + new Date(0).toDateString() + '|' + new Date(NaN)"),
      "Thu, 01 Jan 1970 00:00:00 GMT|1970-01-01|Thu Jan 01 1970|Invalid Date");
  EXPECT_THAT(
      value("(new Date(0) instanceof Date) + '|' + (new Date(0).constructor === Date) + '|' + typeof Date() + '|' + Date.length + '|' + "
            "Object.prototype.toString.call(new Date(0)) + '|' + (new Date(new Date(5)) - 0) + '|' + (new Date(-1).getMilliseconds())"),
      testing::MatchesRegex(R"(true\|true\|string\|[0-9]+\|\[object Date\]\|5\|999)"));
  EXPECT_EQ(value("Date.prototype.getHours.call({})"), "TypeError: expected Date");
}

TEST(ParseDate, ReadsIsoAsUtcAndWhatPeopleWriteAsLocal) {
  const TimeZone tokyo = *TimeZone::of("Asia/Tokyo");
  constexpr double day = 1457827200000.0;  // 2016-03-13 in UTC
  constexpr double hour = 3'600'000.0;
  const std::vector<std::pair<std::string, double>> table = {
      {"2016-03-13", day},
      {"2016-03", day - 12 * 24 * hour},
      {"2016-03-13T10:00:00Z", day + 10 * hour},
      {"2016-03-13T10:00:00", day + 10 * hour},
      {"2016-03-13T10:00+09:00", day + hour},
      {"2016-03-13T10:00:00.123Z", day + 10 * hour + 123},
      {"+002016-03-13T24:00Z", day + 24 * hour},
      {"2016-03-13 10:00:00", day + hour},
      {"2016/03/13", day - 9 * hour},
      {"03/13/2016", day - 9 * hour},
      {"3/13/16 10:00", day + hour},
      {"Mar 13 2016", day - 9 * hour},
      {"13 March 2016 10:00 UTC", day + 10 * hour},
      {"Sun, 13 Mar 2016 10:00:00 GMT", day + 10 * hour},
      {"Sun Mar 13 2016 12:00:00 GMT-0700 (PDT)", day + 19 * hour},
      {"Mar 13, 2016 1:30 PM EST", day + 18.5 * hour},
      {"March 2016", day - 12 * 24 * hour - 9 * hour},
  };
  for (const auto& [text, expected] : table) EXPECT_EQ(parse_date(text, tokyo), expected) << text;
  for (const char* const text : {"", "x", "2016-13-01", "2016-02-30", "13 13 13", "10:30", "2016-03-13T25:00Z", "Smarch 13 2016",
                                 "1451606400", "2016-03-13T10", "12 Mar"}) {
    EXPECT_TRUE(std::isnan(parse_date(text, tokyo))) << text;
  }
}

// ---- the clock ---------------------------------------------------------------------------------------------------------

TEST_F(ScriptEngineTest, KnowsWhetherTheClockOrChanceWasAsked) {
  for (const char* const pure :
       {"moment('2016-01-02T03:04:05Z').add(1,'day').format()", "moment(0).format()", "moment('20160102','YYYYMMDD').unix()", "new Date(5)",
        "Date.UTC(2016,1)", "moment([2016, 1, 2]).format()", "moment('2016-01-02 03:04').isDST()", "moment.utc('2016-01-02').format()"}) {
    EXPECT_TRUE(run(pure).pure) << pure;
  }
  for (const char* const impure :
       {"Date.now()", "new Date()", "Date()", "Math.random()", "moment().year()", "moment('10:30','HH:mm').format()", "moment(0).fromNow()",
        "moment('03-04','MM-DD').format()", "moment.utc().year()", "moment(0).calendar()", "moment.now()"}) {
    const ScriptEngine::Result result = run(impure);
    EXPECT_TRUE(!result.pure && result.error.empty()) << impure << result.error;
  }
}

// ---- java.lang.String (8.5) --------------------------------------------------------------------------------------------

TEST_F(ScriptEngineTest, StringsHaveTheMethodsOfJava) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"'abc'.contains('b') + '|' + ''.isEmpty() + '|' + ' \\t'.isBlank()", "true|true|true"},
      {"'abc'.startsWith('b', 1) + '|' + 'abc'.startsWith('', 3) + '|' + 'abc'.startsWith('', 4) + '|' + 'abc'.startsWith('a', -1)",
       "true|true|false|false"},
      {"'abc'.endsWith('') + '|' + 'abc'.endsWith('bc') + '|' + 'c'.endsWith('abc')", "true|true|false"},
      {"'a'.equals('a') + '|' + '1'.equals(1) + '|' + 'STRASSE'.equalsIgnoreCase('strasse')", "true|false|true"},
      {"'a.b'.replaceAll('.', 'x') + '|' + 'aab'.replaceFirst('a+', '<$0>')", "xxx|<aa>b"},
      {"'ab1'.matches('[a-z]+') + '|' + 'ab'.matches('[a-z]+')", "false|true"},
      {"'Hello'.hashCode() + '|' + 'polygenelubricants'.hashCode()", "69609650|-2147483648"},
      {"'abc'.compareTo('abd') + '|' + 'a'.compareTo('abc') + '|' + 'ABC'.compareToIgnoreCase('abd')", "-1|-2|-1"},
      {"'🎉a'.codePointAt(0) + '|' + '🎉a'.codePointCount(0, 3) + '|' + '🎉a'.codePointBefore(2)", "127881|2|127881"},
      {"'hello'.regionMatches(1, 'ell', 0, 3) + '|' + 'hello'.regionMatches(true, 1, 'ELL', 0, 3)", "true|true"},
      {"'ab'.repeat(3) + '|' + '\\u2003x '.strip() + '|' + ' x '.stripLeading() + '|' + ' x '.stripTrailing() + '|' + ' x'.trimLeft()",
       "ababab|x|x | x|x"},
      {"'abc'.subSequence(1, 3) + '|' + 'a'.intern() + '|' + 'a'.contentEquals('a') + '|' + 'ab'.toCharArray().length", "bc|a|true|2"},
      {"'a.b.c'.replace('.', '-') + '|' + 'a,b'.split(',').length", "a-b.c|2"},
      {"java.lang.String.format('%05d|%s|%.2f|%x', 7, 'x', 1.005, 255)", "00007|x|1.01|ff"},
      {"new java.lang.String('x')", "x"},
      {"new java.lang.String('x') + new java.lang.String('y').length", "x1"},
  };
  for (const auto& [expression, expected] : table) EXPECT_EQ(value(expression), expected) << expression;
  for (const char* const keys : {"(function(){ var n = 0; for (var k in 'ab') n++; return n })()"}) EXPECT_EQ(value(keys), "2");
}

TEST_F(ScriptEngineTest, WhatJavaHasBesidesIsNotThere) {
  for (const char* const name : {"Java", "load", "quit", "exit", "Packages", "Graal", "loadWithNewGlobal", "JavaImporter"}) {
    EXPECT_EQ(value(std::string(name) + "('x')"), std::string("ReferenceError: ") + name + " is not defined");
  }
  for (const char* const expression : {"(1).intValue()", "[1].size()", "({}).get('k')", "'x'.nosuch()", "java.util.Date()"}) {
    EXPECT_THAT(value(expression), StartsWith("TypeError: ")) << expression;
  }
  EXPECT_THAT(value("'a'.matches('[')"), HasSubstr("Unclosed character class"));
  EXPECT_THAT(value("'a'.matches('\\\\p{L}')"), HasSubstr("\\p{L} is not supported"));
  EXPECT_THAT(value("'ab'.subSequence(2, 1)"), StartsWith("RangeError: "));
  EXPECT_EQ(value("print('x')"), "");
}

TEST_F(ScriptEngineTest, ErrorsAreWordedAsTheOriginalWordsThem) {
  EXPECT_EQ(value("nope"), "ReferenceError: nope is not defined");
  EXPECT_TRUE(run("nope").undefined_name);
  EXPECT_FALSE(run("null.x").undefined_name);
  EXPECT_EQ(value("(function(){ throw 'boom' })()"), "boom");
  EXPECT_EQ(value("(function(){ throw new Error('boom') })()"), "Error: boom");
  EXPECT_EQ(value("(function(){ throw {a: 1} })()"), "Object");
  EXPECT_THAT(value("(function(){ var o = {}; o.o = o; return o })()"), StartsWith("TypeError: "));
  EXPECT_THAT(value("(function f(){ return 1 + f() })()"), StartsWith("RangeError: "));
  EXPECT_THAT(value("1 +"), StartsWith("SyntaxError: "));
}

}  // namespace
}  // namespace digdag::dig
