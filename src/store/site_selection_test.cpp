#include "store/site_selection.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using Mode = SiteSelection::Mode;

SiteSelection selection(std::initializer_list<std::pair<std::string, std::string>> keys) {
  SystemConfig system;
  for (const auto& [key, value] : keys) system.set("scheduler.account_routing." + key, value);
  return SiteSelection::of(system, "scheduler");
}

TEST(SiteSelection, HasAllSitesUnlessItIsEnabled) {
  EXPECT_EQ(selection({}).mode, Mode::all);
  EXPECT_EQ(selection({{"include", "1"}}).mode, Mode::all);
  EXPECT_TRUE(selection({}).has(7));
}

TEST(SiteSelection, NamesSitesThatBelongToItOrNot) {
  const SiteSelection only = selection({{"enabled", "true"}, {"include", "1, 2"}});
  EXPECT_TRUE(only.has(2));
  EXPECT_FALSE(only.has(3));
  const SiteSelection except = selection({{"enabled", "true"}, {"exclude", "1"}});
  EXPECT_FALSE(except.has(1));
  EXPECT_TRUE(except.has(3));
}

TEST(SiteSelection, MustSayExactlyOneOfBoth) {
  EXPECT_THROW(selection({{"enabled", "true"}}), Error);
  EXPECT_THROW(selection({{"enabled", "true"}, {"include", "1"}, {"exclude", "2"}}), Error);
  EXPECT_THROW(selection({{"enabled", "true"}, {"include", "one"}}), Error);
}

TEST(SiteSelection, CanLeaveSitesOut) {
  EXPECT_EQ(selection({}).without({}).mode, Mode::all);
  EXPECT_FALSE(selection({}).without({3}).has(3));
  EXPECT_THAT(selection({{"enabled", "true"}, {"include", "1,2"}}).without({2, 3}).sites, ElementsAre(1));
  const SiteSelection except = selection({{"enabled", "true"}, {"exclude", "1"}}).without({2});
  EXPECT_FALSE(except.has(1) || except.has(2));
  EXPECT_TRUE(except.has(3));
}

}  // namespace
}  // namespace digdag::store
