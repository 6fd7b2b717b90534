#include <gtest/gtest.h>

#include "engine/attempt_of.h"

namespace digdag::engine {
namespace {

AttemptOf resume(const AttemptOf& earlier, std::string_view text) {
  AttemptOf::Given given;
  given.resumed = earlier.successes();
  return AttemptOf(text, std::move(given));
}

TEST(Resume, TakesOverWhatSucceeded) {  // execution 32.47, 32.56
  const auto text = R"(
    +a: {py>: x}
    +g:
      +b: {py>: x}
      +c: {sh>: x}
    +z: {sh>: x}
  )";
  AttemptOf first(text);
  Ends ends = stores(R"({"k":1,"old":2})");
  first.finish("+a", ends);
  ends = stores(R"({"n":1})");
  ends.result.reset_store_params = {"old"};
  first.finish("+g+b", ends);
  first.finish("+g+c", failure("no"));

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.wanted(), "run +g+c");
  EXPECT_EQ(second.states(), R"(
+a success
+g planned
+g+b success
+g+c running
+z blocked
)");
  EXPECT_EQ(second.params("+g+c"), R"({"k":1,"n":1})");  // resets are taken over too (decisions E-23)
  second.finish("+g+c");
  second.finish("+z");
  EXPECT_TRUE(second.attempt.success());
}

TEST(Resume, TakesTheIterationsThatWereDone) {  // execution 32.47, 16.6
  const auto text = "+l: {loop>: 2, _do: {sh>: x}}";
  AttemptOf first(text);
  const Ends loop = generates(R"({"+loop-0":{"sh>":"x"},"+loop-1":{"sh>":"x"}})");
  first.finish("+l", loop);
  first.finish("+l^sub+loop-0");
  first.finish("+l^sub+loop-1", failure("no"));

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.wanted(), "run +l");
  second.finish("+l", loop);
  EXPECT_EQ(second.wanted(), "run +l^sub+loop-1");
  EXPECT_EQ(second.state("+l^sub+loop-0"), "success");
}

TEST(Resume, TakesOverWhatADoneTaskGenerated) {  // decisions E-22
  const auto text = R"(
    +c: {call>: x, _check: {sh>: test}}
    +z: {sh>: x}
  )";
  AttemptOf first(text);
  first.finish("+c", generates(R"({"+g":{"+s":{"py>":"x"}},"+t":{"py>":"x"}})"));
  first.finish("+c^sub+g+s", stores(R"({"v":1})"));
  first.finish("+c^sub+t", stores(R"({"v":2})"));
  first.finish("+c^check", stores(R"({"checked":true})"));
  first.finish("+z", failure("no"));

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.states(), R"(
+c success
+z running
+c^sub success
+c^sub+g success
+c^sub+g+s success
+c^sub+t success
+c^check success
)");
  EXPECT_EQ(second.params("+z"), R"({"v":2,"checked":true})");
  EXPECT_EQ(second.attempt.is_group(second.task("+c^sub+g")), true);
}

TEST(Resume, LeavesOutAnOlderGeneration) {  // decisions E-20, E-22
  const auto text = "+l: {loop>: 1, _retry: 1, _do: {sh>: x}}\n+z: {sh>: x}";
  AttemptOf first(text);
  first.finish("+l", generates(R"({"_parallel":true,"+old":{"py>":"x"},"+bad":{"sh>":"x"}})"));
  first.finish("+l^sub+old", stores(R"({"old":1})"));
  first.finish("+l^sub+bad", failure("no"));
  first.wait(0);
  first.finish("+l", generates(R"({"+new":{"py>":"x"}})"));
  first.finish("+l^sub+new", stores(R"({"new":1})"));
  first.finish("+z", failure("no"));

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.params("+z"), R"({"new":1})");
}

TEST(Resume, TakesTheNewerOfTwoSuccessesOfOneName) {  // execution 32.53, decisions E-20
  const auto text = R"(
    +g:
      _retry: 1
      +a: {py>: x}
      +b: {sh>: x}
  )";
  AttemptOf first(text);
  first.finish("+g+a", stores(R"({"n":1})"));
  first.finish("+g+b", failure("no"));
  first.wait(0);
  first.finish("+g+a", stores(R"({"n":2})"));
  first.finish("+g+b", failure("no"));

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.wanted(), "run +g+b");
  EXPECT_EQ(second.params("+g+b"), R"({"n":2})");
}

TEST(Resume, RunsHandlersAndChecksAgain) {  // decisions E-21
  const auto text = R"(
    _error: {echo>: e}
    +a: {sh>: x, _check: {sh>: test}}
  )";
  AttemptOf first(text);
  first.finish("+a");
  first.finish("+a^check", failure("wrong"));
  first.finish("^error");
  first.finish("^failure-alert");
  EXPECT_TRUE(first.attempt.done());

  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.wanted(), "run +a");
  second.finish("+a", failure("no"));
  EXPECT_EQ(second.wanted(), "run ^failure-alert, run ^error");
}

TEST(Resume, WaitsForANewTaskInsideOfADoneGroup) {  // execution 32.55, decisions E-24
  AttemptOf first("+g:\n  +a: {sh>: x}\n+z: {sh>: x}");
  first.finish("+g+a");
  first.finish("+z", failure("no"));

  AttemptOf second = resume(first, "+g:\n  +a: {sh>: x}\n  +new: {sh>: x}\n+z: {sh>: x}");
  EXPECT_EQ(second.states(), R"(
+g planned
+g+a success
+g+new running
+z blocked
)");
  second.finish("+g+new");
  EXPECT_EQ(second.wanted(), "run +z");
}

TEST(Resume, ANewTaskInsideOfADoneGroupIsSeenByThoseThatComeAfterIt) {  // decisions E-24
  AttemptOf first("+g:\n  +a: {py>: x}\n+c: {sh>: x}\n+y: {sh>: x}\n+z: {sh>: x}");
  first.finish("+g+a", stores(R"({"a":1})"));
  first.finish("+c");
  first.finish("+y", failure("no"));

  AttemptOf second = resume(first, "+g:\n  +a: {py>: x}\n  +new: {py>: x}\n+c: {sh>: x}\n+y: {sh>: x}\n+z: {sh>: x}");
  EXPECT_EQ(second.wanted(), "run +g+new, run +y");  // what +y stands behind, +c, has succeeded
  EXPECT_EQ(second.params("+y"), R"({"a":1})");
  second.finish("+g+new", stores(R"({"new":2})"));
  second.finish("+y");
  EXPECT_EQ(second.params("+z"), R"({"a":1,"new":2})");
}

TEST(Resume, KeepsChunksAndWindowsInOrder) {
  const auto text = R"(
    _parallel: {limit: 2}
    +a: {sh>: x}
    +b: {sh>: x}
    +c: {sh>: x}
  )";
  AttemptOf first(text);
  first.finish("+a");
  first.finish("+b", failure("no"));
  AttemptOf second = resume(first, text);
  EXPECT_EQ(second.wanted(), "run +b");
  second.finish("+b");
  EXPECT_EQ(second.wanted(), "run +c");
}

}  // namespace
}  // namespace digdag::engine
