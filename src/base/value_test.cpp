#include "base/value.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace digdag {
namespace {

std::string merged(const char* into, const char* other) {
  Value value = parse_json(into);
  merge(value, parse_json(other));
  return to_json(value);
}

std::string with_defaults(const char* into, const char* other) {
  Value value = parse_json(into);
  merge_default(value, parse_json(other));
  return to_json(value);
}

TEST(Value, KeepsIntegersOfAnySize) {
  EXPECT_EQ(Value::integer_of("9223372036854775807").as_integer(), INT64_MAX);
  EXPECT_EQ(Value::integer_of("-9223372036854775808").as_integer(), INT64_MIN);
  const Value big = Value::integer_of("9223372036854775808");
  EXPECT_EQ(big.kind(), Kind::big_integer);
  EXPECT_EQ(big.as_string(), "9223372036854775808");
  EXPECT_DOUBLE_EQ(big.as_number(), 9223372036854775808.0);
}

TEST(Value, BringsIntegersIntoOneForm) {
  EXPECT_EQ(Value::integer_of("+007"), Value(7));
  EXPECT_EQ(Value::integer_of("-0"), Value(0));
  EXPECT_EQ(Value::integer_of("-00099999999999999999999").as_string(), "-99999999999999999999");
}

TEST(Value, CopiesShareTheirContentUntilOneIsChanged) {
  Value a = parse_json(R"({"list":[1,2]})");
  Value b = a;
  EXPECT_TRUE(a.same_as(b));
  b.mutable_object().find_mutable("list")->mutable_array().push_back(3);
  EXPECT_EQ(to_json(a), R"({"list":[1,2]})");
  EXPECT_EQ(to_json(b), R"({"list":[1,2,3]})");
}

TEST(Value, CanBeReplacedByAPartOfItself) {
  Value value = parse_json(R"({"a":{"b":"text that needs the heap to live in"}})");
  value = Value(*value.find("a"));
  value = *value.find("b");
  EXPECT_EQ(value.as_string(), "text that needs the heap to live in");
  Value other = parse_json(R"([["x"]])");
  other = std::move(other.mutable_array()[0]);
  EXPECT_EQ(to_json(other), R"(["x"])");
}

TEST(Value, EqualityIgnoresTheOrderOfKeysButNotTheKindOfNumbers) {
  EXPECT_EQ(parse_json(R"({"a":1,"b":[2]})"), parse_json(R"({"b":[2],"a":1})"));
  EXPECT_FALSE(Value(1) == Value(1.0));
  EXPECT_FALSE(parse_json(R"({"a":1})") == parse_json(R"({"a":1,"b":null})"));
  EXPECT_FALSE(parse_json(R"({"a":null})") == parse_json(R"({"b":null})"));
}

TEST(Object, KeepsTheOrderOfItsKeysAndThePlaceOfAReplacedOne) {
  Object object;
  for (const char* key : {"b", "a", "c"}) object.set(key, key);
  object.set("a", 1);
  EXPECT_EQ(to_json(Value(object)), R"({"b":"b","a":1,"c":"c"})");
}

TEST(Object, FindsKeysInSmallAndLargeObjects) {
  Object object;
  for (int i = 0; i < 100; ++i) {
    object.set("key" + std::to_string(i), i);
    for (int k = 0; k <= i; k += 7) ASSERT_EQ(*object.find("key" + std::to_string(k)), Value(k));
    ASSERT_EQ(object.find("other"), nullptr);
  }
}

TEST(Object, FindsTheRightKeysAfterOneWasRemoved) {
  for (const int size : {5, 40}) {
    Object object;
    for (int i = 0; i < size; ++i) object.set("key" + std::to_string(i), i);
    EXPECT_TRUE(object.erase("key2"));
    EXPECT_FALSE(object.erase("key2"));
    const Object copy = object;
    EXPECT_FALSE(copy.has("key2"));
    for (int i = 3; i < size; ++i) EXPECT_EQ(*copy.find("key" + std::to_string(i)), Value(i));
  }
}

TEST(Object, KeepsTheFirstPositionOfAKeyUnlessAnotherOneIsKnown) {
  Object object;
  object.set("a", 1, {.line = 3, .column = 1});
  object.set("a", 2);
  EXPECT_EQ(object.find_member("a")->position.line, 3U);
  object.set("a", 2, {.line = 8, .column = 1});
  EXPECT_EQ(object.find_member("a")->position.line, 8U);
}

// spec/language.md 4.5, the table.
TEST(Merge, ReplacesAllButObjectsWhichItMerges) {
  EXPECT_EQ(merged(R"({"b":1,"a":2})", R"({"a":3,"c":4})"), R"({"b":1,"a":3,"c":4})");
  EXPECT_EQ(merged(R"({"a":{"x":1,"y":2}})", R"({"a":{"y":3,"z":4}})"), R"({"a":{"x":1,"y":3,"z":4}})");
  EXPECT_EQ(merged(R"({"a":[1,2]})", R"({"a":[3]})"), R"({"a":[3]})");
  EXPECT_EQ(merged(R"({"a":{"x":1}})", R"({"a":null})"), R"({"a":null})");
  EXPECT_EQ(merged(R"({"a":null})", R"({"a":{"x":1}})"), R"({"a":{"x":1}})");
  EXPECT_EQ(merged(R"({"a":{"x":1}})", R"({"a":{}})"), R"({"a":{"x":1}})");
}

TEST(Merge, AsDefaultAddsOnlyWhatIsMissing) {
  EXPECT_EQ(with_defaults(R"({"b":1,"a":2})", R"({"a":3,"c":4})"), R"({"b":1,"a":2,"c":4})");
  EXPECT_EQ(with_defaults(R"({"a":{"x":1,"y":2}})", R"({"a":{"y":3,"z":4}})"), R"({"a":{"x":1,"y":2,"z":4}})");
  EXPECT_EQ(with_defaults(R"({"a":[1,2]})", R"({"a":[3]})"), R"({"a":[1,2]})");
  EXPECT_EQ(with_defaults(R"({"a":{"x":1}})", R"({"a":null})"), R"({"a":{"x":1}})");
  EXPECT_EQ(with_defaults(R"({"a":null})", R"({"a":{"x":1}})"), R"({"a":null})");
  EXPECT_EQ(with_defaults(R"({"a":{"x":1}})", R"({"a":{}})"), R"({"a":{"x":1}})");
}

TEST(Merge, DoesNotChangeWhatItReads) {
  Value into = parse_json(R"({"a":{"x":1}})");
  const Value before = into;
  const Value other = parse_json(R"({"a":{"y":2}})");
  merge(into, other);
  merge(into, into);
  EXPECT_EQ(to_json(into), R"({"a":{"x":1,"y":2}})");
  EXPECT_EQ(to_json(before), R"({"a":{"x":1}})");
  EXPECT_EQ(to_json(other), R"({"a":{"y":2}})");
}

}  // namespace
}  // namespace digdag
