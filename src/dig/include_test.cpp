#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "dig/project_for_test.h"

namespace digdag::dig {
namespace {

using testing::HasSubstr;

/// The JSON of `wf.dig` with everything included.
std::string loaded(std::initializer_list<std::pair<std::string, std::string>> files) {
  const TestProject project(files);
  try {
    return to_json(load_yaml_file(project.directory() / "wf.dig", project.directory(), "wf.dig"));
  } catch (const Error& error) {
    return error.message();
  }
}

TEST(Include, MergesTheFileIntoTheMap) {
  EXPECT_EQ(loaded({{"wf.dig", "!include : t.yml\n+b: {echo>: b}\n"}, {"t.yml", "+a: {echo>: a}\n_export: {x: 1}\n"}}),
            R"({"+a":{"echo>":"a"},"_export":{"x":1},"+b":{"echo>":"b"}})");
  EXPECT_EQ(loaded({{"wf.dig", "l:\n  - !include : e.yml\n  - x\n"}, {"e.yml", "a: 1\n"}}), R"({"l":[{"a":1},"x"]})");
  EXPECT_EQ(loaded({{"wf.dig", "{!include : i.yml, b: 2}\n"}, {"i.yml", "a: 1\n"}}), R"({"a":1,"b":2})");
  EXPECT_EQ(loaded({{"wf.dig", "? !include\n: i.yml\n"}, {"i.yml", "a: 1\n"}}), R"({"a":1})");
}

TEST(Include, KeysBeforeAreMergedDeeplyKeysBehindReplace) {
  EXPECT_EQ(loaded({{"wf.dig", "b: {p: 1, z: {q: 1}}\n!include : i\n"}, {"i", "b: {z: {w: 2}, n: 1}\n"}}),
            R"({"b":{"p":1,"z":{"q":1,"w":2},"n":1}})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : i\nb: {p: 1}\n"}, {"i", "b: {z: {w: 2}, n: 1}\n"}}), R"({"b":{"p":1}})");
  EXPECT_EQ(loaded({{"wf.dig", "a: 0\n!include : i\nb: 3\n"}, {"i", "x: 1\nb: {z: 2}\na: 9\n"}}), R"({"a":9,"x":1,"b":3})");
  EXPECT_EQ(loaded({{"wf.dig", "l: [1, 2]\n!include : i\n"}, {"i", "l: [3]\n"}}), R"({"l":[3]})");
}

TEST(Include, IsRelativeToTheIncludingFile) {
  EXPECT_EQ(loaded({{"wf.dig", "!include : sub/i\n"}, {"sub/i", "!include : j\nk: 1\n"}, {"sub/j", "l: 1\n"}}), R"({"l":1,"k":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : sub/i\n"}, {"sub/i", "!include : ../j\nk: 1\n"}, {"j", "l: 1\n"}}), R"({"l":1,"k":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : sub/i\n"}, {"sub/i", "!include : ../sub2/j\n"}, {"sub2/j", "l: 1\n"}}), R"({"l":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : sub/../i\n"}, {"i", "l: 1\n"}, {"sub/x", ""}}), R"({"l":1})");
}

TEST(Include, StaysInsideTheProject) {
  EXPECT_EQ(loaded({{"wf.dig", "!include : ../x.yml\n"}}), "File name must not include ..: ../x.yml");
  EXPECT_EQ(loaded({{"wf.dig", "!include : /etc/hostname\n"}}), "File name must not include ..: /etc/hostname");
  const TestProject project{{"wf.dig", "!include : link.yml\n"}};
  std::filesystem::create_symlink("/etc/hostname", project.directory() / "link.yml");
  EXPECT_EQ(project.messages(), "File name must not include ..: link.yml\n");
}

TEST(Include, AsAValueGivesTheFileAsThatValue) {
  EXPECT_EQ(loaded({{"wf.dig", "b: !include i.yml\nl: [!include i.yml]\n"}, {"i.yml", "k: 1\n"}}), R"({"b":{"k":1},"l":[{"k":1}]})");
  EXPECT_EQ(loaded({{"wf.dig", "b: !include i.yml\n"}, {"i.yml", "[1]\n"}}), "Expected object to load Config but got [1]");
}

TEST(Include, OfAnEmptyFileSaysWhoIncludesItAndWhatToWrite) {
  EXPECT_EQ((TestProject{{"wf.dig", "_export: !include sub/i.yml\n+a: {echo>: 1}\n"}, {"sub/i.yml", "# nothing\n"}}.errors()),
            "sub/i.yml:1:1: Expected object to load Config but got null\n    1 | # nothing\n      | ^\n"
            "hint: the file has no content: write `key: value` lines, or `{}` for none; wf.dig includes it\n\n");
}

