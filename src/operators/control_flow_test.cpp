// echo>, fail>, if>, loop>, for_each>, for_range> and wait> (spec/operators.md 3.4-3.10).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "operators/task_test.h"

namespace digdag::operators {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// operators 14.91
TEST(Echo, PrintsItsTextWithALineEnd) {
  EXPECT_EQ(TaskOf("echo>: hello").run().output, "hello\n");
  EXPECT_EQ(TaskOf("echo>: 5").run().output, "5\n");
  EXPECT_EQ(TaskOf("echo>: {a: 1}").run().failure, R"_(Expected string type for key '_command' but got {"a":1} (object) (config))_");
  EXPECT_EQ(TaskOf("echo>: true").run().output, "true\n");
  EXPECT_EQ(TaskOf("echo>: ''").run().output, "\n");
}

// operators 14.2
TEST(Echo, TakesOnlyScalars) {
  EXPECT_EQ(TaskOf("echo>:").run().failure, "Parameter '_command' is required but not set (config)");
  EXPECT_EQ(TaskOf("echo>: [1, 2]").run().failure, "Expected string type for key '_command' but got [1,2] (array) (config)");
}

// operators 14.23
TEST(Echo, PrintsTheTextOfASecretReferenceAsItIs) {
  TaskOf task("echo>: ${secret:x}");
  task.secrets["x"] = "hidden";
  EXPECT_EQ(task.run().output, "${secret:x}\n");
}

TEST(Fail, FailsWithItsText) {
  EXPECT_EQ(TaskOf("fail>: boom").run().failure, "boom");
  EXPECT_EQ(TaskOf("fail>:").run().failure, "");
}

// operators 14.86
TEST(If, GivesOneOfItsBranchesAsWritten) {
  EXPECT_EQ(TaskOf("{if>: true, _do: {+a: {echo>: '${x}'}}}").run().subtasks(), R"({"+a":{"echo>":"${x}"}})");
  EXPECT_EQ(TaskOf("{if>: false, _do: {a>: 1}, _else_do: {b>: 2}}").run().subtasks(), R"({"b>":2})");
  EXPECT_EQ(TaskOf("{if>: 'false', _do: {a>: 1}}").run().subtasks(), "{}");
}

// operators 14.88
TEST(If, ReadsItsConditionAsTheOriginalDoes) {
  for (const char* truth : {"true", "'true'", "'True'", "1"})
    EXPECT_EQ(TaskOf("{if>: " + std::string(truth) + ", _do: {a>: 1}}").run().subtasks(), R"({"a>":1})") << truth;
  for (const char* untruth : {"false", "0", "''", "'null'"})
    EXPECT_EQ(TaskOf("{if>: " + std::string(untruth) + ", _do: {a>: 1}}").run().subtasks(), "{}") << untruth;
  EXPECT_EQ(TaskOf("{if>: maybe, _do: {a>: 1}}").run().failure,
            "Expected 'true' or 'false' for key '_command' but got \"maybe\" (string) (config)");
}

// operators 14.87
TEST(If, NeedsABranch) {
  EXPECT_EQ(TaskOf("if>: true").run().failure, "Both _do and _else_do are not specified. (config)");
  EXPECT_EQ(TaskOf("{if>: true, _do: 1}").run().failure, "Parameter '_do' must be an object (config)");
}

// operators 14.60, 14.61, 14.68
TEST(Loop, RunsItsTasksWithACounter) {
  EXPECT_EQ(TaskOf("{loop>: 3, _do: {echo>: x}}").run().subtasks(),
            R"({"+loop-0":{"echo>":"x","_export":{"i":0}},"+loop-1":{"echo>":"x","_export":{"i":1}},)"
            R"("+loop-2":{"echo>":"x","_export":{"i":2}}})");
  EXPECT_EQ(TaskOf("{loop>: 1, _do: {_export: {i: 9, j: 1}, echo>: x}}").run().subtasks(),
            R"({"+loop-0":{"_export":{"i":0,"j":1},"echo>":"x"}})");
  EXPECT_EQ(TaskOf("{loop>: 0, _do: {echo>: x}}").run().subtasks(), "{}");
  EXPECT_EQ(TaskOf("{loop>: -3, _do: {echo>: x}}").run().subtasks(), "{}");
}

// operators 14.62
TEST(Loop, AnInheritedCountGoesFirstAndIsWarnedOf) {
  TaskOf task("{loop>: 2, _do: {echo>: x}}", "{count: 5}");
  EXPECT_EQ(task.run().names().size(), 5u);
  EXPECT_THAT(task.log_text(), HasSubstr("The inherited parameter 'count' (5) overrides loop>: 2."));
  TaskOf own("{loop>: 2, count: 3, _do: {echo>: x}}");
  EXPECT_EQ(own.run().names().size(), 3u);
  EXPECT_EQ(own.log_text(), "");
}

// operators 14.63, 14.64, execution 32.29
TEST(Loop, ItsOptionsAreChecked) {
  EXPECT_EQ(TaskOf("loop>: 2").run().failure, "Parameter '_do' is required but not set (config)");
  EXPECT_EQ(TaskOf("{loop>: 2, _do: 1}").run().failure, "Parameter '_do' must be an object (config)");
  EXPECT_THAT(TaskOf("{loop>: x, _do: {echo>: x}}").run().failure, HasSubstr("Expected integer (int) type for key '_command'"));
  TaskOf many("{loop>: 1001, _do: {echo>: x}}");
  many.context.task_limit = 1000;
  EXPECT_EQ(many.run().failure, "Too many loop subtasks. Limit: 1000 (config)");
  many.context.task_limit = 1001;
  EXPECT_TRUE(many.run().succeeded());
  many.context.task_limit = 0;
  EXPECT_TRUE(many.run().succeeded());
}

// operators 14.66
TEST(Loop, ParallelIsPassedOnToItsGroup) {
  const auto parallel = [](const std::string& value) {
    TaskOf task("{loop>: 1, _do: {echo>: x}, _parallel: " + value + "}");
    task.run();
    if (!task.succeeded()) return task.failure;
    const Value* passed = task.result()->subtask_config.find("_parallel");
    return passed == nullptr ? std::string("none") : to_json(*passed);
  };
  EXPECT_EQ(parallel("true"), "true");
  EXPECT_EQ(parallel("'true'"), "\"true\"");
  EXPECT_EQ(parallel("false"), "none");
  EXPECT_EQ(parallel("{limit: 2, mode: window}"), R"({"limit":2,"mode":"window"})");
  EXPECT_EQ(parallel("3"), "Invalid _parallel format: 3 (config)");
  EXPECT_EQ(parallel("{}"), "Parameter 'limit' is required but not set (config)");
}

TEST(Loop, ALargeOneSharesWhatItsTasksHaveInCommon) {
  TaskOf task("{loop>: 100000, _do: {echo>: x, text: '" + std::string(10'000, 'x') + "'}}");
  ASSERT_TRUE(task.run().succeeded());
  const auto& group = task.result()->subtask_config.as_object();
  EXPECT_EQ(group.size(), 100'000u);
  EXPECT_TRUE(group[0].value.find("text")->same_as(*group[99'999].value.find("text")));
}

// operators 14.69
TEST(ForEach, RunsEachCombinationTheLastVariableFastest) {
  TaskOf task("{for_each>: {fruit: [apple, orange], verb: [eat, throw]}, _do: {echo>: x}}");
  EXPECT_THAT(task.run().names(), ElementsAre("+for-0=fruit=0=apple&1=verb=0=eat", "+for-0=fruit=0=apple&1=verb=1=throw",
                                              "+for-0=fruit=1=orange&1=verb=0=eat", "+for-0=fruit=1=orange&1=verb=1=throw"));
  EXPECT_EQ(to_json(*task.result()->subtask_config.as_object()[1].value.find("_export")), R"({"fruit":"apple","verb":"throw"})");
}

// operators 14.70, 14.71, 14.73, 14.76
TEST(ForEach, NamesAreCutAndEncodedValuesAreNot) {
  TaskOf task("{for_each>: {x: ['a b+c', '123456789', 日本語のテキスト長い, {n: 1}, 2.5]}, _do: {echo>: x}}");
  EXPECT_THAT(task.run().names(), ElementsAre("+for-0=x=0=a%20b%2Bc", "+for-0=x=1=12345678",
                                              "+for-0=x=2=%E6%97%A5%E6%9C%AC%E8%AA%9E%E3%81%AE%E3%83%86%E3%82%AD%E3%82%B9%E3%83%88",
                                              "+for-0=x=3=%7B%22n%22%3A1%7D", "+for-0=x=4=2.5"));
  const auto& tasks = task.result()->subtask_config.as_object();
  EXPECT_EQ(to_json(*tasks[1].value.find("_export")), R"({"x":"123456789"})");
  EXPECT_EQ(to_json(*tasks[3].value.find("_export")), R"({"x":{"n":1}})");
}

// operators 14.72
TEST(ForEach, TakesJsonTexts) {
  EXPECT_EQ(TaskOf("{for_each>: {i: '[1,2]'}, _do: {echo>: x}}").run().names().size(), 2u);
  EXPECT_EQ(TaskOf("{for_each>: '{\"i\":[1,2,3]}', _do: {echo>: x}}").run().names().size(), 3u);
  EXPECT_THAT(TaskOf("{for_each>: {i: justtext}, _do: {echo>: x}}").run().failure, HasSubstr("Parameter 'i' is a text that holds no JSON"));
  EXPECT_EQ(TaskOf("{for_each>: {i: 1}, _do: {echo>: x}}").run().failure, "Expected array type for key 'i' but got 1 (number) (config)");
}

// operators 14.74
TEST(ForEach, AnEmptyListEmptiesWhatStandsBeforeIt) {
  TaskOf after("{for_each>: {a: [], b: [1, 2]}, _do: {echo>: x}}");
  EXPECT_THAT(after.run().names(), ElementsAre("+for-1=b=0=1", "+for-1=b=1=2"));
  EXPECT_THAT(after.log_text(), HasSubstr("The list of 'a' is empty"));
  EXPECT_EQ(TaskOf("{for_each>: {a: [1, 2], b: []}, _do: {echo>: x}}").run().subtasks(), "{}");
  EXPECT_EQ(TaskOf("{for_each>: {}, _do: {echo>: x}}").run().subtasks(), "{}");
}

// operators 14.75
TEST(ForEach, CountsBeforeItGenerates) {
  TaskOf task("{for_each>: {a: [1, 2, 3], b: [1, 2, 3]}, _do: {echo>: x}}");
  task.context.task_limit = 9;
  EXPECT_TRUE(task.run().succeeded());
  task.context.task_limit = 8;
  EXPECT_EQ(task.run().failure, "Too many for_each subtasks. Limit: 8 (config)");
  TaskOf large("{for_each>: {a: &ten [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], b: *ten, c: *ten, d: [0, 1]}, _do: {echo>: x}}");
  large.context.task_limit = 1000;
  EXPECT_EQ(large.run().failure, "Too many for_each subtasks. Limit: 1000 (config)");
}

TEST(ForEach, ValuesThatAnExpressionMadeAreData) {
  TaskOf task("{for_each>: {a: ['${x}', 1], b: [p, q]}, _do: {echo>: x}}");
  task.context.unevaluated_local = task.context.local;
  task.run();
  EXPECT_THAT(task.result()->literal_paths,
              ElementsAre("/+for-0=a=0=%24%7Bx%7D&1=b=0=p/_export/a", "/+for-0=a=0=%24%7Bx%7D&1=b=1=q/_export/a"));
  TaskOf whole("{for_each>: '{\"a\":[\"p\"]}', _do: {echo>: x}}");
  EXPECT_TRUE(whole.run().result()->literal_paths.empty());
  whole.context.unevaluated_local.mutable_object().set("for_each>", "${list}");
  EXPECT_THAT(whole.run().result()->literal_paths, ElementsAre("/+for-0=a=0=p/_export/a"));
}

// operators 14.77, 14.78
TEST(ForRange, CutsAnIntervalIntoSteps) {
  EXPECT_EQ(TaskOf("{for_range>: {from: 0, to: 10, step: 6}, _do: {echo>: x}}").run().subtasks(),
            R"({"+range-from=0&to=6":{"echo>":"x","_export":{"range":{"from":0,"to":6,"index":0}}},)"
            R"("+range-from=6&to=10":{"echo>":"x","_export":{"range":{"from":6,"to":10,"index":1}}}})");
  TaskOf tens("{for_range>: {from: 10, to: 50, step: 10}, _do: {echo>: x}}");
  EXPECT_THAT(tens.run().names(),
              ElementsAre("+range-from=10&to=20", "+range-from=20&to=30", "+range-from=30&to=40", "+range-from=40&to=50"));
  EXPECT_EQ(to_json(*tens.result()->subtask_config.as_object()[3].value.find("_export")), R"({"range":{"from":40,"to":50,"index":3}})");
  EXPECT_THAT(TaskOf("{for_range>: {from: 0, to: 10, step: 3}, _do: {echo>: x}}").run().names(),
              ElementsAre("+range-from=0&to=3", "+range-from=3&to=6", "+range-from=6&to=9", "+range-from=9&to=10"));
}

// operators 14.79, 14.80
TEST(ForRange, CutsAnIntervalIntoSlices) {
  EXPECT_THAT(TaskOf("{for_range>: {from: 0, to: 10, slices: 3}, _do: {echo>: x}}").run().names(),
              ElementsAre("+range-from=0&to=4", "+range-from=4&to=8", "+range-from=8&to=10"));
  EXPECT_EQ(TaskOf("{for_range>: {from: 0, to: 9, slices: 6}, _do: {echo>: x}}").run().names().size(), 5u);
  EXPECT_EQ(TaskOf("{for_range>: '{\"from\": 0, \"to\": 2, \"slices\": 6}', _do: {echo>: x}}").run().names().size(), 2u);
}

// operators 14.81
TEST(ForRange, AnEmptyIntervalRunsNothing) {
  EXPECT_EQ(TaskOf("{for_range>: {from: 5, to: 5, step: 1}, _do: {echo>: x}}").run().subtasks(), "{}");
  EXPECT_EQ(TaskOf("{for_range>: {from: 5, to: 1, slices: 2}, _do: {echo>: x}}").run().subtasks(), "{}");
}

TEST(ForRange, ReachesTheEndsOf64Bits) {
  TaskOf task("{for_range>: {from: -9223372036854775808, to: 9223372036854775807, slices: 2}, _do: {echo>: x}}");
  EXPECT_THAT(task.run().names(), ElementsAre("+range-from=-9223372036854775808&to=0", "+range-from=0&to=9223372036854775807"));
}

// operators 14.82, 14.83, 14.84, 14.85
TEST(ForRange, ItsOptionsAreChecked) {
  const auto failure = [](const std::string& options) { return TaskOf("{for_range>: {" + options + "}, _do: {echo>: x}}").run().failure; };
  EXPECT_EQ(failure("from: 0, to: 9, step: 1, slices: 1"), "Setting both step and slices options to for_range is invalid (config)");
  EXPECT_EQ(failure("from: 0, to: 9"), "step or slices option is required for for_range (config)");
  EXPECT_EQ(failure("from: 0, to: 9, step: 0"), "step option must be same or greater than 1 but got 0 (config)");
  EXPECT_EQ(failure("from: 0, to: 9, slices: 0"), "slices option must be same or greater than 1 but got 0 (config)");
  EXPECT_EQ(failure("from: 0, to: 9, slices: -1"), "slices option must be same or greater than 1 but got -1 (config)");
  EXPECT_EQ(failure("to: 9, step: 1"), "Parameter 'from' is required but not set (config)");
  EXPECT_EQ(failure("from: 0, to: 2000000000000, step: 1"), "Too many for_range subtasks (2000000000000). Limit: 100000 (config)");
  TaskOf limited("{for_range>: {from: 0, to: 2000, step: 1}, _do: {echo>: x}}");
  limited.context.task_limit = 1000;
  EXPECT_EQ(limited.run().failure, "Too many for_range subtasks (2000). Limit: 1000 (config)");
}

// operators 14.92
TEST(Wait, EndsWhenItsDurationHasPassedSinceTheFirstRun) {
  TaskOf task("wait>: 1m 30s");
  ASSERT_EQ(task.run().subtasks(), "later: 90000 ms");
  EXPECT_EQ(to_json(task.context.state), R"({"wait_start_time_millis":1000000000})");
  task.context.now = task.context.now.plus_millis(89'999);
  EXPECT_EQ(task.run().subtasks(), "later: 1 ms");
  task.context.now = task.context.now.plus_millis(1);
  EXPECT_TRUE(task.run().succeeded());
  EXPECT_THAT(task.log_text(), HasSubstr("wait finished. start:1970-01-12T13:46:40Z"));
  TaskOf restarted("wait>: 1m 30s");
  restarted.context.state = parse_json(R"({"wait_start_time_millis":1000000000})");
  restarted.context.now = restarted.context.now.plus_millis(60'000);
  EXPECT_EQ(restarted.run().subtasks(), "later: 30000 ms") << "another process goes on from the state";
}

// operators 14.94
TEST(Wait, NoDurationEndsAtOnce) { EXPECT_TRUE(TaskOf("wait>: 0s").run().succeeded()); }

TEST(Wait, ForEverIsNotOver) {
  for (const char* duration : {"200000d", "106751991168d", "9223372036854775s"})
    EXPECT_THAT(TaskOf("wait>: " + std::string(duration)).run().subtasks(), testing::StartsWith("later: ")) << duration;
}

TEST(Wait, PollsAtMostOnceASecond) { EXPECT_EQ(TaskOf("{wait>: 1h, poll_interval: 0s}").run().subtasks(), "later: 1000 ms"); }

TEST(Wait, PollsAsOftenAsItIsTold) { EXPECT_EQ(TaskOf("{wait>: 1h, poll_interval: 10s}").run().subtasks(), "later: 10000 ms"); }

// operators 14.93
TEST(Wait, BlockingHoldsNoThreadEither) {
  EXPECT_EQ(TaskOf("{wait>: 5s, blocking: true}").run().subtasks(), "later: 5000 ms");
  EXPECT_EQ(TaskOf("{wait>: 5s, blocking: true, poll_interval: 1s}").run().failure,
            "poll_interval can't be specified with blocking:true (config)");
}

TEST(Wait, KeepsWhatElseStandsInItsState) {
  TaskOf task("wait>: 5s");
  task.context.state = Value::object({{"retry_count", 2}});
  task.run();
  EXPECT_EQ(to_json(task.context.state), R"({"retry_count":2,"wait_start_time_millis":1000000000})");
}

// operators 14.27
TEST(Wait, NeedsADuration) {
  for (const char* text : {"soon", "10", "1m 1h", "''"})
    EXPECT_EQ(TaskOf("wait>: " + std::string(text)).run().failure, "Invalid configuration (config)") << text;
  EXPECT_EQ(TaskOf("wait>: 10").run().failure, "Invalid configuration (config)") << "a number has no unit either";
  EXPECT_EQ(TaskOf("wait>: 1S").run().subtasks(), "later: 1000 ms");
  EXPECT_EQ(TaskOf("wait>:").run().failure, "Parameter '_command' is required but not set (config)");
}

TEST(Operators, AnErrorAboutTheCommandSaysWhoseValueItIs) {
  TaskOf task("loop>: three");
  task.context.config.mutable_object().set("_type", "loop");
  const auto hint = [&](const std::string& message) { return with_command_explained(config_error(message), task.context).hint_text(); };
  EXPECT_EQ(hint("Expected integer type for key '_command' but got three"), "'_command' is the value of loop>:");
  EXPECT_EQ(hint("Parameter 'x' is required but not set"), "");
  EXPECT_EQ(with_command_explained(config_error("'_command'").hint("or else"), task.context).hint_text(),
            "or else; '_command' is the value of loop>:");
  task.context.unevaluated_local = parse_json(R"({"_type": "loop", "_command": "three"})");
  EXPECT_EQ(hint("Expected integer type for key '_command' but got three"), "") << "somebody wrote it";
}

}  // namespace
}  // namespace digdag::operators
