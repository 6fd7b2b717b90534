#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operators/task_test.h"

namespace digdag::operators {
namespace {

using testing::HasSubstr;

// operators 14.28
TEST(Call, GivesTheTasksOfAnotherFile) {
  TaskOf task("call>: sub");
  task.file("sub.dig", "timezone: Asia/Tokyo\n_export: {a: 1}\n+x: {echo>: '${a}'}\n");
  EXPECT_EQ(task.run().subtasks(), R"({"_export":{"a":1},"+x":{"echo>":"${a}"}})");
  TaskOf named("call>: sub.dig");
  named.file("sub.dig", "+x: {echo>: y}");
  EXPECT_EQ(named.run().subtasks(), R"({"+x":{"echo>":"y"}})");
}

// operators 14.31
TEST(Call, FilesOfASubdirectoryFindTheirNeighbours) {
  TaskOf task("call>: common/x");
  task.file("common/x.dig", "_export: {_workdir: w}\n+x: {echo>: y}");
  EXPECT_EQ(task.run().subtasks(), R"({"_export":{"_workdir":"common/w"},"+x":{"echo>":"y"}})");
}

// operators 14.35
TEST(Call, IsRelativeToTheWorkspace) {
  TaskOf task("call>: c");
  task.context.workspace = task.project() / "x";
  EXPECT_EQ(task.run().failure, "File not found: " + (task.project() / "x/c.dig").string() + " (config)");
  task.file("x/c.dig", "+x: {echo>: y}");
  EXPECT_EQ(task.run().subtasks(), R"({"_export":{"_workdir":"x"},"+x":{"echo>":"y"}})");
}

TEST(Call, SuggestsFilesBesideAMissingOne) {
  TaskOf task("call>: common/notfy");
  task.file("common/notify.dig", "+x: {echo>: y}");
  EXPECT_EQ(task.run().hint, "did you mean notify?");
}

// operators 14.25
TEST(Call, StaysInsideOfTheProject) {
  for (const char* file : {"../x.sql", "w/../../x.sql", "/etc/x.sql"}) {
    TaskOf task("call>: " + std::string(file));
    EXPECT_EQ(task.run().failure,
              "File name must not be outside of project path (" + task.project().string() + "): " + file + ".dig (illegal argument)");
  }
}

TEST(Call, PositionsPointIntoTheCalledFile) {
  TaskOf task("call>: sub");
  task.file("sub.dig", "+a:\n  echo>: x\n+b:\n  echo>: y\n");
  task.run();
  const auto* member = task.result()->subtask_config.as_object().find_member("+b");
  EXPECT_EQ(to_string(member->position), "sub.dig:3:1");
}

// operators 14.36
TEST(Call, BrokenFilesAreErrors) {
  TaskOf task("call>: sub");
  task.file("sub.dig", "foo: 1\n+x: {echo>: y}");
  EXPECT_THAT(task.run().failure, HasSubstr("Workflow 'sub' includes unknown keys: [foo]"));
  task.file("sub.dig", "+x: [\n");
  EXPECT_THAT(task.run().failure, HasSubstr("expected the node content"));
}

// operators 14.39
TEST(Call, RecursionWithoutEndIsNamed) {
  TaskOf task("call>: b");
  task.file("a.dig", "+x: {call>: b}");
  task.file("b.dig", "+x: {if>: true, _do: {+y: {call>: a.dig}}}");
  for (int i = 0; i < 99; ++i) task.context.identity.task_name += "^sub+x";
  EXPECT_TRUE(task.run().succeeded());
  task.context.identity.task_name += "^sub+x";
  EXPECT_EQ(task.run().failure, "call> recursion: b -> a -> b (config)");
  task.file("b.dig", "+x: {call>: '${next}'}");
  EXPECT_EQ(task.run().failure, "call> recursion: b -> … -> b (config)");
}

}  // namespace
}  // namespace digdag::operators
