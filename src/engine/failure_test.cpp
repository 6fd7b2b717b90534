#include <gtest/gtest.h>

#include "engine/attempt_of.h"
#include "engine/retry_control.h"

namespace digdag::engine {
namespace {

// ---- _error ----------------------------------------------------------------------------------------------------------------

TEST(ErrorHandler, RunsWithTheErrorAndLeavesTheTaskFailed) {  // execution 32.5
  AttemptOf run("+a: {sh>: x, _error: {echo>: e}}");
  run.finish("+a", failure("exit 3"));
  EXPECT_EQ(run.state("+a"), "planned");
  EXPECT_EQ(run.wanted(), "run +a^error");
  EXPECT_EQ(run.params("+a^error"), R"({"error":{"message":"exit 3"}})");
  EXPECT_EQ(run.attempt.params_of(run.task("+a^error")).origins().of("/error/message"), dig::Origin::data);
  EXPECT_TRUE(run.attempt.in_handler(run.task("+a^error")));
  EXPECT_EQ(run.attempt.flags(run.task("+a^error")), 0);
  run.finish("+a^error");
  EXPECT_EQ(run.state("+a"), "error");
  EXPECT_EQ(run.error("+a"), R"({"message":"exit 3"})");
}

TEST(ErrorHandler, OfTheRootRunsBesideTheAlert) {  // execution 32.6
  AttemptOf run("_error: {echo>: e}\n+a: {sh>: x}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.wanted(), "run ^failure-alert, run ^error");
  run.finish("^error");
  run.finish("^failure-alert");
  EXPECT_EQ(run.root(), "group_error");
}

TEST(ErrorHandler, RunsOnEveryLevelInnermostFirst) {  // execution 32.7
  AttemptOf run(R"(
    _error: {echo>: outer}
    +g:
      _error: {echo>: inner}
      +a: {sh>: x}
  )");
  run.finish("+g+a", failure("no"));
  EXPECT_EQ(run.wanted(), "run +g^error");
  run.finish("+g^error");
  EXPECT_EQ(run.wanted(), "run ^failure-alert, run ^error");
}

TEST(ErrorHandler, ThatFailsItselfChangesNothingAndHidesNoCause) {  // execution 32.8, 32.103, decisions E-13
  AttemptOf run(R"(
    _error: {echo>: outer}
    +g:
      _error: {echo>: inner}
      +a: {sh>: x}
  )");
  run.finish("+g+a", failure("M1"));
  run.finish("+g^error", failure("M2"));
  EXPECT_EQ(run.state("+g"), "group_error");
  EXPECT_EQ(run.params("^error"), R"({"error":{"message":"M1"}})");
}

TEST(ErrorHandler, OfAGroupSeesWhatItsTasksStored) {  // execution 12.6
  AttemptOf run(R"(
    +g:
      _error: {_export: {mine: 1}, echo>: e}
      +a: {http>: x}
      +b: {py>: x}
      +c: {sh>: x}
  )");
  run.finish("+g+a", stores(R"({"http":{"last_content":"${x}"}})"));
  run.finish("+g+b", stores(R"({"k":2})"));
  run.finish("+g+c", failure("no"));
  EXPECT_EQ(run.params("+g^error"), R"({"mine":1,"http":{"last_content":"${x}"},"k":2,"error":{"message":"no"}})");
  const dig::Origins origins = run.attempt.params_of(run.task("+g^error")).origins();
  EXPECT_EQ(origins.of("/mine"), dig::Origin::code);
  EXPECT_EQ(origins.of("/http/last_content"), dig::Origin::data);
  EXPECT_EQ(origins.of("/k"), dig::Origin::stored);
  EXPECT_EQ(origins.of("/error"), dig::Origin::data);
}

TEST(ErrorHandler, MayComeFromTheExportOfTheTaskItself) {  // language 5.4
  AttemptOf run("+a: {sh>: x, _export: {_error: {echo>: e}}}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.wanted(), "run +a^error");
}

TEST(ErrorHandler, ThatIsBrokenIsSkippedAndSaysSo) {  // decisions E-12
  AttemptOf run("+a: {sh>: x, _export: {_error: {echo>: e, sh>: f}}}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.state("+a"), "error");
  EXPECT_NE(run.error("+a").find(R"("error_handler":"_error could not start: A task can't have more than one operator)"),
            std::string::npos);
  EXPECT_NE(run.notes().find("_error"), std::string::npos);
}

// ---- _retry ----------------------------------------------------------------------------------------------------------------

TEST(OperatorRetry, RunsLimitPlusOneTimes) {  // execution 32.10, decisions E-14
  AttemptOf run("+a: {sh>: x, _retry: 1, _error: {echo>: e}}");
  run.finish("+a", retryable_failure("first"));
  EXPECT_EQ(run.state("+a"), "retry_waiting");
  EXPECT_EQ(run.state_params("+a"), R"({"retry_count":1,"last_error":{"message":"first"}})");
  EXPECT_EQ(run.error("+a"), "{}");
  run.wait(0);
  run.finish("+a", retryable_failure("second"));
  EXPECT_EQ(run.runs("+a"), 2);
  EXPECT_EQ(run.error("+a"), R"({"message":"second"})");
  EXPECT_EQ(run.wanted(), "run +a^error");
}

TEST(OperatorRetry, NeedsAnOperatorThatHonoursIt) {  // execution 32.11
  AttemptOf run("+a: {fail>: x, _retry: 2}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.state("+a"), "error");
}

TEST(OperatorRetry, KeepsThePollStateButNotTheCommand) {  // execution 11.4
  AttemptOf run("+a: {sh>: x, _retry: 1}");
  run.finish("+a", later(1, R"({"job":1,"commandStatus":{"id":2}})"));
  run.wait(1);
  run.finish("+a", retryable_failure("no"));
  EXPECT_EQ(run.state_params("+a"), R"({"job":1,"retry_count":1,"last_error":{"message":"no"}})");
}

TEST(OperatorRetry, WaitsLongerEachTime) {  // execution 32.15, 32.16
  AttemptOf run("+a: {sh>: x, _retry: {limit: 3, interval: 10, interval_type: exponential}}");
  for (const std::int64_t seconds : {10, 20, 40}) {
    run.finish("+a", retryable_failure("no"));
    EXPECT_EQ(run.seconds_to_tick(), seconds);
    run.wait(seconds);
  }
  const RetryControl capped = RetryControl::parse(json(R"({"limit":3,"interval":10,"interval_type":"Exponential","max_interval":15})"));
  EXPECT_EQ(capped.interval_after(0), 10);
  EXPECT_EQ(capped.interval_after(1), 15);
  EXPECT_EQ(capped.interval_after(2), 15);
}

TEST(RetryControl, SaturatesInsteadOfOverflowing) {  // decisions E-08
  const RetryControl control = RetryControl::parse(json(R"({"limit":99,"interval":10,"interval_type":"exponential"})"));
  EXPECT_EQ(control.interval_after(98), 2147483647);
  EXPECT_EQ(RetryControl::parse(json(R"("3")")).limit, 3);
  EXPECT_EQ(RetryControl::parse(Value()).limit, 0);
}

std::string problem_of(std::string_view retry) {
  try {
    RetryControl::parse(json(retry));
  } catch (const Error& e) {
    return e.message_with_kind();
  }
  return "";
}

TEST(RetryControl, SaysWhatIsWrong) {  // execution 32.17, 32.18
  EXPECT_EQ(problem_of("true"), "Invalid _retry format:true (config)");
  EXPECT_EQ(problem_of("[1]"), "Invalid _retry format:[1] (config)");
  EXPECT_EQ(problem_of(R"({"limit":1,"interval_type":"foo"})"), "Invalid retry_interval_type: foo (config)");
  EXPECT_EQ(problem_of(R"({"interval":1})"), "Parameter 'limit' is required but not set (config)");
  EXPECT_EQ(problem_of(R"({"limit":1,"on":["sunday"]})"), "Invalid _retry on: [\"sunday\"] (config)");
}

TEST(GroupRetry, CopiesTheInitialTasks) {  // execution 32.12, 31b
  AttemptOf run(R"(
    _error: {echo>: x}
    +g:
      _retry: 1
      +a: {sh>: ok}
      +b: {fail>: no}
    +z: {echo>: x}
  )");
  run.finish("+g+a");
  run.finish("+g+b", failure("1"));
  EXPECT_EQ(run.state("+g"), "group_retry_waiting");
  EXPECT_EQ(run.state_params("+g"), R"({"retry_count":1})");
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +g+a");
  run.finish("+g+a");
  run.finish("+g+b", failure("2"));
  EXPECT_EQ(run.states(), R"(
+g group_error
+g+a success
+g+b error
+z blocked
+g+a success
+g+b error
^failure-alert running
^error running
)");
  EXPECT_EQ(run.attempt.upstreams(run.task("+g+b")), (std::vector<TaskIndex>{5}));
}

TEST(GroupRetry, ThatSucceedsForgetsTheOldFailure) {  // decisions E-07
  AttemptOf run("_retry: 3\n+a: {sh>: x}\n+b: {sh>: x}");
  run.finish("+a", failure("no"));
  run.wait(0);
  run.finish("+a");
  run.finish("+b");
  EXPECT_TRUE(run.attempt.success());
}

TEST(GroupRetry, NestedOnesMultiply) {  // execution 32.13, decisions E-01
  AttemptOf run(R"(
    +o:
      _retry: 1
      +i:
        _retry: 2
        +a: {sh>: x}
  )");
  for (int i = 0; i < 6; ++i) {
    run.finish("+o+i+a", failure("no"));
    run.wait(0);
  }
  EXPECT_EQ(run.runs("+o+i+a"), 6);
  EXPECT_EQ(run.state("^failure-alert"), "running");
  EXPECT_EQ(run.states(), R"(
+o group_error
+o+i group_error
+o+i+a error
+o+i+a error
+o+i+a error
+o+i group_error
+o+i+a error
+o+i+a error
+o+i+a error
^failure-alert running
)");
}

TEST(GroupRetry, KeepsChunksAndWindows) {
  AttemptOf run(R"(
    +g:
      _retry: 1
      _parallel: {limit: 1}
      +a: {sh>: x}
      +b: {sh>: x}
    +h:
      _retry: 1
      _parallel: {limit: 1, mode: window}
      +a: {sh>: x}
      +b: {sh>: x}
  )");
  run.finish("+g+a", failure("no"));
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +g+a");
  run.finish("+g+a");
  EXPECT_EQ(run.wanted(), "run +g+b");
  run.finish("+g+b");
  run.finish("+h+a", failure("no"));
  run.finish("+h+b");
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +h+a");
  run.finish("+h+a");
  EXPECT_EQ(run.wanted(), "run +h+b");
}

TEST(GroupRetry, IsEvaluatedWhereItHoldsATemplate) {  // execution 32.14, decisions L-16
  AttemptOf run("_retry: ${n}\n_export: {n: 1}\n+a: {sh>: x}");
  run.finish("+a", failure("no"));
  EXPECT_EQ(run.wanted(), R"(evaluate  "${n}")");
  EXPECT_EQ(run.root(), "planned");
  run.apply(RetryEvaluated{0, "1"});
  EXPECT_EQ(run.root(), "group_retry_waiting");
  run.apply(RetryEvaluated{0, "5"});
  EXPECT_TRUE(run.changed_nothing());
  run.wait(0);
  run.finish("+a", failure("no"));  // what was evaluated once holds
  EXPECT_EQ(run.wanted(), "run ^failure-alert");
}

TEST(GroupRetry, ThatCannotBeEvaluatedIsIgnored) {
  for (const RetryEvaluated& answer : {RetryEvaluated{0, Value(), "n is not defined"}, RetryEvaluated{0, "soon"}}) {
    AttemptOf run("_retry: ${n}\n+a: {sh>: x}");
    run.finish("+a", failure("no"));
    run.apply(answer);
    EXPECT_EQ(run.notes(),
              "Ignore retry parameter because of invalid retry configuration. " +
                  (answer.retry.is_null() ? answer.problem : R"(Expected integer (int) type for key '_retry' but got "soon" (string))") +
                  "\n");
    EXPECT_EQ(run.wanted(), "run ^failure-alert");
  }
}

TEST(GroupRetry, OfAnEmptyGroupRunsItsCheckAgain) {  // decisions E-07, E-10
  AttemptOf::Given given;
  given.options.group_check = true;
  AttemptOf run("+g: {_retry: 2, _check: {sh>: x}}", std::move(given));
  for (int round = 0; round < 2; ++round) {
    run.finish("+g^check", failure("no"));
    run.wait(0);
    EXPECT_EQ(run.wanted(), "run +g^check");
  }
  run.finish("+g^check");
  EXPECT_EQ(run.root(), "success");
}

TEST(GroupRetry, OfAnOperatorRunsItAgain) {  // execution 32.19
  AttemptOf run("+l: {loop>: 1, _retry: 1, _do: {sh>: x}}\n+z: {sh>: x}");
  run.finish("+l", generates(R"({"+loop-0":{"sh>":"x"},"+old":{"sh>":"x"}})"));
  run.finish("+l^sub+loop-0", failure("no"));
  EXPECT_EQ(run.state("+l"), "group_retry_waiting");
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +l");
  run.finish("+l", generates(R"({"+loop-0":{"sh>":"x"}})"));
  run.finish("+l^sub+loop-0");
  EXPECT_EQ(run.state("+l"), "success");  // the old `^sub+old` does not count (E-07)
  EXPECT_EQ(run.wanted(), "run +z");
}

TEST(GroupRetry, ThatWouldExceedTheTaskLimitFails) {  // decisions E-02
  AttemptOf::Given given;
  given.options.task_limit = 5;
  AttemptOf run("_retry: 9\n_error: {echo>: e}\n+a: {sh>: x}\n+b: {sh>: x}", given);
  run.finish("+a", failure("no"));
  run.wait(0);
  run.finish("+a", failure("no"));
  run.wait(0);
  EXPECT_EQ(run.error(""), R"-({"message":"Too many tasks. Limit: 5, Current: 5, Adding: 2 (task limit exceeded)","stacktrace":""})-");
  EXPECT_EQ(run.wanted(), "run ^failure-alert, run ^error");
}

// ---- _timeout --------------------------------------------------------------------------------------------------------------

TEST(Timeout, StopsTheRunAndCountsAsAFailure) {  // decisions E-33
  AttemptOf run("+a: {sh>: x, _timeout: {limit: 30m, grace: 60s}, _error: {echo>: e}}");
  EXPECT_EQ(run.seconds_to_tick(), 1800);
  run.wait(1800);
  EXPECT_EQ(run.wanted(), "stop +a 60");
  EXPECT_EQ(run.state("+a"), "running");
  run.wait(1);
  EXPECT_TRUE(run.changed_nothing());
  run.finish("+a", failure("Command failed with signal 15"));
  EXPECT_EQ(run.error("+a"), R"-({"message":"Task timed out after 30m (task timeout)"})-");
  EXPECT_EQ(run.wanted(), "run +a^error");
}

TEST(Timeout, CountsFromTheFirstStartOfATryPollsIncluded) {
  AttemptOf run("+a: {sh>: x, _timeout: 90, _retry: {limit: 1, interval: 10}}");
  run.finish("+a", later(60));
  run.wait(60);
  EXPECT_EQ(run.seconds_to_tick(), 30);
  run.finish("+a", later(60));
  run.wait(30);
  EXPECT_EQ(run.state("+a"), "retry_waiting");
  EXPECT_EQ(run.state_params("+a"), R"-({"retry_count":1,"last_error":{"message":"Task timed out after 1m 30s (task timeout)"}})-");
  run.wait(10);
  EXPECT_EQ(run.wanted(), "run +a");
  EXPECT_EQ(run.seconds_to_tick(), 90);
}

TEST(Timeout, CanBeLeftOutOfTheRetries) {
  AttemptOf run("+a: {sh>: x, _timeout: 5, _retry: {limit: 9, on: failure}}");
  run.wait(5);
  run.finish("+a", retryable_failure("killed"));
  EXPECT_EQ(run.state("+a"), "error");

  AttemptOf other("+a: {sh>: x, _timeout: 5, _retry: {limit: 9, on: [timeout]}}");
  other.finish("+a", retryable_failure("no"));
  EXPECT_EQ(other.state("+a"), "error");
}

TEST(Timeout, OfAGroupCancelsWhatIsNotDone) {
  AttemptOf run(R"(
    +g:
      _timeout: 10
      _kill_grace: 3
      _parallel: true
      +a: {sh>: x}
      +b: {sh>: x}
      +c: {sh>: x, _after: [+b]}
    +z: {sh>: x}
  )");
  run.finish("+g+a");
  run.wait(10);
  EXPECT_EQ(run.wanted(), "stop +g+b 3");
  run.finish("+g+b");
  EXPECT_EQ(run.states(), R"(
+g group_error
+g+a success
+g+b canceled
+g+c blocked
+z blocked
^failure-alert running
)");
  EXPECT_EQ(run.error("+g"), R"-({"message":"Task timed out after 10s (task timeout)"})-");
}

TEST(Timeout, OfAGroupIsRetriedAndHandled) {
  AttemptOf run("_timeout: 10\n_retry: {limit: 1, on: timeout}\n_error: {echo>: e}\n+a: {sh>: x}");
  run.wait(10);
  EXPECT_EQ(run.notes(), "") << "whether it is retried is decided when its tasks have ended";
  run.finish("+a", failure("stopped"));
  EXPECT_EQ(run.root(), "group_retry_waiting");
  EXPECT_EQ(run.last.notes.at(0).kind, Note::Kind::retried_failure);
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +a");
  EXPECT_EQ(run.seconds_to_tick(), 10);
  run.wait(10);
  run.finish("+a", failure("stopped"));
  EXPECT_EQ(run.last.notes.at(0).kind, Note::Kind::failure);
  EXPECT_EQ(run.wanted(), "run ^failure-alert, run ^error");
  EXPECT_EQ(run.params("^error"), R"-({"error":{"message":"Task timed out after 10s (task timeout)"}})-");
  EXPECT_EQ(run.seconds_to_tick(), std::nullopt);
}

TEST(Timeout, IsRetriedAsInheritedWhereTheRunDidNotGetToSay) {  // decisions E-09, E-33
  AttemptOf run("_export: {_retry: 1}\n+a: {sh>: x, _timeout: 10}");
  run.wait(10);
  run.finish("+a", failure("killed"));
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +a");
}

TEST(Timeout, IsToldInTheLog) {
  AttemptOf run("+a: {sh>: x, _timeout: 10, _retry: 1}");
  run.wait(10);
  run.finish("+a", failure("killed"));
  EXPECT_EQ(run.last.notes.at(0).kind, Note::Kind::retried_failure);
  run.wait(0);
  run.wait(10);
  run.finish("+a", failure("killed"));
  EXPECT_EQ(run.last.notes.at(0).kind, Note::Kind::failure);
  EXPECT_EQ(run.notes(), "Task timed out after 10s (task timeout)\n");
}

TEST(Timeout, WithATemplateBeginsWithTheRunThatEvaluatesIt) {
  AttemptOf run("+a: {sh>: x, _timeout: '${limit}', _kill_grace: '${grace}', _retry: 1}");
  const TaskIndex a = run.task("+a");
  EXPECT_EQ(run.seconds_to_tick(), std::nullopt);
  run.now = run.now.plus_seconds(3);  // until it is evaluated
  run.apply(LimitsEvaluated{a, run.attempt.lease(a), json(R"({"_timeout":"10","_kill_grace":"2s"})")});
  EXPECT_EQ(run.seconds_to_tick(), 7);
  run.wait(7);
  EXPECT_EQ(run.wanted(), "stop +a 2");
  run.finish("+a", failure("killed"));
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +a");
  EXPECT_EQ(run.seconds_to_tick(), std::nullopt) << "each try evaluates its own";
  run.apply(LimitsEvaluated{a, run.attempt.lease(a), json(R"({"_timeout":"20s"})")});
  run.wait(20);
  run.finish("+a", failure("killed"));
  EXPECT_EQ(run.error("+a"), R"-({"message":"Task timed out after 20s (task timeout)"})-");
}

TEST(Timeout, ThatIsUpDoesNotBeginAgainWithLimitsEvaluatedLate) {
  AttemptOf run("+a: {sh>: x, _timeout: 10, _kill_grace: '${grace}'}");
  const TaskIndex a = run.task("+a");
  run.wait(10);
  run.apply(LimitsEvaluated{a, run.attempt.lease(a), json(R"({"_kill_grace":"2s"})")});
  EXPECT_EQ(run.seconds_to_tick(), std::nullopt);
}

// ---- Kill ------------------------------------------------------------------------------------------------------------------

TEST(Kill, StopsWhatRunsAndLeavesTheRestBlocked) {  // execution 32.41, 32.43
  AttemptOf run(R"(
    _error: {echo>: e}
    +a: {sh>: x, _error: {echo>: e}}
    +b: {sh>: x}
  )");
  run.kill();
  EXPECT_EQ(run.wanted(), "stop +a");
  EXPECT_EQ(run.state("+a"), "running");
  EXPECT_TRUE(run.attempt.cancel_was_requested());
  run.finish("+a", failure("signal 15"));
  EXPECT_EQ(run.states(), R"(
+a canceled
+b blocked
)");
  EXPECT_EQ(run.root(), "canceled");
  EXPECT_TRUE(run.attempt.done());
  EXPECT_FALSE(run.attempt.success());
  EXPECT_EQ(run.error("+a"), "{}");
}

TEST(Kill, TwiceIsKillOnce) {  // execution 32.42
  AttemptOf run("+a: {sh>: x}");
  run.kill();
  run.kill();
  EXPECT_TRUE(run.changed_nothing());
  run.finish("+a");
  EXPECT_EQ(run.root(), "canceled");
  run.kill();
  EXPECT_TRUE(run.changed_nothing());
}

TEST(Kill, BeforeTheStartEndsTheAttempt) {  // decisions E-32
  AttemptOf::Given given;
  given.start = false;
  AttemptOf run("+a: {sh>: x}", std::move(given));
  run.kill();
  EXPECT_TRUE(run.last.finished);
  EXPECT_EQ(run.root(), "canceled");
  EXPECT_TRUE(run.attempt.start(run.now).effects.empty());
}

TEST(Kill, EndsWhatWaitsForARetryAtOnce) {  // execution 32.44, decisions E-31
  AttemptOf run("+a: {wait>: 1h}");
  run.finish("+a", later(3600));
  run.kill();
  EXPECT_EQ(run.state("+a"), "canceled");
  EXPECT_TRUE(run.attempt.done());
}

TEST(Kill, LetsAnOperatorCleanUpWhatGoesOnOutside) {  // decisions E-31
  AttemptOf::Given given;
  given.options.has_cleanup = [](std::string_view type) { return type == "td"; };
  AttemptOf run("_parallel: true\n+a: {td>: q}\n+b: {td>: q}", std::move(given));
  run.finish("+a", later(3600, R"({"job":1})"));
  run.kill();
  EXPECT_EQ(run.wanted(), "clean +a, stop +b");
  run.finish("+b", later(10, R"({"job":2})"));
  EXPECT_EQ(run.wanted(), "clean +b");
  EXPECT_EQ(run.state_params("+b"), R"({"job":2})");
  EXPECT_EQ(run.attempt.retry_count(run.task("+b")), 1);
  run.finish("+a", failure("Got a cancel-requested"));
  run.finish("+b", later(10));
  EXPECT_EQ(run.states(), R"(
+a canceled
+b canceled
)");
}

TEST(Kill, EndsAGroupThatWaitsForItsRetry) {  // execution 32.45, decisions E-02
  AttemptOf run("+g:\n  _retry: {limit: 1, interval: 60}\n  +a: {sh>: x}");
  run.finish("+g+a", failure("no"));
  run.kill();
  EXPECT_EQ(run.state("+g"), "canceled");
  EXPECT_EQ(run.root(), "canceled");
}

TEST(Kill, WhileARetryIsEvaluatedWins) {
  AttemptOf run("_retry: ${n}\n+a: {sh>: x}");
  run.finish("+a", failure("no"));
  run.kill();
  EXPECT_EQ(run.root(), "canceled");
  run.apply(RetryEvaluated{0, "1"});
  EXPECT_TRUE(run.changed_nothing());
}

TEST(Kill, RunsTheHandlersThatAskForIt) {  // decisions 1, `_error_on_cancel`
  AttemptOf run(R"(
    +g:
      _error: {echo>: e}
      _error_on_cancel: "true"
      +a: {sh>: x, _error: {echo>: e}}
  )");
  run.kill();
  run.finish("+g+a");
  EXPECT_EQ(run.state("+g+a"), "canceled");
  EXPECT_EQ(run.wanted(), "run +g^error");
  EXPECT_EQ(run.params("+g^error"), R"({"error":{"message":"killed"}})");
  run.finish("+g^error");
  EXPECT_EQ(run.state("+g"), "canceled");
  EXPECT_EQ(run.root(), "canceled");
}

TEST(Kill, OfAWindowCancelsEveryTaskWhoseTurnComes) {
  AttemptOf run("_parallel: {limit: 1, mode: window}\n+a: {sh>: x}\n+b: {sh>: x}\n+c: {sh>: x}");
  run.kill();
  run.finish("+a");
  EXPECT_EQ(run.states(), R"(
+a canceled
+b canceled
+c canceled
)");
  EXPECT_TRUE(run.attempt.done());
}

TEST(Kill, UsesTheNearestGrace) {  // decisions 1, `_kill_grace`
  AttemptOf run(R"(
    _kill_grace: 1m
    _parallel: true
    +a: {sh>: x}
    +b: {sh>: x, _kill_grace: never}
  )");
  run.kill();
  EXPECT_EQ(run.wanted(), "stop +a 60, stop +b -1");
}

// ---- sla -------------------------------------------------------------------------------------------------------------------

TEST(SessionMonitor, AddsItsTasksBesideWhatRuns) {  // execution 32.57, 32.61
  AttemptOf run(R"(
    sla: {duration: "00:00:02", fail: true, +n: {echo>: late}}
    +a: {sh>: x}
    +b: {sh>: x}
  )");
  EXPECT_EQ(run.seconds_to_tick(), 2);
  run.wait(2);
  EXPECT_EQ(run.states(), R"(
+a running
+b blocked
^sla^alert running
^sla^fail running
^sla planned
^sla+n running
)");
  run.finish("^sla^alert");
  run.finish("^sla^fail", failure("SLA violation"));
  run.finish("^sla+n");
  run.finish("+a");
  run.finish("+b");
  EXPECT_EQ(run.wanted(), "run ^failure-alert");
}

TEST(SessionMonitor, WithAnUnknownKeyAddsNothing) {  // execution 32.58, decisions E-19
  AttemptOf run("sla: {duration: \"00:02\", enable: true, +n: {echo>: late}}\n+a: {sh>: x}");
  run.wait(120);
  EXPECT_EQ(run.wanted(), "");
  EXPECT_NE(run.notes().find("enable"), std::string::npos);
  run.finish("+a");
  EXPECT_TRUE(run.attempt.success());
}

std::string problem_of_sla(const std::string& sla) {
  try {
    AttemptOf run("sla: " + sla + "\n+a: {sh>: x}");
  } catch (const Error& e) {
    return e.message();
  }
  return "";
}

TEST(SessionMonitor, SaysWhatIsWrongBeforeTheStart) {  // execution 32.59, 32.60
  EXPECT_EQ(problem_of_sla("{duration: 5}"), "SLA duration option needs to be HH:MM or HH:MM:SS format: 5");
  EXPECT_EQ(problem_of_sla("{duration: '1:00:'}"), "") << "a colon at the end says nothing, as in a schedule";
  EXPECT_EQ(problem_of_sla("{alert: false}"), "SLA must be specified using either the 'time' or 'duration' option");
  EXPECT_EQ(problem_of_sla("{time: 1:00, duration: 1:00}"), "SLA must be specified using either the 'time' or 'duration' option");
}

TEST(SessionMonitor, OfATimeThatIsOverIsDueTheNextDay) {  // execution 32.62
  AttemptOf earlier("sla: {time: 03:00}\n+a: {sh>: x}");  // it is 03:04:05
  EXPECT_EQ(earlier.seconds_to_tick(), 86400 - 245);
  AttemptOf soon("sla: {time: \"03:05:00\"}\n+a: {sh>: x}");
  EXPECT_EQ(soon.seconds_to_tick(), 55);
}

TEST(TimeLimit, RetriesAsTheTemplatesOfTheTaskSay) {  // decisions E-33
  AttemptOf run("+a: {wait>: 1h, _timeout: 10s, _retry: '${n}'}");
  const TaskIndex a = run.task("+a");
  run.apply(RetryLater{a, run.attempt.lease(a), 60'000, Value::object(), Value(1)});
  run.wait(10);  // while it waits for its next poll
  EXPECT_EQ(run.wanted(), "run +a");
  run.wait(10);  // while it runs
  run.apply(Failed{a, run.attempt.lease(a), Value::object({{"message", "killed"}}), false, Value(2)});
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +a");
  run.wait(10);
  run.apply(Succeeded{a, run.attempt.lease(a), {}, Value(2)});  // too late
  EXPECT_EQ(run.state("+a"), "error");
}

}  // namespace
}  // namespace digdag::engine
