#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dig/project_for_test.h"

namespace digdag::dig {
namespace {

using testing::HasSubstr;

Value load(std::string_view text) { return load_yaml(text, {.directory = ".", .root = ".", .display_name = "wf.dig"}); }

Workflow workflow(std::string_view text) { return workflow_of("wf", load(text), "wf.dig"); }

std::string called(const std::string& file, std::string_view text) {
  return to_json(called_workflow(file.substr(0, file.size() - 4), load(text), file));
}

/// The messages for a project that has just this file.
std::string name_fault(const std::string& file) { return TestProject{{file, "+x: {echo>: 1}\n"}}.messages(); }

TEST(WorkflowFile, TheTimeZoneIsTakenOut) {
  EXPECT_EQ(workflow("timezone: Asia/Tokyo\n").timezone.id(), "Asia/Tokyo");
  EXPECT_EQ(workflow("timezone: +09:00\n").timezone.id(), "+09:00");
  EXPECT_EQ(to_json(workflow("timezone: Asia/Tokyo\n_export: {a: 1}\n").config), R"({"_export":{"a":1}})");
  EXPECT_TRUE(workflow("timezone: UTC\n").has_timezone);
  for (const char* none : {"{}", "timezone:", "timezone: ''"}) {
    EXPECT_EQ(workflow(none).timezone.id(), "UTC") << none;
    EXPECT_FALSE(workflow(none).has_timezone) << none;
  }
}

TEST(WorkflowFile, AnUnknownTimeZoneIsAnErrorWithARemedy) {
  EXPECT_EQ((TestProject{{"wf.dig", "timezone: JST\n"}}.errors()),
            R"(wf.dig:1:1: Expected time zone for key 'timezone' but got "JST" (string)
    1 | timezone: JST
      | ^^^^^^^^
hint: write a region such as Asia/Tokyo, UTC, or an offset in quotes such as '+09:00'

)");
  EXPECT_EQ(faults_of("timezone: +9\n"), "Expected time zone for key 'timezone' but got 9 (number)\n");
  EXPECT_EQ(faults_of("timezone: utc\n"), "Expected time zone for key 'timezone' but got \"utc\" (string)\n");
}

TEST(WorkflowFile, KeysAreCopiedInAFixedOrderTasksInThatOfTheFile) {
  EXPECT_EQ(to_json(workflow("+b: {}\n_concurrency: 1\n_retry: 1\n_timeout: 1m\nschedule: {}\n+a: {}\n_export: {x: 1}\n").config),
            R"({"_export":{"x":1},"schedule":{},"_retry":1,"_timeout":"1m","_concurrency":1,"+b":{},"+a":{}})");
  EXPECT_EQ(to_json(workflow("_export:\n+a: {}\n").config), R"({"+a":{}})");
  EXPECT_EQ(to_json(workflow("_export: {}\n").config), "{}");
}

TEST(WorkflowFile, UnknownKeysAreNamedTogether) {
  EXPECT_EQ(faults_of("foo: 1\nbar: 2\n+a: {echo>: 1}\n"), "Workflow 'wf' includes unknown keys: [foo, bar]\n");
  for (const std::string key : {"echo>", "_background", "_after", "_do", "_secrets", "_disable", "_env", "meta", "^a", "_pool"}) {
    EXPECT_EQ(faults_of(key + ": {}\n"), "Workflow 'wf' includes unknown keys: [" + key + "]\n");
  }
}

TEST(WorkflowFile, UnknownKeysComeWithWhatMayBeMeant) {
  const auto hint = [](const std::string& dig) {
    const std::string report = TestProject{{"wf.dig", dig}}.errors();
    return report.substr(report.find("hint: "));
  };
  EXPECT_EQ(hint("_exports: {}\n"), "hint: did you mean _export?\n\n");
  EXPECT_EQ(hint("echo>: 1\n"), "hint: an operator belongs into a task: `+name:`, and below it, indented, the operator\n\n");
  EXPECT_EQ(hint("first_task: {sh>: x}\n"), "hint: a task's name begins with +: `+first_task`; parameters belong into _export\n\n");
  EXPECT_EQ(hint("_finally: {}\n"), "hint: _finally is reserved\n\n");
}

TEST(WorkflowFile, RequiredKeysMustNotBeNull) {
  for (const std::string key : {"_error", "_check", "_retry", "_parallel", "schedule", "sla", "+a"}) {
    EXPECT_EQ(faults_of(key + ":\n"), "Parameter '" + key + "' is required but null\n");
  }
  EXPECT_EQ(faults_of("_export: 1\n"), "Parameter '_export' must be an object\n");
  EXPECT_EQ(faults_of("_export: [a]\n"), "Parameter '_export' must be an object\n");
}

TEST(WorkflowFile, ItsOwnNewKeysMustHaveTheirForm) {
  EXPECT_EQ(faults_of("_params: [date]\n"), "Parameter '_params' must be an object\n");
  for (const char* wrong : {"0", "many", "{on_limit: skip}", "{limit: 1, on_limit: queue}"}) {
    EXPECT_THAT(faults_of("_concurrency: " + std::string(wrong) + "\n"), HasSubstr("for key '_concurrency'")) << wrong;
  }
  for (const char* right : {"1", "{limit: 3}", "{limit: 1, on_limit: fail}"})
    EXPECT_EQ(faults_of("_concurrency: " + std::string(right) + "\n"), "") << right;
}

// decisions S-40
TEST(WorkflowFile, ATriggerNamesWhatItFollows) {
  const auto faults = [](const std::string& trigger) { return faults_of("trigger: " + trigger + "\n"); };
  EXPECT_EQ(faults("{attempt>: , dependent_workflow_name: w}"), "");
  EXPECT_EQ(faults("{attempt>: , dependent_workflow_name: w, dependent_project_name: p}"), "");
  EXPECT_EQ(faults("w"), "Parameter 'trigger' must be an object\n");
  EXPECT_EQ(faults("{attempt>: }"), "trigger needs dependent_workflow_name\n");
  EXPECT_EQ(faults("{attempt>: , dependent_workflow_name: 1}"), "trigger needs dependent_workflow_name\n");
  EXPECT_EQ(faults("{dependent_workflow_name: w}"), "trigger needs `attempt>:` without a value\n");
  EXPECT_EQ(faults("{attempt>: w, dependent_workflow_name: w}"), "trigger needs `attempt>:` without a value\n");
  EXPECT_EQ(faults("{attempt>: , dependent_workflow_name: w, dependent_project_name: }"),
            "dependent_project_name must be the name of a project\n");
  EXPECT_EQ(faults("{attempt>: , dependent_workflow: w, dependent_workflow_name: w}"),
            "trigger includes unknown keys: 'dependent_workflow' (did you mean [dependent_workflow_name, dependent_project_name]?)\n");
}

TEST(WorkflowFile, TaskNamesAtTheTop) {
  EXPECT_EQ(faults_of("\"+a b\": {echo>: 1}\n"), "task name must not contain character ' ': \"+a b\"\n");
  EXPECT_EQ(faults_of("\"+a^b\": {echo>: 1}\n"), "task name must not contain ^ character: \"+a^b\"\n");
  EXPECT_EQ(faults_of("\"+日本\": {echo>: 1}\n"), "task name must not contain character '日': \"+日本\"\n");
  EXPECT_EQ(faults_of("\"+a>\": {echo>: 1}\n"), "task name must not contain character '>': \"+a>\"\n");
  EXPECT_EQ(faults_of("\"+" + std::string(255, 'n') + "\": {echo>: 1}\n"),
            "task name must not be longer than 255 characters: \"+" + std::string(255, 'n') + "\"\n");
  EXPECT_EQ(faults_of("\"+" + std::string(254, 'n') + "\": {echo>: 1}\n"), "");
}

TEST(WorkflowFile, NamesInErrorsDoNothingToATerminal) {
  EXPECT_EQ(faults_of("\"+a\\e[31m\": {echo>: 1}\n"), "task name must not contain character '\\u001b': \"+a\\u001b[31m\"\n");
  EXPECT_EQ(faults_of("\"+a\\u202E\": {echo>: 1}\n"), "task name must not contain character '\\u202e': \"+a\\u202e\"\n");
  EXPECT_THAT(faults_of("\"a\\nerror: b\": {echo>: 1}\n"), HasSubstr("includes unknown keys: [a\\u000aerror: b]"));
  EXPECT_THAT(name_fault("a\x1b[2J.dig"), HasSubstr("name must not contain character '\\u001b': \"+a\\u001b[2J\""));
}

TEST(WorkflowFile, ItsNameIsChecked) {
  EXPECT_EQ(name_fault("1a.dig"), "name must not start with a numeric digit (0-9): \"1a\"\n");
  EXPECT_EQ(name_fault("a.dig.dig"), "name must not end with .dig: \"a.dig\"\n");
  EXPECT_THAT(name_fault("+a.dig"), HasSubstr("name must not include special symbols (+ ^ @ / \\ / : * ? \" < > |): \"+a\"\n"));
  EXPECT_EQ(name_fault("a+b.dig"), "name must not contain character '+': \"+a+b\"\n");
  EXPECT_EQ(name_fault("a b.dig"), "name must not contain character ' ': \"+a b\"\n");
  EXPECT_EQ(name_fault("日本.dig"), "name must not contain character '日': \"+日本\"\n");
}

TEST(CalledWorkflow, WorksInItsOwnFolder) {
  EXPECT_EQ(called("sub/c.dig", "timezone: Asia/Tokyo\n+x: {echo>: 1}\n"), R"({"_export":{"_workdir":"sub"},"+x":{"echo>":1}})");
  EXPECT_EQ(called("sub/c.dig", "_export: {a: 1, _workdir: w}\n"), R"({"_export":{"a":1,"_workdir":"sub/w"}})");
  EXPECT_EQ(called("c.dig", "_export: {_workdir: w}\n"), R"({"_export":{"_workdir":"w"}})");
  EXPECT_EQ(called("a/b/c.dig", "_parallel: true\n"), R"({"_export":{"_workdir":"a/b"},"_parallel":true})");
}

TEST(CalledWorkflow, ObeysTheRulesOfAFile) {
  EXPECT_THROW(called("sub/c.dig", "echo>: 1\n"), Error);
  EXPECT_THROW(called("sub/c.dig", "\"+a b\": {}\n"), Error);
}

}  // namespace
}  // namespace digdag::dig