TEST(Include, TheNameIsTheTextOfTheValue) {
  EXPECT_EQ(loaded({{"wf.dig", "!include : 12\n"}, {"12", "a: 1\n"}}), R"({"a":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : 1.50\n"}, {"1.5", "a: 1\n"}}), R"({"a":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include :\n"}, {"null", "a: 1\n"}}), R"({"a":1})");
  EXPECT_EQ(loaded({{"wf.dig", "!include foo : i.dig\n"}, {"i.dig", "a: 1\n"}}), R"({"a":1})") << "the text of the key does not count";
  EXPECT_EQ(loaded({{"wf.dig", "'!include:anything': i.dig\n"}, {"i.dig", "a: 1\n"}}), R"({"a":1})");
  EXPECT_EQ(loaded({{"wf.dig", "b: '!include:i'\n"}, {"!include:i", "a: 1\n"}}), R"({"b":{"a":1}})");
  EXPECT_EQ(loaded({{"wf.dig", "!include : [a]\n"}}), "!include needs a file name");
  EXPECT_EQ(loaded({{"wf.dig", "!include : {a: b}\n"}}), "!include needs a file name");
}

TEST(Include, AMergedMapBringsItsIncludes) {
  EXPECT_EQ(loaded({{"wf.dig", "a: &a {!include : i.yml}\nb: {c: 1, <<: *a}\n"}, {"i.yml", "k: 1\n"}}),
            R"({"a":{"k":1},"b":{"c":1,"k":1}})");
}

TEST(Include, ATemplateInTheNameIsNotEvaluated) { EXPECT_THAT(loaded({{"wf.dig", "!include : ${env}.yml\n"}}), HasSubstr("/${env}.yml")); }

TEST(Include, AMissingFileIsNamedWithItsPlace) {
  const TestProject project{{"wf.dig", "_export:\n  !include : sub/i.yml\n"}, {"sub/i.yml", "a: 1\n!include : gone.yml\n"}};
  EXPECT_EQ(project.errors(), "sub/i.yml:2:12: included file does not exist: " + (project.directory() / "sub/gone.yml").string() +
                                  "\n    2 | !include : gone.yml\n      |            ^^^^^^^^\n\n");
}

TEST(Include, AFaultInAnIncludedFileIsReportedThere) {
  const TestProject project{{"wf.dig", "!include : t.yml\n+b: {foo: 1}\n"}, {"t.yml", "\n+a:\n  echoo: hi\n"}};
  EXPECT_EQ(project.errors(), R"(wf.dig:2:6: +wf+b contains invalid keys: 'foo'
    2 | +b: {foo: 1}
      |      ^^^
hint: an operator's name ends with >: `foo>`; parameters belong into _export

t.yml:3:3: +wf+a contains invalid keys: 'echoo'
    3 |   echoo: hi
      |   ^^^^^
hint: an operator's name ends with >: `echoo>`; parameters belong into _export

)");
}

TEST(Include, ACycleIsNamed) {
  EXPECT_EQ(loaded({{"wf.dig", "!include : a.yml\n"}, {"a.yml", "!include : sub/b.yml\n"}, {"sub/b.yml", "!include : ../wf.dig\n"}}),
            "include cycle: wf.dig -> a.yml -> sub/b.yml -> wf.dig");
  EXPECT_EQ(loaded({{"wf.dig", "!include : wf.dig\n"}}), "include cycle: wf.dig -> wf.dig");
}

TEST(Include, ABombIsRefusedQuickly) {
  const TestProject project{{"wf.dig", "!include : i0\n"}, {"i12", "a: 1\n"}};
  for (int i = 0; i < 12; ++i) {
    std::string text;
    for (int k = 0; k < 10; ++k) text += "k" + std::to_string(k) + ":\n  !include : i" + std::to_string(i + 1) + "\n";
    project.write("i" + std::to_string(i), text);
  }
  EXPECT_THAT(project.messages(), HasSubstr("YAML document too large after alias expansion"));
}

TEST(Include, AFolderOrADeviceIsNoFile) {
  const TestProject project{{"wf.dig", "!include : sub\n"}, {"sub/x", ""}};
  EXPECT_EQ(project.messages(), "sub is no regular file\n");
}

}  // namespace
}  // namespace digdag::dig
