#include "engine/attempt.h"

#include <gtest/gtest.h>

#include "engine/attempt_of.h"

namespace digdag::engine {
namespace {

TEST(Attempt, ASequenceRunsOneAfterTheOther) {  // execution 32.1, 32.4
  AttemptOf run(R"(
    +a: {sh>: x}
    +b: {sh>: y}
  )");
  EXPECT_EQ(run.wanted(), "run +a");
  EXPECT_EQ(run.root(), "planned");
  EXPECT_EQ(run.states(), R"(
+a running
+b blocked
)");

  run.finish("+a");
  EXPECT_EQ(run.wanted(), "run +b");
  EXPECT_EQ(run.last.changed, (std::vector<TaskIndex>{1, 2}));
  run.finish("+b");

  EXPECT_EQ(run.states(), R"(
+a success
+b success
)");
  EXPECT_TRUE(run.last.finished);
  EXPECT_TRUE(run.attempt.done());
  EXPECT_TRUE(run.attempt.success());
}

TEST(Attempt, AFailedTaskStopsWhatDependsOnItAndRaisesTheAlert) {  // execution 32.2, 32.3
  AttemptOf run(R"(
    +load:
      +a: {sh>: x}
      +b: {sh>: y}
    +report: {sh>: z}
  )");
  run.finish("+load+a");
  run.finish("+load+b", failure("exit 1"));

  EXPECT_EQ(run.states(), R"(
+load group_error
+load+a success
+load+b error
+report blocked
^failure-alert running
)");
  EXPECT_EQ(to_json(run.attempt.local(run.task("^failure-alert"))), R"({"_type":"notify","_command":"Workflow session attempt failed"})");
  EXPECT_FALSE(run.attempt.done());
  run.finish("^failure-alert", failure("nobody listens"));  // execution 32.64
  EXPECT_EQ(run.root(), "group_error");
  EXPECT_TRUE(run.attempt.done());
  EXPECT_FALSE(run.attempt.success());
  EXPECT_EQ(run.attempt.flags(0), delayed_group_error | initial_task);  // 15.4
}

TEST(Attempt, TheErrorIsExactlyWhatTheRunSaid) {  // execution 32.24
  AttemptOf run("+a: {fail>: no}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.error("+a"), R"({"message":"no"})");
  EXPECT_EQ(run.error(""), "{}");  // the group's own error stays empty (31a)
}

TEST(Attempt, ParallelTasksGoOnWhenOneFails) {  // execution 32.9
  AttemptOf run(R"(
    _parallel: true
    +a: {sh>: x}
    +b: {sh>: x}
    +c: {sh>: x, _after: [+b]}
    +d: {sh>: x, _after: [+a]}
  )");
  run.finish("+a", failure("no"));
  run.finish("+b");
  EXPECT_EQ(run.states(), R"(
+a error
+b success
+c running
+d blocked
)");
  run.finish("+c");
  EXPECT_EQ(run.state("+d"), "blocked");
  EXPECT_EQ(run.state("^failure-alert"), "running");
}

TEST(Attempt, ABackgroundTaskStartsWithItsGroup) {  // execution 32.65
  AttemptOf run(R"(
    +a: {sh>: x}
    +b: {sh>: x, _background: true}
    +c: {sh>: x}
  )");
  EXPECT_EQ(run.wanted(), "run +a, run +b");
  run.finish("+a");
  EXPECT_EQ(run.state("+c"), "blocked");
  run.finish("+b");
  EXPECT_EQ(run.wanted(), "run +c");
  EXPECT_EQ(run.attempt.upstreams(run.task("+c")), (std::vector<TaskIndex>{1, 2}));
}

TEST(Attempt, ChunksWaitForTheWholeChunkBefore) {  // execution 32.66, 32.67
  const auto chunks = R"(
    _parallel: {limit: 2}
    +a: {sh>: x}
    +b: {sh>: x}
    +c: {sh>: x}
    +d: {sh>: x}
    +e: {sh>: x}
  )";
  AttemptOf run(chunks);
  EXPECT_EQ(run.attempt.upstreams(run.task("+d")), (std::vector<TaskIndex>{1, 2}));
  EXPECT_EQ(run.attempt.upstreams(run.task("+e")), (std::vector<TaskIndex>{3, 4}));
  run.finish("+b");
  EXPECT_EQ(run.wanted(), "");
  run.finish("+a");
  EXPECT_EQ(run.wanted(), "run +c, run +d");
  run.finish("+c", failure("no"));
  run.finish("+d");
  EXPECT_EQ(run.state("+e"), "blocked");
  EXPECT_EQ(run.state("^failure-alert"), "running");
}

TEST(Attempt, AWindowKeepsSoManyUnderWayInFileOrder) {  // decisions 1, `mode: window`
  AttemptOf run(R"(
    _parallel: {limit: 2, mode: window}
    +a: {sh>: x}
    +b: {sh>: x}
    +c: {sh>: x}
    +d: {sh>: x, _after: [+a]}
    +e: {sh>: x}
  )");
  EXPECT_EQ(run.wanted(), "run +a, run +b");
  run.finish("+b");
  EXPECT_EQ(run.wanted(), "run +c");
  run.finish("+c", failure("no"));
  EXPECT_EQ(run.wanted(), "run +e");
  run.finish("+a");
  EXPECT_EQ(run.wanted(), "run +d");
  run.finish("+e");
  run.finish("+d");
  EXPECT_EQ(run.state("^failure-alert"), "running");
}

TEST(Attempt, AWindowPrefersTheEarlierInTheFile) {
  AttemptOf run(R"(
    _parallel: {limit: 1, mode: window}
    +a: {sh>: x}
    +b: {sh>: x}
    +c: {sh>: x, _after: [+a]}
  )");
  run.finish("+a");
  EXPECT_EQ(run.wanted(), "run +b");  // not +c, which the end of +a made free
  run.finish("+b");
  EXPECT_EQ(run.wanted(), "run +c");
}

TEST(Attempt, ADisabledTaskAndAnEmptyGroupSucceedWithoutRunning) {  // execution 32.70
  AttemptOf run(R"(
    +a: {_disable: true, sh>: x}
    +b: {}
    +c: {_disable: true}
  )");
  EXPECT_TRUE(run.attempt.success());
  EXPECT_EQ(run.wanted(), "");
}

TEST(Attempt, GeneratedTasksBelongToTheirTask) {
  AttemptOf run(R"(
    +l: {loop>: 2, _do: {sh>: x}}
    +z: {sh>: x}
  )");
  run.finish("+l", generates(R"({"+loop-0":{"sh>":"x"},"+loop-1":{"sh>":"x"}})"));
  EXPECT_EQ(run.states(), R"(
+l planned
+z blocked
+l^sub planned
+l^sub+loop-0 running
+l^sub+loop-1 blocked
)");
  EXPECT_EQ(run.attempt.flags(run.task("+l^sub")), initial_task);
  run.finish("+l^sub+loop-0");
  run.finish("+l^sub+loop-1");
  EXPECT_EQ(run.wanted(), "run +z");
  EXPECT_EQ(run.state("+l"), "success");
}

TEST(Attempt, ABrokenGeneratedConfigFailsTheTaskThatMadeIt) {  // execution 32.22
  AttemptOf run("+i: {if>: true}");
  run.finish("+i", generates(R"({"sh>":"x","echo>":"y"})"));
  EXPECT_EQ(run.error("+i"),
            R"-({"message":"A task can't have more than one operator: {\"sh>\":\"x\",\"echo>\":\"y\"} (config)","stacktrace":""})-");
  EXPECT_EQ(run.state("+i"), "error");
  EXPECT_EQ(run.attempt.result(run.task("+i")), nullptr);
}

TEST(Attempt, AResultThatIsNoObjectFailsTheTask) {
  AttemptOf run("+i: {py>: x}");
  run.finish("+i", generates("[1]"));
  EXPECT_EQ(run.state("+i"), "error");
  EXPECT_NE(run.error("+i").find("Generated tasks must be an object but got [1] (config)"), std::string::npos);
}

TEST(Attempt, ACheckRunsAfterTheTaskAndDecidesOnIt) {  // execution 32.20
  AttemptOf run("+a: {sh>: x, _check: {sh>: test}}");
  run.finish("+a", generates(R"({"+s":{"sh>":"x"}})"));
  EXPECT_EQ(run.state("+a^check"), "blocked");
  run.finish("+a^sub+s", stores(R"({"k":1})"));
  EXPECT_EQ(run.state("+a^check"), "running");
  EXPECT_EQ(run.params("+a^check"), R"({"k":1})");  // execution 12.7
  run.finish("+a^check", failure("wrong"));
  EXPECT_EQ(run.state("+a"), "group_error");
}

TEST(Attempt, ACheckOfAGroupRunsOnlyWhereItIsSwitchedOn) {  // execution 32.21, decisions E-10
  const auto text = R"(
    +g:
      _check: {sh>: test}
      +a: {sh>: x}
  )";
  AttemptOf off(text);
  off.finish("+g+a");
  EXPECT_TRUE(off.attempt.success());

  AttemptOf::Given given;
  given.options.group_check = true;
  AttemptOf on(text, std::move(given));
  on.finish("+g+a", stores(R"({"k":1})"));
  EXPECT_EQ(on.wanted(), "run +g^check");
  EXPECT_EQ(on.params("+g^check"), R"({"k":1})");
  on.finish("+g^check", failure("wrong"));
  EXPECT_EQ(on.state("+g"), "group_error");
}

TEST(Attempt, AFinishWithAnotherLeaseChangesNothing) {  // execution 32.76, 32.77
  AttemptOf run("+a: {sh>: x}");
  const TaskIndex a = run.task("+a");
  run.finish_lease(a, 7, failure("late"));
  EXPECT_TRUE(run.changed_nothing());
  run.finish("+a", later(5));
  run.finish_lease(a, 1, success);
  EXPECT_TRUE(run.changed_nothing());
  run.wait(5);
  run.finish_lease(a, 1, success);
  EXPECT_TRUE(run.changed_nothing());
  run.finish_lease(a, 2, success);
  EXPECT_TRUE(run.attempt.success());
  run.finish_lease(a, 2, failure("twice"));
  EXPECT_TRUE(run.changed_nothing());
  run.apply(Succeeded{99, 1, {}});
  run.apply(RetryEvaluated{99, {}});
  EXPECT_TRUE(run.changed_nothing());
}

TEST(Attempt, APollKeepsItsStateAndIsCalledAgain) {  // execution 32.99
  AttemptOf run("+a: {wait>: 10s}");
  run.finish("+a", later(3, R"({"start_time":"x"})"));
  EXPECT_EQ(run.state("+a"), "retry_waiting");
  EXPECT_EQ(run.seconds_to_tick(), 3);
  run.wait(2);
  EXPECT_TRUE(run.changed_nothing());
  run.wait(1);
  EXPECT_EQ(run.wanted(), "run +a");
  EXPECT_EQ(run.state_params("+a"), R"({"start_time":"x"})");
  EXPECT_EQ(run.attempt.retry_count(run.task("+a")), 1);
  EXPECT_EQ(run.attempt.started_at(run.task("+a")), test_start);
  EXPECT_EQ(run.attempt.updated_at(run.task("+a")), test_start.plus_seconds(3));
  EXPECT_EQ(run.seconds_to_tick(), std::nullopt);
  EXPECT_EQ(run.attempt.lease(run.task("+a")), 2u);
}

TEST(Attempt, APollIsCalledAtOnceWhenWhatItWaitsForHasHappened) {
  AttemptOf run("+a: {require>: b}");
  const TaskIndex a = run.task("+a");
  run.finish("+a", later(10));
  run.apply(Wake{a, run.attempt.lease(a) + 1});  // of another run
  EXPECT_TRUE(run.changed_nothing());
  run.apply(Wake{a, run.attempt.lease(a)});
  EXPECT_EQ(run.seconds_to_tick(), 0);
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +a");
  run.apply(Wake{a, run.attempt.lease(a)});  // it runs
  run.apply(Wake{99, 1});
  EXPECT_TRUE(run.changed_nothing());
}

TEST(Attempt, TheTaskLimitCountsTheRootTwice) {  // execution 32.27
  std::string text = "_parallel: true\n";
  for (int i = 0; i < 58; ++i) text += "+t" + std::to_string(i) + ": {sh>: x}\n";
  AttemptOf::Given given;
  given.options.task_limit = 60;
  AttemptOf fits(text, given);
  EXPECT_EQ(fits.attempt.size(), 59u);
  try {
    AttemptOf too_many(text + "+more: {sh>: x}\n", given);
    FAIL() << "must not start";
  } catch (const Error& e) {
    EXPECT_EQ(e.message(), "Too many tasks. Limit: 60, Current: 1, Adding: 60");
    EXPECT_EQ(e.kind(), "task limit exceeded");
  }
}

std::string iterations(int count) {
  std::string config;
  for (int i = 0; i < count; ++i) config += (i ? "," : "") + ("\"+loop-" + std::to_string(i)) + R"(":{"echo>":"x"})";
  return "{" + config + "}";
}

TEST(Attempt, GeneratedTasksAreLimitedHandlersAreNot) {  // execution 32.28, 32.30, decisions E-11
  AttemptOf::Given given;
  given.options.task_limit = 60;
  AttemptOf run("+l: {loop>: 58, _do: {echo>: x}, _error: {sh>: mail}}", given);
  run.finish("+l", generates(iterations(58)));
  EXPECT_EQ(run.error("+l"), R"-({"message":"Too many tasks. Limit: 60, Current: 2, Adding: 59 (task limit exceeded)","stacktrace":""})-");
  EXPECT_EQ(run.wanted(), "run +l^error");

  AttemptOf full("+l: {loop>: 57, _do: {echo>: x}, _error: {sh>: mail}}", given);
  full.finish("+l", generates(iterations(57)));
  EXPECT_EQ(full.attempt.size(), 60u);
  full.finish("+l^sub+loop-0", failure("no"));
  EXPECT_EQ(full.state("+l^error"), "running");  // beyond the limit
}

TEST(Attempt, TooLargeParamsFailTheTask) {  // decisions E-66
  AttemptOf::Given given;
  given.options.params_size_limit = 100;
  AttemptOf run("+a: {sh>: x}\n+b: {sh>: x}", given);
  run.finish("+a", stores(R"({"k":"short"})"));
  EXPECT_EQ(run.state("+a"), "success");
  run.finish("+b", stores("{\"k\":\"" + std::string(200, 'x') + "\"}"));
  EXPECT_EQ(run.state("+b"), "error");
  EXPECT_NE(run.error("+b").find("(params size limit exceeded)"), std::string::npos);
}

TEST(Attempt, TheSameEventsGiveTheSameResult) {
  const auto play = [] {
    AttemptOf run(R"(
      _error: {sh>: mail}
      +g:
        _retry: 1
        _parallel: true
        +a: {sh>: x}
        +b: {sh>: x}
    )");
    run.finish("+g+b", stores(R"({"k":1})"));
    run.finish("+g+a", failure("no"));
    run.wait(0);
    run.finish("+g+a", failure("again"));
    run.finish("+g+b");
    return run.states() + run.params("^error");
  };
  EXPECT_EQ(play(), play());
}

TEST(Attempt, ALongChainOfGroupsNeedsNoDeepStack) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "+g" + std::to_string(i) + ": {}\n";
  AttemptOf run(text);
  EXPECT_TRUE(run.attempt.success());
}

TEST(Attempt, TheNewestRowOfEachNameIsTheOneThatCounts) {
  AttemptOf run(R"(
    +g:
      _retry: 1
      +a: {sh>: x}
  )");
  run.finish("+g+a", failure("no"));
  run.wait(0);
  EXPECT_EQ(run.attempt.newest_rows(), (std::vector<TaskIndex>{0, 1, 3}));
}

TEST(TaskState, HasTheNamesAndCodesOfTheOriginal) {
  EXPECT_EQ(to_string(TaskState::group_retry_waiting), "group_retry_waiting");
  EXPECT_EQ(static_cast<int>(TaskState::group_error), 6);
}

}  // namespace
}  // namespace digdag::engine
