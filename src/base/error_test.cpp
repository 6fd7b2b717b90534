#include "base/error.h"

#include <gtest/gtest.h>

namespace digdag {
namespace {

Position at(unsigned line, unsigned column, std::string_view file = "reports/daily.dig") {
  return {.line = line, .column = static_cast<std::uint16_t>(column), .file = file_id(file)};
}

TEST(Error, IsItsMessageWithItsKindInParentheses) {
  EXPECT_EQ(config_error("no such key").message_with_kind(), "no such key (config)");
  EXPECT_STREQ(config_error("no such key").what(), "no such key");
}

TEST(Error, RaisedByAnOperatorOnPurposeHasNoKind) { EXPECT_EQ(task_error("it failed").message_with_kind(), "it failed"); }

TEST(Error, WithoutAMessageSpeaksWithTheFirstMessageOfItsCauses) {
  EXPECT_EQ(Error("runtime", "").because(Error("io", "disk full")).message_with_kind(), "disk full (runtime)");
  EXPECT_EQ(Error("null pointer", "").message_with_kind(), "null pointer");
}

TEST(Error, ChainNamesEachCauseOnceWithItsOwnKind) {
  const Error error = Error("runtime", "cannot start").because(Error("io", "disk full").because(Error("system", "ENOSPC")));
  EXPECT_EQ(error.chain(), "cannot start (runtime)\n> disk full (io)\n> ENOSPC (system)");
}

TEST(Error, ChainLeavesOutACauseThatWasAlreadySaid) {
  EXPECT_EQ(Error("runtime", "cannot start: disk full").because(Error("io", "disk full")).chain(), "cannot start: disk full (runtime)");
}

TEST(Error, CopiesDoNotChangeEachOther) {
  const Error original = config_error("wrong");
  Error copy = original;
  const Error placed = std::move(copy).at(at(3, 1));
  EXPECT_FALSE(original.position().known());
  EXPECT_TRUE(placed.position().known());
}

TEST(ErrorReport, WithoutAPlaceIsTheMessageWithItsKind) {
  EXPECT_EQ(Error("no such file", "missing.yml").report(), "missing.yml (no such file)");
  EXPECT_EQ(task_error("--session option is required").report(), "--session option is required");
}

TEST(ErrorReport, ShowsPlaceSourceLineCaretAndHint) {
  const Error error =
      config_error("unknown key `_retires` in group +load").at(at(14, 5)).source("    _retires: 3", 8).hint("did you mean `_retry`?");
  EXPECT_EQ(error.report(), R"(reports/daily.dig:14:5: unknown key `_retires` in group +load
   14 |     _retires: 3
      |     ^^^^^^^^
hint: did you mean `_retry`?)");
}

TEST(ErrorReport, ShowsCausesBeforeTheHint) {
  const Error error =
      config_error("bad zone").at(at(2, 0)).because(Error("zone rules", "Unknown time-zone ID: Mars/Phobos")).hint("use an IANA name");
  EXPECT_EQ(error.report(), R"(reports/daily.dig:2: bad zone
> Unknown time-zone ID: Mars/Phobos (zone rules)
hint: use an IANA name)");
}

TEST(ErrorReport, ShowsNoCaretWithoutAColumn) {
  EXPECT_EQ(config_error("wrong").at(at(7, 0)).source("a: b").report(), "reports/daily.dig:7: wrong\n    7 | a: b");
}

TEST(ErrorReport, WidensTheGutterForLargeLineNumbers) {
  EXPECT_EQ(config_error("wrong").at(at(1234567, 1)).source("a: b").report(),
            "reports/daily.dig:1234567:1: wrong\n1234567 | a: b\n        | ^");
}

TEST(ErrorReport, PutsTheCaretUnderItsCharacterBehindTabsAndWideCharacters) {
  EXPECT_EQ(config_error("wrong").at(at(1, 2, "t.dig")).source("\tx: 1").report(), "t.dig:1:2: wrong\n    1 |  x: 1\n      |  ^");
  EXPECT_EQ(config_error("wrong").at(at(1, 3, "t.dig")).source("日本x", 1).report(), "t.dig:1:3: wrong\n    1 | 日本x\n      |     ^");
  EXPECT_EQ(config_error("wrong").at(at(1, 1, "t.dig")).source("日本x", 2).report(), "t.dig:1:1: wrong\n    1 | 日本x\n      | ^^^^");
}

TEST(ErrorReport, PutsTheCaretBehindTheLineWhereItIsTooShort) {
  EXPECT_EQ(config_error("ends here").at(at(1, 4, "t.dig")).source("a: ").report(), "t.dig:1:4: ends here\n    1 | a:\n      |   ^");
  EXPECT_EQ(config_error("ends here").at(at(1, 900, "t.dig")).source("a:", 50).report(), "t.dig:1:900: ends here\n    1 | a:\n      |   ^");
}

TEST(ErrorReport, CutsOverlongLinesAroundTheCaret) {
  const std::string line = std::string(5000, 'a') + "X" + std::string(5000, 'b');
  const std::string report = config_error("wrong").at(at(1, 5001, "t.dig")).source(line, 9000).report();
  const std::size_t first = report.find('\n') + 1;
  const std::size_t second = report.find('\n', first) + 1;
  const std::string shown = report.substr(first, second - first - 1);
  const std::string carets = report.substr(second);
  EXPECT_LE(shown.size(), 160U);
  EXPECT_LE(carets.size(), 160U);
  EXPECT_TRUE(shown.starts_with("    1 | ...aaa"));
  EXPECT_TRUE(shown.ends_with("bbb..."));
  EXPECT_EQ(shown.find('X'), carets.find('^'));
}

TEST(ErrorReport, CutsOverlongLinesAtTheirStartAndEndToo) {
  const std::string line(400, 'a');
  const std::string at_start = config_error("wrong").at(at(1, 1, "t.dig")).source(line).report();
  EXPECT_NE(at_start.find("    1 | aaa"), std::string::npos);
  EXPECT_TRUE(at_start.ends_with("\n      | ^"));
  const std::string at_end = config_error("wrong").at(at(1, 401, "t.dig")).source(line).report();
  EXPECT_NE(at_end.find("    1 | ...aaa"), std::string::npos);
  EXPECT_TRUE(at_end.ends_with(" ^"));
}

TEST(ErrorReport, SurvivesBytesThatAreNoText) {
  const std::string report = config_error("wrong").at(at(1, 2, "t.dig")).source("\xFF\xFE\x01z").report();
  EXPECT_EQ(report, "t.dig:1:2: wrong\n    1 | \xEF\xBF\xBD\xEF\xBF\xBD z\n      |  ^");
}

}  // namespace
}  // namespace digdag
