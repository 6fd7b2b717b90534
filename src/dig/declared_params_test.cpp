#include "dig/declared_params.h"

#include <gtest/gtest.h>

#include <string>

#include "dig/project_for_test.h"

namespace digdag::dig {
namespace {

std::string faults_of(const std::string& declared) {
  return TestProject{{"w.dig", "_params: " + declared + "\n+a: {echo>: 1}\n"}}.messages();
}

/// The defaults where `given`, a JSON object, fits; else what is wrong.
std::string take(const std::string& declared, const std::string& given) {
  const Project project = TestProject{{"w.dig", "_params: " + declared + "\n+a: {echo>: 1}\n"}}.load();
  try {
    return to_json(declared_params(project.files.front().workflow.value(), parse_json(given)));
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(DeclaredParams, ADeclarationMustHaveItsForm) {
  EXPECT_EQ(
      faults_of("{a: {}, b: {type: json, default: [1]}, c: {type: integer, default: 7, required: true, description: d, secret: false}}"),
      "");
  EXPECT_EQ(faults_of("{a: 1}"), "Parameter 'a' of _params must be an object\n");
  EXPECT_EQ(faults_of("{a: {type: strnig}, b: {requird: true}}"),
            "Invalid type of parameter 'a': strnig\nParameter 'b' of _params has an unknown key: requird\n");
  EXPECT_EQ(faults_of("{a: {enum: x}}"), "Expected array type for key 'enum' but got \"x\"\n");
  EXPECT_EQ(faults_of("{a: {required: maybe}}"), "Expected 'true' or 'false' for key 'required' but got \"maybe\" (string)\n");
  EXPECT_EQ(faults_of("{a: {type: integer, default: x}}"), "Parameter 'a' must be of type integer but got \"x\"\n");
  EXPECT_EQ(faults_of("{a: {enum: [x], default: y}}"), "Parameter 'a' must be one of [\"x\"] but got \"y\"\n");
}

TEST(DeclaredParams, AFaultStandsAtItsKeyWithWhatMayHaveBeenMeant) {
  EXPECT_EQ((TestProject{{"w.dig", "_params:\n  a:\n    requird: true\n+a: {echo>: 1}\n"}}.errors()),
            "w.dig:3:5: Parameter 'a' of _params has an unknown key: requird\n    3 |     requird: true\n      |     ^^^^^^^\n"
            "hint: did you mean required?\n\n");
}

TEST(DeclaredParams, DefaultsStandInForWhatIsNotGiven) {
  const std::string declared = "{a: {default: x}, b: {type: integer, default: 1}, c: {}}";
  EXPECT_EQ(take(declared, "{}"), R"({"a":"x","b":1})");
  EXPECT_EQ(take(declared, R"({"a": "y", "other": 1})"), R"({"b":1})");
}

TEST(DeclaredParams, WhatIsRequiredMustBeGiven) {
  EXPECT_EQ(take("{a: {required: true}}", "{}"), "Parameter 'a' is required but not given");
  EXPECT_EQ(take("{a: {required: true}}", R"({"a": ""})"), "{}");
  EXPECT_EQ(take("{a: {required: true, default: x}}", "{}"), R"({"a":"x"})");
}

TEST(DeclaredParams, ATextCountsWhereItParses) {
  const std::string declared = "{s: {type: string}, i: {type: integer}, n: {type: number}, b: {type: boolean}, j: {type: json}}";
  for (const char* right : {R"({"s": "x"})", R"({"s": 1})", R"({"i": 1})", R"({"i": "1"})", R"({"n": 1.5})", R"({"n": "1.5"})",
                            R"({"b": true})", R"({"b": "false"})", R"({"j": {"a": [1]}})", R"({"j": "x"})"})
    EXPECT_EQ(take(declared, right), "{}") << right;
  EXPECT_EQ(take(declared, R"({"s": [1]})"), "Parameter 's' must be of type string but got [1]");
  EXPECT_EQ(take(declared, R"({"i": "1.5"})"), "Parameter 'i' must be of type integer but got \"1.5\"");
  EXPECT_EQ(take(declared, R"({"n": "x"})"), "Parameter 'n' must be of type number but got \"x\"");
  EXPECT_EQ(take(declared, R"({"b": "yes"})"), "Parameter 'b' must be of type boolean but got \"yes\"");
}

TEST(DeclaredParams, OneOfSeveralValues) {
  EXPECT_EQ(take("{m: {enum: [append, 2]}}", R"({"m": "append"})"), "{}");
  EXPECT_EQ(take("{m: {enum: [append, 2]}}", R"({"m": "2"})"), "{}");
  EXPECT_EQ(take("{m: {enum: [append, 2]}}", R"({"m": "x"})"), "Parameter 'm' must be one of [\"append\",2] but got \"x\"");
}

TEST(DeclaredParams, ASecretIsNotShown) {
  EXPECT_EQ(take("{m: {type: integer, secret: true}}", R"({"m": "swordfish"})"), "Parameter 'm' must be of type integer but got ***");
  EXPECT_EQ(take("{m: {enum: [a], secret: true}}", R"({"m": "swordfish"})"), "Parameter 'm' must be one of [\"a\"] but got ***");
}

TEST(DeclaredParams, ANameThatLooksLikeADeclaredOneIsDoubtedWhereThatIsNotGiven) {
  const Project project = TestProject{{"w.dig", "_params: {region: {}, node: {}}\n+a: {echo>: 1}\n"}}.load();
  const auto doubted = [&](const std::string& given) {
    std::string texts;
    for (const Warning& warning : misspelt_params(*project.files.front().workflow, parse_json(given)))
      texts += to_string(warning.position) + ": " + warning.message;
    return texts;
  };
  EXPECT_EQ(doubted(R"({"regoin": "us"})"), "w.dig:1:1: Parameter 'regoin' is given but not declared; did you mean 'region'?");
  EXPECT_EQ(doubted(R"({"region": "us", "regions": "us", "other": 1})"), "");
}

}  // namespace
}  // namespace digdag::dig
