#include "cli/arguments.h"

#include <gtest/gtest.h>

namespace digdag::cli {
namespace {

using Words = std::vector<std::string>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

const std::vector<Option> options = {
    {{"-t", "--session"}, Option::Kind::text, "EXPR", "session time"}, {{"--no-save"}, Option::Kind::flag, "", "no state"},
    {{"--max-task-threads"}, Option::Kind::integer, "N", "threads"},   {{"-p", "--param"}, Option::Kind::list, "KEY=VALUE", "parameter"},
    {{"-X"}, Option::Kind::dynamic, "KEY=VALUE", "configuration"},     {{"--wait"}, Option::Kind::optional_text, "[=TIME]", "wait"},
    {{"--set"}, Option::Kind::words, "KEY=VALUE...", "set"},
};

std::string refusal(const Words& words) {
  try {
    Arguments(options, words);
  } catch (const UsageError& error) {
    return error.message;
  }
  return "accepted";
}

TEST(Arguments, OptionsAndPositionalWordsMixInAnyOrder) {
  const Arguments arguments(options, {"--no-save", "w.dig", "--session", "daily", "+one"});
  EXPECT_EQ(arguments.positional(), (Words{"w.dig", "+one"}));
  EXPECT_EQ(arguments.text("-t"), "daily");
  EXPECT_TRUE(arguments.has("--no-save"));
}

TEST(Arguments, AnOptionMayTakeAValueOnlyBehindItsEqualsSign) {
  const Arguments alone(options, {"--wait", "5m"});
  EXPECT_EQ(alone.text("--wait"), "");
  EXPECT_EQ(alone.positional(), Words{"5m"});
  EXPECT_EQ(Arguments(options, {"--wait=5m"}).text("--wait"), "5m");
}

TEST(Arguments, AnOptionMayTakeAllWordsUpToTheNextOption) {
  const Arguments arguments(options, {"--set", "a=1,2", "-", "b=", "--no-save", "w.dig"});
  EXPECT_EQ(arguments.list("--set"), (Words{"a=1,2", "-", "b="}));
  EXPECT_EQ(arguments.positional(), Words{"w.dig"});
  EXPECT_EQ(refusal({"--set"}), "Expected a value after parameter --set");
  EXPECT_EQ(refusal({"--set", "--no-save"}), "Expected a value after parameter --set");
}

TEST(Arguments, AfterTwoDashesEverythingIsPositional) {
  EXPECT_EQ(Arguments(options, {"--", "w.dig", "--no-save"}).positional(), (Words{"w.dig", "--no-save"}));
}

TEST(Arguments, AnUnknownOptionIsNamed) {
  EXPECT_EQ(refusal({"--frob"}), "Unknown option: --frob");
  EXPECT_EQ(refusal({"-pv=1"}), "Unknown option: -pv=1");
  EXPECT_EQ(refusal({"-"}), "Unknown option: -");
}

TEST(Arguments, TheValueMayBeGluedToALongOption) {
  EXPECT_EQ(Arguments(options, {"--session=daily"}).text("-t"), "daily");
  EXPECT_EQ(refusal({"--no-save=yes"}), "Unknown option: --no-save=yes\nhint: did you mean --no-save?");
}

TEST(Arguments, AnOptionAtTheEndNeedsItsValue) { EXPECT_EQ(refusal({"--session"}), "Expected a value after parameter --session"); }

TEST(Arguments, TheNextWordIsTheValueEvenWhenItLooksLikeAnOption) {
  EXPECT_EQ(Arguments(options, {"--session", "--no-save"}).text("-t"), "--no-save");
}

TEST(Arguments, WhatMayStandOnceIsRefusedTwiceUnderItsFirstName) {
  EXPECT_EQ(refusal({"--session", "daily", "--session", "hourly"}), "Can only specify option -t once.");
  EXPECT_EQ(refusal({"--no-save", "--no-save"}), "Can only specify option --no-save once.");
}

TEST(Arguments, IntegersAreChecked) {
  EXPECT_EQ(refusal({"--max-task-threads", "x"}), "\"--max-task-threads\": couldn't convert \"x\" to an integer");
  EXPECT_EQ(Arguments(options, {"--max-task-threads", "4"}).integer_or("--max-task-threads", 0), 4);
}

TEST(Arguments, SystemOptionsMayBeGluedOrNot) {
  EXPECT_EQ(Arguments(options, {"-X", "a.b=1", "-Xc=2=3"}).dynamic(), (Pairs{{"a.b", "1"}, {"c", "2=3"}}));
  EXPECT_EQ(refusal({"-X", "abc"}), "Dynamic parameter expected a value of the form a=b but got:abc");
}

TEST(Arguments, BlanksAndOnePairOfQuotesAreTakenOff) {
  EXPECT_EQ(Arguments(options, {"-p", "\"k=v\""}).list("-p"), (Words{"k=v"}));
  EXPECT_EQ(Arguments(options, {" w.dig "}).positional(), (Words{"w.dig"}));
  EXPECT_TRUE(Arguments(options, {""}).positional().empty());
}

TEST(KeyValues, AreSplitAtCommasAndJoinedAgainWhereNoKeyFollows) {
  EXPECT_EQ(key_values({"v=a,b"}, "-p"), (Pairs{{"v", "a,b"}}));
  EXPECT_EQ(key_values({"v=a,b=c"}, "-p"), (Pairs{{"v", "a"}, {"b", "c"}}));
  EXPECT_EQ(key_values({"v=a,,b"}, "-p"), (Pairs{{"v", "a,,b"}}));
  EXPECT_EQ(key_values({"v=a,"}, "-p"), (Pairs{{"v", "a,"}}));
  EXPECT_EQ(key_values({"v=1=2", "=x"}, "-p"), (Pairs{{"v", "1=2"}, {"", "x"}}));
}

TEST(KeyValues, NeedAnEqualsSign) {
  try {
    key_values({"v"}, "-p");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_EQ(error.message, "Parameter -p expected a value of the form a=b but got:v");
  }
}

}  // namespace
}  // namespace digdag::cli
