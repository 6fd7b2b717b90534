#include "dig/harmless.h"

#include <gtest/gtest.h>

namespace digdag::dig {
namespace {

TEST(Harmless, AreArithmeticAndCallsThatMakeTheirObjects) {
  for (const char* const expression : {"n + 1", "(a - 1) * 2 / b.c", "moment(session_time).add(n, 'days').format('YYYY-MM-DD')",
                                       "moment().utc().year() > 2000 ? 'a(' : \"b=\"", "name.toUpperCase() + '-' + String(n)",
                                       "moment.utc(t).toISOString()", "rows.length", "a.b.c", "!a && b || -c === 2"}) {
    EXPECT_TRUE(is_harmless(expression)) << expression;
  }
}

TEST(Harmless, IsNothingThatCouldReachWhatIsShared) {
  for (const char* const expression : {"a = 1",
                                       "moment.x = 1",
                                       "n++",
                                       "--n",
                                       "delete moment.add",
                                       "moment.locale('ja')",
                                       "moment.fn.add(1)",
                                       "moment.prototype.startOf('day')",
                                       "moment['fn'].add(1)",
                                       "a[b](c)",
                                       "(moment.locale)('ja')",
                                       "moment(x)('y')",
                                       "'a'('b')",
                                       "''.constructor",
                                       "eval('x=1')",
                                       "f(1)",
                                       "(function(){})()",
                                       "new Date",
                                       "Object.defineProperty(String, 'x', {})",
                                       "[1].push(2)",
                                       "{}",
                                       "a; b",
                                       "/x/.test(y)",
                                       "'x'.repeat(1e9)",
                                       "x.add.call(moment)",
                                       "0))]}});(function(){with({}){return [((1",
                                       "x => y",
                                       "`a`",
                                       "\\u0066unction",
                                       "m\\u006fment.fn",
                                       "'abc",
                                       "a /* b",
                                       "1 //\r, moment.fn.format = 1",
                                       "1 //\u2028, moment.fn.format = 1",
                                       "1 <!-- /*\n, moment.fn.format = 1 //*/",
                                       "a /* b */"}) {
    EXPECT_FALSE(is_harmless(expression)) << expression;
  }
}

}  // namespace
}  // namespace digdag::dig
