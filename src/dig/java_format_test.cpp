#include "dig/java_format.h"

#include <gmock/gmock.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "base/error.h"

namespace digdag::dig {
namespace {

using testing::HasSubstr;

std::string error(const std::string& pattern, const std::vector<Value>& arguments) {
  try {
    return "no error: " + java_format(pattern, arguments);
  } catch (const Error& failure) {
    return failure.message();
  }
}

TEST(JavaFormat, FormatsAsJavaDoes) {
  const std::vector<std::tuple<std::string, Value, std::string>> table = {
      {"%d", 7, "7"},
      {"%05d", 7, "00007"},
      {"%-5d|", 7, "7    |"},
      {"%+d", 7, "+7"},
      {"% d", 7, " 7"},
      {"%(d", -7, "(7)"},
      {"%,d", 1234567, "1,234,567"},
      {"%05d", -42, "-0042"},
      {"%d", 3.0, "3"},
      {"%x", 255, "ff"},
      {"%X", 255, "FF"},
      {"%#x", 255, "0xff"},
      {"%o", 8, "10"},
      {"%x", -1, "ffffffff"},
      {"%.2f", 1.005, "1.01"},
      {"%f", 1.5, "1.500000"},
      {"%.0f", 2.5, "3"},
      {"%.1f", 0.25, "0.3"},
      {"%8.3f|", -3.14159, "  -3.142|"},
      {"%,.2f", 1234567.891, "1,234,567.89"},
      {"%.3f", 9.9999, "10.000"},
      {"%e", 12345.678, "1.234568e+04"},
      {"%E", 0.0, "0.000000E+00"},
      {"%.2g", 0.00012345, "0.00012"},
      {"%g", 1e10, "1.00000e+10"},
      {"%s", "x", "x"},
      {"%.2s", "hello", "he"},
      {"%S", "Ab", "AB"},
      {"%s", nullptr, "null"},
      {"%s", true, "true"},
      {"%s", 1.5, "1.5"},
      {"%s", 1e21, "1.0E21"},
      {"%c", "x", "x"},
      {"%c", 97, "a"},
      {"%b", nullptr, "false"},
      {"%b", "x", "true"},
      {"%h", "Hello", "42628b2"},
      {"%%%n", 0, "%\n"},
      {"%1$s%1$s%<s", "a", "aaa"},
      {"%f", std::numeric_limits<double>::infinity(), "Infinity"},
  };
  for (const auto& [pattern, argument, expected] : table) {
    EXPECT_EQ(java_format(pattern, {argument}), expected) << pattern;
  }
  EXPECT_EQ(java_format("%2$s-%1$s-%s", {Value("a"), Value("b")}), "b-a-a");
}

TEST(JavaFormat, RefusesWhatJavaRefuses) {
  EXPECT_THAT(error("%d", {Value(1.5)}), HasSubstr("d != java.lang.Double"));
  EXPECT_THAT(error("%d", {Value("x")}), HasSubstr("d != java.lang.String"));
  EXPECT_THAT(error("%s", {}), HasSubstr("MissingFormatArgumentException: Format specifier '%s'"));
  EXPECT_THAT(error("%q", {Value(1)}), HasSubstr("UnknownFormatConversionException: Conversion = 'q'"));
  EXPECT_THAT(error("100%", {}), HasSubstr("UnknownFormatConversionException"));
  EXPECT_THAT(error("%-d", {Value(1)}), HasSubstr("MissingFormatWidthException"));
  EXPECT_THAT(error("%tY", {Value(1)}), HasSubstr("not supported; use moment"));
  EXPECT_THAT(error("%9999999d", {Value(1)}), HasSubstr("too big"));
}

}  // namespace
}  // namespace digdag::dig
