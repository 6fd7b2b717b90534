#include "cli/task_selection.h"

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"
#include "dig/project_for_test.h"

namespace digdag::cli {
namespace {

using Name = std::optional<std::string>;

const dig::TaskTree& tree() {
  static const dig::TaskTree tree = *dig::TestProject{{"w.dig", R"(
+a:
  echo>: 1
+g:
  +b:
    loop>: 2
    _do: {+x: {echo>: 1}}
  +c:
    echo>: 1
+p:
  _parallel: true
  +d: {echo>: 1}
  +e: {echo>: 1}
  +f: {_after: [+d], echo>: 1}
+z:
  echo>: 1
)"}}.load()
                                         .files.front()
                                         .tasks;
  return tree;
}

/// The last parts of the names of all tasks that a question is answered with yes for.
template <typename Question>
std::string those(Question question) {
  std::string names;
  for (const auto& task : tree().tasks) {
    if (question(task.full_name)) names += (names.empty() ? "" : " ") + task.full_name.substr(task.full_name.rfind('+') + 1);
  }
  return names;
}
std::string run_by(const TaskSelection& selection) {
  return those([&](const std::string& name) { return selection.may_run(name); });
}
std::string skipped_by_state_of(const TaskSelection& selection) {
  return those([&](const std::string& name) { return selection.may_use_state(name); });
}

const std::string all = "w a g b c p d e f z";

TEST(TaskSelection, OfAPlainRunIsEverything) {
  EXPECT_EQ(run_by({}), all);
  EXPECT_EQ(skipped_by_state_of({}), all);
}

TEST(TaskSelection, RerunUsesNoState) {
  const TaskSelection rerun(tree(), true, {}, {}, {});
  EXPECT_EQ(run_by(rerun), all);
  EXPECT_EQ(skipped_by_state_of(rerun), "");
}

TEST(TaskSelection, StartUsesTheStateOfWhatComesBefore) {
  const TaskSelection start(tree(), false, Name("+c"), {}, {});
  EXPECT_EQ(run_by(start), all);
  EXPECT_EQ(skipped_by_state_of(start), "w a g b");
}

TEST(TaskSelection, StartAtAGroupUsesNoStateOfItsTasks) {
  EXPECT_EQ(skipped_by_state_of(TaskSelection(tree(), false, Name("+g"), {}, {})), "w a");
}

TEST(TaskSelection, OfParallelTasksOnlyThoseWaitedForComeBefore) {
  EXPECT_EQ(skipped_by_state_of(TaskSelection(tree(), false, Name("+f"), {}, {})), "w a g b c p d");
}

TEST(TaskSelection, GoalRunsTheTaskWithAllBelowItAndWhatComesBefore) {
  const TaskSelection goal(tree(), false, {}, Name("+p"), {});
  EXPECT_EQ(run_by(goal), "w a g b c p d e f");
  EXPECT_EQ(skipped_by_state_of(goal), "w a g b c");
}

TEST(TaskSelection, EndLeavesOutTheTaskAndAllThatIsNotBeforeIt) {
  const TaskSelection end(tree(), false, {}, {}, Name("+c"));
  EXPECT_EQ(run_by(end), "w a g b");
  EXPECT_EQ(skipped_by_state_of(end), all);
}

TEST(TaskSelection, StartAndEndGoTogether) {
  const TaskSelection both(tree(), false, Name("+c"), {}, Name("+f"));
  EXPECT_EQ(run_by(both), "w a g b c p d");
  EXPECT_EQ(skipped_by_state_of(both), "w a g b");
}

// decisions C-21
TEST(TaskSelection, GeneratedTasksFollowTheTaskThatGeneratesThem) {
  const TaskSelection goal(tree(), false, {}, Name("+b"), {});
  EXPECT_TRUE(goal.may_run("+w+g+b^sub+loop-0+x"));
  EXPECT_FALSE(goal.may_use_state("+w+g+b^sub+loop-0+x"));
  EXPECT_FALSE(goal.may_run("+w+g+c^sub"));
  EXPECT_TRUE(TaskSelection(tree(), false, Name("+c"), {}, {}).may_use_state("+w+g+b^sub+loop-0"));
}

TEST(TaskSelection, ANameThatNoTaskEndsWithIsAnError) {
  try {
    TaskSelection(tree(), false, Name("+nope"), {}, {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), "no match");
  }
}

}  // namespace
}  // namespace digdag::cli
