#include "dig/compiler.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "dig/project_for_test.h"

namespace digdag::dig {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(TaskTree, TasksRunOneAfterTheOther) {
  EXPECT_EQ(tree_of("{}\n"), R"(
+wf [] group
)");
  EXPECT_EQ(tree_of("+a: {echo>: 1}\n+b: {echo>: 2}\n+c: {echo>: 3}\n"), R"(
+wf [] group
+wf+a [] {"echo>":1}
+wf+b [+a] {"echo>":2}
+wf+c [+b] {"echo>":3}
)");
  EXPECT_EQ(tree_of("+b: {echo>: 2}\n_export: {x: 1}\n+a: {echo>: 1}\n"), R"(
+wf [] group / {"x":1}
+wf+b [] {"echo>":2}
+wf+a [+b] {"echo>":1}
)");
}

TEST(TaskTree, TheRootKeepsTheKeysOfTheFileInAFixedOrder) {
  EXPECT_EQ(tree_of("_parallel: true\n_retry: 3\n_error: {echo>: e}\n_check: {echo>: c}\nsla: {time: 1:00, echo>: s}\n"
                    "schedule: {daily>: 07:00:00}\n_export: {x: 1}\n+a: {echo>: 1}\n+b: {echo>: 2}\n"),
            R"(
+wf [] group {"schedule":{"daily>":"07:00:00"},"sla":{"time":"1:00","echo>":"s"},"_error":{"echo>":"e"},"_check":{"echo>":"c"},"_retry":3,"_parallel":true} / {"x":1}
+wf+a [] {"echo>":1}
+wf+b [] {"echo>":2}
)");
}

TEST(TaskTree, AGroupMayBeEmptyOrAListOfObjects) {
  EXPECT_EQ(tree_of("+a: {}\n+b: []\n+c: [{echo>: 1, z: 1}, {z: 2}]\n+d:\n  - +x: {echo>: 1}\n  - +y: {echo>: 2}\n"), R"(
+wf [] group
+wf+a [] group
+wf+b [+a] group
+wf+c [+b] {"echo>":1,"z":2}
+wf+d [+c] group
+wf+d+x [] {"echo>":1}
+wf+d+y [+x] {"echo>":2}
)");
}

TEST(TaskTree, ADisabledTaskLosesEverything) {
  EXPECT_EQ(tree_of("+a: {_disable: true, foo: 1, +x: {echo>: 1, sh>: 2}}\n+b: {_disable: 1, echo>: 1}\n+c: {_disable: 0, echo>: 1}\n"), R"(
+wf [] group
+wf+a [] group {"_disable":true}
+wf+b [+a] group {"_disable":true}
+wf+c [+b] {"_disable":0,"echo>":1}
)");
  EXPECT_EQ(faults_of("+a: {_disable: '${x}', echo>: 1}\n"), "Expected 'true' or 'false' for key '_disable' but got \"${x}\" (string)\n");
}

TEST(TaskTree, GroupsAcceptTheirKeys) {
  EXPECT_EQ(tree_of("+g:\n  timezone: x\n  schedule: {}\n  _secrets: {}\n  _retry: 2\n  _timeout: 30m\n  _kill_grace: never\n  "
                    "_error_on_cancel: true\n"
                    "  _export: {a: 1}\n  +x: {echo>: 1}\n"),
            R"(
+wf [] group
+wf+g [] group {"timezone":"x","schedule":{},"_secrets":{},"_retry":2,"_timeout":"30m","_kill_grace":"never","_error_on_cancel":true} / {"a":1}
+wf+g+x [] {"echo>":1}
)");
}

TEST(TaskTree, TheFileAcceptsItsNewKeys) {
  EXPECT_EQ(
      faults_of("_timeout: {limit: 1h, grace: 60s}\n_kill_grace: 5s\n_error_on_cancel: true\n_concurrency: {limit: 2, on_limit: skip}\n"
                "_params: {date: {type: string}}\ntrigger: {attempt>: , dependent_workflow_name: w}\n+a: {echo>: 1}\n"),
      "");
  EXPECT_THAT(faults_of("+g: {_params: {}, +a: {echo>: 1}}\n"), HasSubstr("+wf+g contains invalid keys: '_params'"));
  EXPECT_THAT(faults_of("+g: {_concurrency: 1, +a: {echo>: 1}}\n"), HasSubstr("+wf+g contains invalid keys: '_concurrency'"));
}

TEST(TaskTree, TimeLimitsOfGroupsAreChecked) {
  EXPECT_THAT(faults_of("_timeout: soon\n+a: {echo>: 1}\n"), HasSubstr("Invalid _timeout: \"soon\""));
  EXPECT_THAT(faults_of("+g: {_timeout: {grace: 1m}}\n"), HasSubstr("Parameter 'limit' is required but not set"));
  EXPECT_THAT(faults_of("+g: {_kill_grace: maybe}\n"), HasSubstr("Invalid _kill_grace: \"maybe\""));
  EXPECT_THAT(faults_of("+g: {_error_on_cancel: maybe}\n"), HasSubstr("for key '_error_on_cancel'"));
  EXPECT_EQ(faults_of("+g: {_timeout: {limit: 5s, grce: 1}}\n"), "_timeout contains invalid keys: 'grce' (did you mean [grace]?)\n");
  EXPECT_THAT(faults_of("+g: {_timeout: -5}\n"), HasSubstr("Invalid _timeout: -5"));
  EXPECT_THAT(faults_of("+g: {_timeout: '${x}'}\n"), HasSubstr("Invalid _timeout: \"${x}\""));
  EXPECT_THAT(faults_of("+g: {_kill_grace: -5}\n"), HasSubstr("Invalid _kill_grace: -5"));
  EXPECT_EQ(faults_of("+g: {_timeout: 30, _kill_grace: 0}\n+h: {_timeout: {limit: 30s, grace: never}, _kill_grace: null}\n"), "");
}

TEST(Upstreams, BackgroundTasksWaitForNothingAndAreWaitedFor) {
  EXPECT_EQ(tree_of("+x: {echo>: 1}\n+y: {_background: true, echo>: 2}\n+z: {echo>: 3}\n+w: {echo>: 4}\n"), R"(
+wf [] group
+wf+x [] {"echo>":1}
+wf+y [] {"echo>":2}
+wf+z [+x +y] {"echo>":3}
+wf+w [+z] {"echo>":4}
)");
  EXPECT_EQ(tree_of("+a: {_background: true, +x: {echo>: 1}}\n+b: {echo>: 2}\n"), R"(
+wf [] group
+wf+a [] group
+wf+a+x [] {"echo>":1}
+wf+b [+a] {"echo>":2}
)");
  EXPECT_EQ(faults_of("+a: {_background: maybe, echo>: 1}\n"),
            "Expected 'true' or 'false' for key '_background' but got \"maybe\" (string)\n");
}

TEST(Upstreams, ParallelTasksWaitForWhatTheyName) {
  EXPECT_EQ(tree_of("_parallel: true\n+x: {echo>: 1}\n+y: {echo>: 2, _after: [+x, +x]}\n+z: {echo>: 3, _background: false}\n"), R"(
+wf [] group {"_parallel":true}
+wf+x [] {"echo>":1}
+wf+y [+x +x] {"echo>":2}
+wf+z [] {"echo>":3,"_background":false}
)");
}

TEST(Upstreams, ALimitMakesChunksThatWaitForTheWholeOneBefore) {
  EXPECT_EQ(tree_of("+g:\n  _parallel: {limit: 2}\n  +x: {+i: {echo>: 1}}\n  +y: {echo>: 1}\n  +z: {echo>: 1, _after: [+x]}\n  +w: {echo>: "
                    "1}\n  +v: {echo>: 1}\n"),
            R"(
+wf [] group
+wf+g [] group {"_parallel":{"limit":2}}
+wf+g+x [] group
+wf+g+x+i [] {"echo>":1}
+wf+g+y [] {"echo>":1}
+wf+g+z [+x +x +y] {"echo>":1}
+wf+g+w [+x +y] {"echo>":1}
+wf+g+v [+z +w] {"echo>":1}
)");
  EXPECT_THAT(tree_of("_parallel: {limit: 1.9}\n+x: {echo>: 1}\n+y: {echo>: 1}\n"), HasSubstr("+wf+y [+x]"));
  for (const char* none : {"true", "'true'", "{limit: 0}", "{limit: -1}"}) {
    EXPECT_THAT(tree_of("_parallel: " + std::string(none) + "\n+x: {echo>: 1}\n+y: {echo>: 1}\n"), HasSubstr("+wf+y []")) << none;
  }
}

TEST(Upstreams, AWindowHasNoEdges) {
  const TestProject project{
      {"wf.dig", "+g:\n  _parallel: {limit: 2, mode: window}\n  +x: {echo>: 1}\n  +y: {echo>: 1}\n  +z: {echo>: 1}\n"}};
  const Project loaded = project.load();
  const TaskTree& tree = *loaded.files[0].tasks;
  EXPECT_EQ(tree.tasks[1].window, 2);
  EXPECT_EQ(all_upstreams(tree, 4), std::vector<std::int32_t>{});
  EXPECT_EQ(faults_of("+g: {_parallel: {limit: 2, mode: heap}}\n"), "Invalid _parallel mode: heap\n");
}

TEST(Upstreams, ALargeChunkIsKeptAsARange) {
  Object config;
  config.set("_parallel", Value::object({{"limit", 1000}}));
  for (int i = 0; i < 100'000; ++i) config.set("+loop-" + std::to_string(i), Value::object({{"echo>", i}}));
  const TaskTree tree = compile("+wf+loop", "^sub", Value(std::move(config)));
  ASSERT_EQ(tree.tasks.size(), 100'001U);
  EXPECT_EQ(tree.tasks[0].full_name, "+wf+loop^sub");
  EXPECT_EQ(tree.tasks[2001].full_name, "+wf+loop^sub+loop-2000");
  EXPECT_EQ(tree.tasks[2001].barrier, (Siblings{1001, 2000}));
  EXPECT_THAT(tree.tasks[2001].upstreams, testing::IsEmpty());
  EXPECT_EQ(all_upstreams(tree, 2001).size(), 1000U);
}

// execution 32.68, 32.69
TEST(Upstreams, WrongDependenciesAreErrors) {
  const std::pair<const char*, const char*> cases[] = {
      {"+x: {echo>: 1}\n+y: {echo>: 1, _after: [+x]}\n",
       "Setting \"_after\" option is invalid if its parent task doesn't have \"_parallel: true\" option\n"},
      {"+x: {echo>: 1, _after: }\n", "Setting \"_after\" option is invalid if its parent task doesn't have \"_parallel: true\" option\n"},
      {"_parallel: true\n+x: {echo>: 1, _after: [+y]}\n+y: {echo>: 1}\n", "Dependency task '+y' does not exist\n"},
      {"_parallel: true\n+x: {echo>: 1, _after: [+x]}\n", "Dependency task '+x' does not exist\n"},
      {"_parallel: true\n+x: {echo>: 1}\n+y: {echo>: 1, _after: +x}\n", "Expected array type for key '_after' but got \"+x\" (string)\n"},
      {"_parallel: true\n+x: {echo>: 1, _background: true}\n",
       "Setting \"_background: true\" option is invalid (unnecessary) if its parent task has \"_parallel: true\" option\n"},
      {"+a: {_parallel: 2, +x: {echo>: 1}}\n", "Invalid _parallel format: 2\n"},
      {"+a: {_parallel: , +x: {echo>: 1}}\n", "Invalid _parallel format: null\n"},
      {"+a: {_parallel: '${x}', +x: {echo>: 1}}\n", "Expected 'true' or 'false' for key '_parallel' but got \"${x}\" (string)\n"},
      {"+a: {_parallel: {}, +x: {echo>: 1}}\n", "Parameter 'limit' is required but not set\n"},
      {"+a: {_parallel: {limit: two}, +x: {echo>: 1}}\n", "Expected integer (int) type for key 'limit' but got \"two\" (string)\n"}};
  for (const auto& [dig, message] : cases) EXPECT_EQ(faults_of(dig), message) << dig;
}

TEST(Upstreams, AlwaysStandBeforeTheTask) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    std::mt19937 random(seed);
    const auto chance = [&](unsigned one_in) { return random() % one_in == 0; };
    std::string dig;
    const auto group = [&](auto& self, int depth) -> void {
      const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
      const bool parallel = chance(2);
      if (parallel)
        dig += indent +
               "_parallel: " + (chance(2) ? "true" : "{limit: " + std::to_string(random() % 4) + (chance(3) ? ", mode: window}" : "}")) +
               "\n";
      const unsigned children = 1 + random() % 6;
      for (unsigned i = 0; i < children; ++i) {
        dig += indent + "+t" + std::to_string(i) + ":\n" + indent + "  ";
        if (parallel && i > 0 && chance(3)) dig += "_after: [+t" + std::to_string(random() % i) + "]\n" + indent + "  ";
        if (!parallel && chance(3)) dig += "_background: true\n" + indent + "  ";
        if (depth < 3 && chance(3)) {
          dig += "_export: {}\n";
          self(self, depth + 1);
        } else {
          dig += "echo>: x\n";
        }
      }
    };
    group(group, 0);

    const TaskTree tree = compile(workflow_of("wf", load_yaml(dig, {.directory = ".", .root = ".", .display_name = "wf.dig"}), "wf.dig"));
    for (std::size_t i = 0; i < tree.tasks.size(); ++i) {
      const auto index = static_cast<std::int32_t>(i);
      ASSERT_LT(tree.tasks[i].parent, index);
      for (const std::int32_t upstream : all_upstreams(tree, index)) {
        ASSERT_LT(upstream, index) << "seed " << seed << "\n" << dig;
        ASSERT_EQ(tree.tasks[static_cast<std::size_t>(upstream)].parent, tree.tasks[i].parent) << "seed " << seed;
      }
    }
  }
}

TEST(CompileError, NamesTheTaskAndWhatIsMeant) {
  const std::pair<const char*, const char*> cases[] = {
      {"+a: {foo: 2}\n", "+wf+a contains invalid keys: 'foo'\n"},
      {"+a: {_paralel: true, retry: 3, +b: {echo>: 1}}\n",
       "+wf+a contains invalid keys: '_paralel' (did you mean [_parallel]?), 'retry' (did you mean [_retry]?)\n"},
      {"+a: {_do: {echo>: 1}, +b: {echo>: 1}}\n", "+wf+a contains invalid keys: '_do'\n"},
      {"+a: {_command: x}\n", "+wf+a contains invalid keys: '_command'\n"},
      {"+g: {^a: {echo>: 1}}\n", "+wf+g contains invalid keys: '^a'\n"},
      {"+g: {_pool: x}\n", "+wf+g contains invalid keys: '_pool' (is reserved)\n"},
      {"+a: {echo>: 1, +b: {echo>: 2}}\n", "A task can't have subtasks: {\"echo>\":1}\n"},
      {"+a: {echo>: 1, sh>: 2}\n", "A task can't have more than one operator: {\"echo>\":1,\"sh>\":2}\n"},
      {"+a: {echo>: 1, _error: {foo: e}}\n", "+wf+a^error contains invalid keys: 'foo'\n"},
      {"+a: {echo>: 1, _error: x}\n", "Parameter '_error' must be an object\n"},
      {"+a: {echo>: 1, _export: 5}\n", "Parameter '_export' must be an object\n"},
      {"+g: {+a: }\n", "Parameter '+a' must be an object or array of objects\n"},
      {"+a: x\n", "Parameter '+a' must be an object or array of objects\n"},
      {"+a: [1]\n", "Expected object but got 1\n"},
      {"+g: {\"+a b\": {echo>: 1}}\n", "name must not contain character ' ': \"+a b\"\n"},
      {"+g: {\"+日\": {echo>: 1}}\n", "name must not contain character '日': \"+日\"\n"}};
  for (const auto& [dig, message] : cases) EXPECT_EQ(faults_of(dig), message) << dig;
}

TEST(CompileError, AllOfAFileAreFoundInItsOrder) {
  EXPECT_EQ(faults_of("+a: {foo: 1}\n+b:\n  +c: {echo>: 1, sh>: 2}\n  +d: {_export: 1, echo>: x}\n+e: {_parallel: 2}\n"),
            R"(+wf+a contains invalid keys: 'foo'
A task can't have more than one operator: {"echo>":1,"sh>":2}
Parameter '_export' must be an object
Invalid _parallel format: 2
)");
}

TEST(CompileError, PointsAtTheKey) {
  const TestProject project{{"reports.dig", "+load:\n  _retires: 3\n  +a:\n    echo>: x\n"}};
  EXPECT_EQ(project.errors(), R"(reports.dig:2:3: +reports+load contains invalid keys: '_retires' (did you mean [_retry, _secrets]?)
    2 |   _retires: 3
      |   ^^^^^^^^
hint: did you mean _retry?

)");
}

TEST(CompileError, AcceptsWhatTheOriginalAccepts) {
  EXPECT_EQ(faults_of("+a: {_type: echo, sh>: x}\n+b: {echo>: 1, _check: x}\n+c: {loop>: 3, _do: {foo: 1}}\n+d: {_type: , x: 1}\n"
                      "+: {echo>: 1}\n+1a: {echo>: 1}\n+g: {\"+a^b\": {echo>: 1}}\n\"+a[b]{c}%d&e@f,g`h\": {echo>: 1}\n"),
            "");
}

TEST(OperatorOf, TypeWinsOverTheKey) {
  EXPECT_EQ(operator_of(Value::object({{"x", 1}, {"echo>", "hi"}})), "echo");
  EXPECT_EQ(operator_of(Value::object({{"_type", "sh"}, {"echo>", "hi"}})), "sh");
  EXPECT_EQ(operator_of(Value::object({{"_retry", 1}})), "");
  EXPECT_TRUE(is_operator(Value::object({{"_type", nullptr}})));
  EXPECT_FALSE(is_operator(Value::object({{"+a", Value::object()}})));
}

// ---- match_task ---------------------------------------------------------------------------------------------------------

const std::vector<std::string> names{"+w", "+w+a", "+w+a+x", "+w+b", "+w+b+x", "+w+three+inner"};

std::string match_error(std::string_view pattern) {
  try {
    return "found " + names[match_task(pattern, names)];
  } catch (const Error& error) {
    return error.message_with_kind();
  }
}

TEST(MatchTask, FindsTheOneTaskWhoseFullNameEndsWithThePattern) {
  EXPECT_EQ(match_task("+w", {"+w", "+w+a"}), 0U);
  EXPECT_EQ(match_error("+inner"), "found +w+three+inner");
  EXPECT_EQ(match_error("three+inner"), "found +w+three+inner");
  EXPECT_EQ(match_error("ner"), "found +w+three+inner");
  EXPECT_EQ(match_error("+b+x"), "found +w+b+x");
}

TEST(MatchTask, SaysWhyItFindsNone) {
  EXPECT_EQ(match_error("+zz"), "Task pattern '+zz' doesn't match with any tasks. (no match)");
  EXPECT_EQ(match_error("+x"), "Task pattern '+x' is ambiguous. Matching candidates are [+w+a+x, +w+b+x] (multiple task match)");
  EXPECT_EQ(match_error("e"), "Match patterns excepting direct child (+name+name) is not supported: e (syntax)");
  EXPECT_EQ(match_error("++a"), "Match patterns excepting direct child (+name+name) is not supported: ++a (syntax)");
  EXPECT_EQ(match_error(""), "Task match pattern is invalid:  (syntax)");
}

TEST(ExtractSubtree, KeepsTheRootAndTheTaskWithItsDescendants) {
  const TestProject project{{"w.dig",
                             "_export: {r: 1}\n+a: {echo>: 1}\n+g:\n  _export: {g: 1}\n  +h:\n    _parallel: {limit: 1}\n    +x: {echo>: "
                             "1}\n    +y: {echo>: 2}\n+z: {echo>: 1}\n"}};
  const Project loaded = project.load();
  const TaskTree& tree = *loaded.files[0].tasks;
  EXPECT_EQ("\n" + draw(extract_subtree(tree, 3)), R"(
+w [] group / {"r":1}
+w+g+h [] group {"_parallel":{"limit":1}}
+w+g+h+x [] {"echo>":1}
+w+g+h+y [+x] {"echo>":2}
)");
  EXPECT_EQ("\n" + draw(extract_subtree(tree, 6)), R"(
+w [] group / {"r":1}
+w+z [] {"echo>":1}
)");
}

}  // namespace
}  // namespace digdag::dig
