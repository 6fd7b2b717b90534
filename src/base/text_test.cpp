#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace digdag {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;

constexpr std::string_view replacement = "\xEF\xBF\xBD";
std::string with_replacement(std::string_view before, int times, std::string_view after) {
  std::string text(before);
  for (int i = 0; i < times; ++i) text += replacement;
  return text.append(after);
}

TEST(Text, SplitsAndJoins) {
  EXPECT_THAT(split("a,b,,c", ','), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split("a,", ','), ElementsAre("a", ""));
  EXPECT_EQ(join({"a", "b", ""}, ", "), "a, b, ");
  EXPECT_EQ(join({}, ", "), "");
}

TEST(Text, TrimsBlanksAndControlCharacters) {
  EXPECT_EQ(trim(" \t\r\n a b \n"), "a b");
  EXPECT_EQ(trim(" \n"), "");
  EXPECT_TRUE(is_blank(" \t"));
  EXPECT_FALSE(is_blank(" x "));
}

TEST(Text, ReplacesEveryOccurrence) {
  EXPECT_EQ(replace_all("aXbXc", "X", "--"), "a--b--c");
  EXPECT_EQ(replace_all("aaa", "aa", "b"), "ba");
  EXPECT_EQ(replace_all("abc", "", "x"), "abc");
  EXPECT_EQ(replace_all("xx", "x", "xx"), "xxxx");
}

TEST(Text, LowersAsciiOnly) { EXPECT_EQ(lower("AZaz09Ä"), "azaz09Ä"); }

TEST(Utf8, KnowsWellFormedText) {
  for (const char* text : {"", "plain", "ä", "日本語", "😀", "\xF4\x8F\xBF\xBF", "aaaaaaaaaaaaaaaaaaaaä"})
    EXPECT_TRUE(is_valid_utf8(text)) << text;
  for (const char* text :
       {"\x80", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xC3", "aaaaaaaaaaaa\xE3\x81"}) {
    EXPECT_FALSE(is_valid_utf8(text)) << text;
  }
}

TEST(Utf8, ReplacesMalformedBytes) {
  EXPECT_EQ(to_valid_utf8("a\xFFz"), with_replacement("a", 1, "z"));
  EXPECT_EQ(to_valid_utf8("a\xE3\x81z"), with_replacement("a", 1, "z"));
  EXPECT_EQ(to_valid_utf8("\xC0\xAF"), with_replacement("", 2, ""));
  EXPECT_EQ(to_valid_utf8("日\xF0\x9F\x98"), with_replacement("日", 1, ""));
  EXPECT_EQ(to_valid_utf8("日本"), "日本");
}

TEST(Text, IsCutToBytesBetweenCharacters) {
  EXPECT_EQ(first_bytes("aä日", 2), "a");
  EXPECT_EQ(first_bytes("aä日", 3), "aä");
  EXPECT_EQ(first_bytes("aä日", 5), "aä");
  EXPECT_EQ(first_bytes("aä日", 6), "aä日");
  EXPECT_EQ(first_bytes("日", 2), "");
}

TEST(Utf8, CountsAndCutsAsJavaDoes) {
  EXPECT_EQ(utf16_length("aä日😀"), 5U);
  EXPECT_EQ(first_utf16_units("aä日😀", 3), "aä日");
  EXPECT_EQ(first_utf16_units("aä日😀", 4), "aä日?");
  EXPECT_EQ(first_utf16_units("aä日😀", 5), "aä日😀");
  EXPECT_EQ(first_utf16_units("abc", 0), "");
  EXPECT_EQ(first_utf16_units("abc", 9), "abc");
}

TEST(Url, EncodesAsAForm) { EXPECT_EQ(form_urlencode("a b&c=ü~*-._+/"), "a+b%26c%3D%C3%BC%7E*-._%2B%2F"); }

TEST(Url, DecodesPercentSignsThatMeanSomething) {
  EXPECT_EQ(percent_decode("a%20b%2fc%2F"), "a b/c/");
  EXPECT_EQ(percent_decode("100%+%zz%4"), "100%+%zz%4");
  EXPECT_EQ(percent_decode("%41"), "A");
}

TEST(SimilarWords, MeasuresTheDistance) {
  EXPECT_EQ(levenshtein("", ""), 0U);
  EXPECT_EQ(levenshtein("abc", ""), 3U);
  EXPECT_EQ(levenshtein("kitten", "sitting"), 3U);
  EXPECT_EQ(levenshtein("_retires", "_retry"), 3U);
}

TEST(Visible, ShowsWhatATerminalWouldObey) {
  EXPECT_EQ(visible("caf\u00e9 \u65e5 \U0001F600"), "caf\u00e9 \u65e5 \U0001F600");
  EXPECT_EQ(visible("a\x1b[31m\n\t\x7f"), "a\\u001b[31m\\u000a\\u0009\\u007f");
  EXPECT_EQ(visible("\u202E"
                    "cba\u2066\u200f\u2028\xc2\x85"),
            "\\u202ecba\\u2066\\u200f\\u2028\\u0085");
  EXPECT_EQ(visible("a\nb\r\n", "\n\t"), "a\nb\\u000d\n");
  EXPECT_EQ(visible("\xff"), "\uFFFD");
}

TEST(SimilarWords, AreThoseWithinHalfTheirOwnLengthNearestFirst) {
  EXPECT_THAT(similar_words("_retires", {"_export", "_retry", "_error"}), ElementsAre("_retry"));
  EXPECT_THAT(similar_words("_erro", {"_retry", "_error"}), ElementsAre("_error", "_retry"));
  EXPECT_THAT(similar_words("ab", {"ba", "ac", "ad"}), ElementsAre("ac", "ad"));  // 1 of 2 letters, then by name
  EXPECT_THAT(similar_words("x", {"y"}), IsEmpty());
  EXPECT_THAT(similar_words(std::string(1'000'000, 'x'), {"_retry"}), IsEmpty());
}

TEST(EnvironmentName, IsLettersDigitsAndUnderscores) {
  for (const char* name : {"a", "_", "A_1", "path"}) EXPECT_TRUE(is_environment_name(name)) << name;
  for (const char* name : {"", "1a", "a-b", "a.b", "a b", "ä"}) EXPECT_FALSE(is_environment_name(name)) << name;
}

TEST(Uuid, IsRandomOfVersion4) {
  EXPECT_THAT(random_uuid(), MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  EXPECT_NE(random_uuid(), random_uuid());
}

}  // namespace
}  // namespace digdag
