#include "dig/java_regex.h"

#include <gmock/gmock.h>

#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"

// What java.util.regex of Java 17 answered.

namespace digdag::dig {
namespace {

using testing::HasSubstr;

std::string utf8(const std::u16string& text) {
  std::string out;
  for (const char16_t c : text) out += c < 0x80 ? static_cast<char>(c) : '?';
  return out;
}

std::string replaced(const std::u16string& text, const std::u16string& pattern, const std::u16string& by) {
  return utf8(JavaRegex(pattern).replace(text, by, true));
}

std::string error(const std::u16string& pattern, const std::u16string& text = u"", const std::u16string& by = u"") {
  try {
    return "no error: " + utf8(JavaRegex(pattern).replace(text, by, true));
  } catch (const Error& failure) {
    return failure.message();
  }
}

TEST(JavaRegex, ReplacesAllAsJavaDoes) {
  const std::vector<std::tuple<std::u16string, std::u16string, std::u16string, std::string>> table = {
      {u"a.b", u".", u"x", "xxx"},
      {u"a|b", u"|", u".", ".a.|.b."},
      {u"aaa", u"a$", u"b", "aab"},
      {u"xyz", u"y", u"<$0>", "x<y>z"},
      {u"john smith", u"(\\w+) (\\w+)", u"$2 $1", "smith john"},
      {u"2016-01-02", u"(\\d+)-(\\d+)-(\\d+)", u"$3/$2/$1", "02/01/2016"},
      {u"a.b", u"\\Qa.b\\E", u"q", "q"},
      {u"axb", u"\\Qa.b\\E", u"q", "axb"},
      {u"aXbX", u"(?i)x", u"-", "a-b-"},
      {u"ab", u"(?<n>a)", u"${n}${n}", "aab"},
      {u"foobar", u"(?<=foo)bar", u"X", "fooX"},
      {u"foobaz", u"(?<!foo)ba", u"X", "foobaz"},
      {u"foobar", u"foo(?=bar)", u"X", "Xbar"},
      {u"aaab", u"a*+b", u"X", "X"},
      {u"aaa", u"a*+a", u"X", "aaa"},
      {u"aaab", u"(?>a+)ab", u"X", "aaab"},
      {u"aab", u"a+?", u"X", "XXb"},
      {u"ab", u"(?:(a)|b)*", u"[$1]", "[a][]"},
      {u"b", u"(a)|\\1b", u"X", "b"},
      {u"b", u"(a)?b", u"[$1]", "[]"},
      {u"abab", u"(ab)\\1", u"X", "X"},
      {u"a1b2", u"[a-z&&[^b]]", u"X", "X1b2"},
      {u"a]b", u"[]a]", u"X", "XXb"},
      {u"a-b", u"[a\\-]", u"X", "XXb"},
      {u"abc1", u"[a-c[0-9]]", u"X", "XXXX"},
      {u"aB", u"\\p{Lower}", u"X", "XB"},
      {u"aB", u"\\P{Lower}", u"X", "aX"},
      {u"a1_-", u"\\p{Alnum}|\\p{Punct}", u"X", "XXXX"},
      {u"a\nb", u".", u"X", "X\nX"},
      {u"a\nb", u"(?s).", u"X", "XXX"},
      {u"a\nb", u"(?m)^", u"X", "Xa\nXb"},
      {u"a\nb\n", u"$", u"X", "a\nbX\nX"},
      {u"a\r\nb", u"\\R", u"X", "aXb"},
      {u"a b", u"(?x) a \\  b # c", u"X", "X"},
      {u"ab ab", u"\\bab\\b", u"X", "X X"},
      {u"abc", u"\\Gab?", u"X", "Xc"},
      {u"aaaa", u"a{2}", u"X", "XX"},
      {u"aaaa", u"a{1,3}?", u"X", "XXXX"},
      {u"a", u"a{0}", u"X", "XaX"},
      {u"A\\b", u"\\x41\\\\", u"X", "Xb"},
      {u"cost $5", u"\\$(\\d)", u"\\$$1", "cost $5"},
      {u"abcdefghijkl", u"(a)(b)(c)(d)(e)(f)(g)(h)(i)(j)(k)", u"$11$12", "ka2l"},
      {u"x", u"", u"-", "-x-"},
  };
  for (const auto& [text, pattern, by, expected] : table) EXPECT_EQ(replaced(text, pattern, by), expected) << utf8(pattern);
}

TEST(JavaRegex, MatchesWholeTexts) {
  EXPECT_TRUE(JavaRegex(u"a|ab").matches(u"ab"));
  EXPECT_FALSE(JavaRegex(u"a").matches(u"ab"));
  EXPECT_TRUE(JavaRegex(u"[0-9]{4}-[0-9]{2}").matches(u"2016-03"));
  EXPECT_TRUE(JavaRegex(u".").matches(u"\U0001F600"));
  EXPECT_TRUE(JavaRegex(u"[\U0001F600-\U0001F64F]+").matches(u"\U0001F600\U0001F601"));
  EXPECT_TRUE(JavaRegex(u"\\x{1F600}|\\uD83D\\uDE01").matches(u"\U0001F601"));
}

TEST(JavaRegex, FindsGroupsAndKeepsThoseOfEarlierRounds) {
  const auto match = JavaRegex(u"(?:(a)|(b))+").find(u"xab");
  ASSERT_TRUE(match);
  using Groups = std::vector<std::pair<std::size_t, std::size_t>>;
  EXPECT_EQ(match->groups, (Groups{{1, 3}, {1, 2}, {2, 3}}));
}

TEST(JavaRegex, WhatItDoesNotKnowIsAnErrorThatSaysSo) {
  for (const char16_t* const pattern : {u"\\p{L}", u"\\p{IsHan}", u"\\X", u"(?u)a", u"(?U)a", u"\\N{DIGIT ONE}", u"\\b{g}", u"(a?)*?b"}) {
    EXPECT_THAT(error(pattern), HasSubstr("is not supported near index")) << utf8(pattern);
  }
  EXPECT_THAT(error(u"\\bx", u"\u00e9x"), HasSubstr("beyond ASCII is not supported"));
  EXPECT_THAT(error(u"(?<=\\D)x", u"\U0001F600x"), HasSubstr("is not supported"));
}

TEST(JavaRegex, WrongPatternsAndReplacementsAreErrors) {
  for (const char16_t* const pattern : {u"(", u")", u"[", u"a{2", u"*", u"a**", u"[b-a]", u"\\", u"(?<1>a)", u"\\k<n>", u"(?z)", u"\\y",
                                        u"a{3,2}", u"(?<=a+b)c", u"[a&&]"}) {
    EXPECT_THROW(JavaRegex{pattern}, Error) << utf8(pattern);
  }
  EXPECT_EQ(error(u"a", u"a", u"$1"), "No group 1");
  EXPECT_EQ(error(u"a", u"a", u"$"), "Illegal group reference: group index is missing");
  EXPECT_EQ(error(u"a", u"a", u"$x"), "Illegal group reference");
  EXPECT_EQ(error(u"a", u"a", u"\\"), "character to be escaped is missing");
}

TEST(JavaRegex, DeepMatchesEndInAnErrorAndNotInACrash) {
  EXPECT_THAT(error(u"(?:a|b)*c", std::u16string(1'000'000, u'a')), HasSubstr("too much stack"));
  EXPECT_THAT(error(std::u16string(10'000, u'(')), HasSubstr("nested too deeply"));
  EXPECT_EQ(utf8(JavaRegex(u"a*").replace(std::u16string(1'000'000, u'a'), u"x", true)), "xx");
}

}  // namespace
}  // namespace digdag::dig
