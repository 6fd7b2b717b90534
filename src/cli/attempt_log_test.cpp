#include "cli/attempt_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace digdag::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> texts(const std::vector<LogLine>& lines) {
  std::vector<std::string> all;
  for (const LogLine& line : lines) all.push_back(line.text);
  return all;
}

const std::string one = "2026-01-02 03:04:05.100 +0900 [INFO] (t) c: one";
const std::string detail = "2026-01-02 03:04:06.000 +0900 [DEBUG] (t) c: detail";

TEST(LogLines, GoWithTheLevelOfTheLineBefore) {
  const LogChoice from_info, all{.verbose = true};
  const std::string log = "first\n" + one + "\nmore\n" + detail + "\nmore detail\n" + one + "\n[x] no level\n";
  EXPECT_THAT(texts(LogLines(from_info).of(log, true)), ElementsAre("first", one, "more", one, "[x] no level"));
  EXPECT_THAT(texts(LogLines(all).of(log, true)), ElementsAre("first", one, "more", detail, "more detail", one, "[x] no level"));
}

TEST(LogLines, KnowTheirTime) {
  const LogChoice choice;
  const auto lines = LogLines(choice).of(one + "\nmore\n", true);
  EXPECT_EQ(format_instant(lines.at(0).time), "2026-01-01T18:04:05.100Z");
  EXPECT_EQ(lines.at(1).time, lines.at(0).time);
}

TEST(LogLines, BeginAtATime) {
  const LogChoice choice{.since = parse_instant("2026-01-02T03:04:05.100+09:00")};
  const std::string before = "2026-01-02 03:04:05.099 +0900 [INFO] (t) c: before\n";
  EXPECT_THAT(texts(LogLines(choice).of("first\n" + before + "more\n" + one + "\nmore of one\n", true)), ElementsAre(one, "more of one"));
}

TEST(LogLines, OfAGrowingFileAreShownOnceAndWhole) {
  const LogChoice choice;
  LogLines lines(choice);
  EXPECT_THAT(texts(lines.of("a\nb", false)), ElementsAre("a"));
  EXPECT_THAT(texts(lines.of("", false)), IsEmpty());
  EXPECT_THAT(texts(lines.of("c\nd", false)), ElementsAre("bc"));
  EXPECT_THAT(texts(lines.of("", true)), ElementsAre("d"));
}

}  // namespace
}  // namespace digdag::cli
