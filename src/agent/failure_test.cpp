#include "agent/failure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace digdag::agent {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;

TEST(Failure, ALongTaskNameIsShownByItsBeginningAndItsEnd) {
  EXPECT_EQ(shown_task_name("+w+a^sub+loop-0"), "+w+a^sub+loop-0");
  std::string recursion = "+w+begin";
  for (int i = 0; i < 100; ++i) recursion += "^sub+z";
  recursion += "^sub+end";
  const std::string shown = shown_task_name(recursion);
  EXPECT_THAT(shown, StartsWith("+w+begin^sub+z^"));
  EXPECT_THAT(shown, HasSubstr("^…^"));
  EXPECT_THAT(shown, EndsWith("^sub+z^sub+end"));
  EXPECT_LT(shown.size(), 200u);
  EXPECT_THAT(shown_task_name("+" + std::string(300, 'x')), SizeIs(301)) << "nothing to leave out";
}

}  // namespace
}  // namespace digdag::agent
