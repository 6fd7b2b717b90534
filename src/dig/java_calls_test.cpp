#include "dig/java_calls.h"

#include <gtest/gtest.h>

namespace digdag::dig {
namespace {

TEST(JavaCalls, AreMarkedWhereAMethodOfStringIsCalled) {
  EXPECT_EQ(with_java_calls("s.contains('t')"), "s['@java.contains']('t')");
  EXPECT_EQ(with_java_calls("a.b.isEmpty () || c.trim().equals(d)"), "a.b['@java.isEmpty'] () || c.trim()['@java.equals'](d)");
}

TEST(JavaCalls, AreNotMarkedWhereAPropertyIsOnlyRead) {
  for (const char* text :
       {"s.isEmpty ? 1 : 2", "typeof s.contains", "o.length", "contains('x')", "s.split(',')", "moment(t).format('x')"}) {
    EXPECT_EQ(with_java_calls(text), text);
  }
}

TEST(JavaCalls, AreNotMarkedInStringsAndComments) {
  for (const char* text : {"'s.contains(1)'", "/* s.matches(x) */ 1", "/s.matches(x)/.source"}) EXPECT_EQ(with_java_calls(text), text);
}

}  // namespace
}  // namespace digdag::dig
