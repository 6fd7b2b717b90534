#include "engine/stored_task.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/attempt_of.h"
#include "engine/resume_source.h"
#include "engine/task_archive.h"

namespace digdag::engine {
namespace {

std::vector<StoredTask> rows_of(const Attempt& attempt) {
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < attempt.size(); ++i) ids.push_back(100 + static_cast<std::int64_t>(i));
  std::vector<StoredTask> rows;
  for (std::size_t i = 0; i < attempt.size(); ++i) rows.push_back(attempt.stored(static_cast<TaskIndex>(i), ids));
  return rows;
}

Restored come_back(const AttemptOf& run, const std::vector<StoredTask>& rows, AttemptOptions options = {}) {
  return Attempt::restore(StoredAttempt{7, run.attempt.cancel_was_requested(), run.attempt.monitor(), {}}, rows, Params(), TimeZone(),
                          options, run.now);
}
/// The same run, after its attempt left memory and came back.
void leave_memory(AttemptOf& run, AttemptOptions options = {}) {
  Restored restored = come_back(run, rows_of(run.attempt), options);
  run.attempt = std::move(restored.attempt);
  run.last = std::move(restored.outcome);
}
std::string native_of(const AttemptOf& run, std::string_view name) {
  return to_json(rows_of(run.attempt)[static_cast<std::size_t>(run.task(name))].native);
}
std::string message_of(const std::vector<StoredTask>& rows) {
  try {
    Attempt::restore(StoredAttempt{7, false, {}, {}}, rows, Params(), TimeZone(), {}, test_start);
    return "";
  } catch (const Error& error) {
    return error.message();
  }
}

// ---- What is written -----------------------------------------------------------------------------------------------------

TEST(StoredTask, AnOrdinaryTaskNeedsNothingButTheColumnsOfTheOriginal) {
  AttemptOf run(R"(
    +a:
      sh>: x
      _retry: 3
    +b: {echo>: y}
  )");
  EXPECT_EQ(native_of(run, "+a"), "null");  // running
  EXPECT_EQ(native_of(run, "+b"), "null");
  run.finish("+a", retryable_failure("no"));
  run.wait(0);
  EXPECT_EQ(native_of(run, "+a"), "null");  // the second run
  run.finish("+a", later(10));
  EXPECT_EQ(native_of(run, "+a"), "null");
  run.wait(10);
  run.finish("+a", stores(R"({"k": 1})"));
  EXPECT_EQ(native_of(run, "+a"), "null");
  EXPECT_EQ(to_json(rows_of(run.attempt)[1].store_params), R"({"k":1})");
}

TEST(StoredTask, TellsTheDeadlineOfATimeout) {
  AttemptOf run("+a: {sh>: x, _timeout: 10}");
  EXPECT_EQ(native_of(run, "+a"), R"({"deadline":1767323055000})");
  run.wait(4);
  leave_memory(run);
  EXPECT_EQ(run.seconds_to_tick(), 6);
  run.wait(6);
  EXPECT_EQ(run.wanted(), "stop +a");
  EXPECT_EQ(native_of(run, "+a"), R"({"timed_out":true})");
}

TEST(StoredTask, OneThatIsKilledAfterItsTimeWasUpComesBackWithItsHandlerUnderWay) {
  AttemptOf run("+a: {sh>: x, _timeout: 10, _error: {sh>: e}, _error_on_cancel: true}");
  run.wait(10);
  run.kill();
  run.finish("+a", failure("stopped"));
  ASSERT_EQ(run.state("+a^error"), "running");
  leave_memory(run);
  run.finish("+a^error");
  EXPECT_EQ(run.state("+a"), "canceled");
}

TEST(StoredTask, AChunkIsNamedByItsEndsOrByAllOfIt) {
  AttemptOf run(R"(
    _parallel: {limit: 2}
    +a: {sh>: a}
    +b: {sh>: b}
    +c: {sh>: c}
  )");
  auto rows = rows_of(run.attempt);
  EXPECT_EQ(rows[3].barrier, (StoredSiblings{101, 102}));
  EXPECT_TRUE(rows[3].upstreams.empty());
  expand_barriers(rows);
  EXPECT_EQ(rows[3].upstreams, (std::vector<std::int64_t>{101, 102}));
  const auto restored = come_back(run, rows);
  EXPECT_EQ(restored.attempt.upstreams(3), (std::vector<TaskIndex>{1, 2}));
}

TEST(StoredTask, OnlyChangedResultsAreTold) {
  AttemptOf run(R"(
    +a: {sh>: a}
    +b: {sh>: b}
  )");
  run.finish("+a");
  EXPECT_EQ(run.last.changed, (std::vector<TaskIndex>{1, 2}));
  EXPECT_TRUE(run.last.results_changed.empty());
  run.finish("+b", failure("no"));
  EXPECT_EQ(run.last.results_changed, (std::vector<TaskIndex>{2}));
}

// ---- What comes back -----------------------------------------------------------------------------------------------------

TEST(StoredTask, AnotherTryOfAGroupFollowsFromNames) {
  AttemptOf run(R"(
    +g:
      _retry: 2
      +a: {sh>: a}
      +b: {sh>: b}
  )");
  run.finish("+g+a");
  run.finish("+g+b", failure("no"));
  run.wait(0);
  auto rows = rows_of(run.attempt);
  for (StoredTask& row : rows) {
    if (row.id > 103) row.flags = 0;  // so the original marks copies
  }
  run.attempt = std::move(come_back(run, rows).attempt);
  run.finish("+g+a");
  run.finish("+g+b", failure("again"));
  run.wait(0);
  run.finish("+g+a");
  run.finish("+g+b");
  EXPECT_EQ(run.root(), "success");
  EXPECT_EQ(run.attempt.size(), 8U);
}

// decisions E-07: what came before the newest try does not decide, though nothing was copied for it
TEST(StoredTask, ATryThatHasNoTaskYetIsToldFromTheOneBefore) {
  for (const bool leaves_memory : {false, true}) {
    AttemptOf::Given given;
    given.options.group_check = true;
    AttemptOf run(R"(
      _retry: {limit: 1, interval: 60}
      _check: {sh>: x}
      sla: {duration: "00:00:30", fail: true}
    )",
                  std::move(given));
    run.finish("^check", failure("no"));
    EXPECT_EQ(native_of(run, ""), "null");
    run.wait(30);
    run.wait(30);
    EXPECT_EQ(run.wanted(), "run ^sla^alert, run ^sla^fail") << "that came while the root waited";
    EXPECT_EQ(native_of(run, ""), R"({"empty_try":true})");
    if (leaves_memory) leave_memory(run, {.group_check = true});
    run.finish("^sla^fail", failure("SLA violation"));
    run.finish("^sla^alert");
    EXPECT_EQ(run.wanted(), "run ^check");
    EXPECT_EQ(native_of(run, ""), "null");
    if (leaves_memory) leave_memory(run, {.group_check = true});
    run.finish("^check");
    EXPECT_TRUE(run.attempt.success());
  }
}

TEST(StoredTask, DataStaysDataAndLoopsTellWhich) {
  AttemptOf run("+a: {for_each>: x}");
  Ends ends = generates(R"({"+i": {"_export": {"v": "${x}"}, "echo>": "y"}})");
  ends.result.literal_paths = {"/+i/_export/v"};
  run.finish("+a", ends);
  EXPECT_EQ(native_of(run, "+a^sub+i"), R"({"origins":{"/v":"data"}})");
  leave_memory(run);
  EXPECT_EQ(run.attempt.params_of(run.task("+a^sub+i")).origins().of("/v"), dig::Origin::data);
}

TEST(StoredTask, TheErrorOfAHandlerIsDataWhoeverWroteIt) {
  AttemptOf run("+a: {sh>: x, _error: {echo>: y}}");
  run.finish("+a", failure("${boom}"));
  EXPECT_EQ(native_of(run, "+a^error"), "null");
  leave_memory(run);
  EXPECT_EQ(run.attempt.params_of(run.task("+a^error")).origins().of("/error/message"), dig::Origin::data);
}

// decisions L-16
TEST(StoredTask, AnUnansweredRetryIsAskedForAgainAndAnAnswerIsKept) {
  AttemptOf run(R"(
    +g:
      _retry: ${n}
      +a: {sh>: a}
  )");
  run.finish("+g+a", failure("no"));
  leave_memory(run);
  EXPECT_EQ(run.wanted(), R"(evaluate +g "${n}")");
  run.apply(RetryEvaluated{run.task("+g"), Value(1)});
  EXPECT_EQ(native_of(run, "+g"), R"({"retry":1})");
  leave_memory(run);
  run.wait(0);
  EXPECT_EQ(run.wanted(), "run +g+a");
}

TEST(StoredTask, AGroupThatACrashLeftUnsettledIsSettled) {
  AttemptOf run("+g: {+a: {sh>: x}}");
  auto rows = rows_of(run.attempt);
  rows[2].state = TaskState::success;
  const Restored restored = come_back(run, rows);
  EXPECT_EQ(restored.outcome.changed, (std::vector<TaskIndex>{0, 1}));
  EXPECT_TRUE(restored.outcome.finished);
  EXPECT_TRUE(restored.attempt.success());
}

TEST(StoredTask, AMomentBetweenTransactionsOfTheOriginalGoesOn) {
  AttemptOf run(R"(
    +a: {sh>: x}
    +b: {sh>: y}
  )");
  auto rows = rows_of(run.attempt);
  rows[1].state = TaskState::ready;
  rows[1].started_at.reset();
  Restored restored = come_back(run, rows);
  ASSERT_EQ(restored.outcome.effects.size(), 1U);
  EXPECT_EQ(std::get<engine::Run>(restored.outcome.effects[0]).task, 1);
  rows[1].state = TaskState::success;
  restored = come_back(run, rows);
  ASSERT_EQ(restored.outcome.effects.size(), 1U);
  EXPECT_EQ(std::get<engine::Run>(restored.outcome.effects[0]).task, 2);
}

TEST(StoredTask, AnAttemptThatNeverStartedWaitsForItsStart) {
  AttemptOf run("+a: {sh>: x}", AttemptOf::Given{.start = false});
  Restored restored = come_back(run, rows_of(run.attempt));
  EXPECT_TRUE(restored.outcome.changed.empty());
  EXPECT_EQ(restored.attempt.start(run.now).effects.size(), 1U);
}

TEST(StoredTask, TheMonitorComesBackUntilItWasDue) {
  AttemptOf run(R"(
    sla: {duration: "00:00:30", fail: true}
    +a: {sh>: x}
  )");
  ASSERT_TRUE(run.attempt.monitor());
  EXPECT_EQ(to_json(run.attempt.monitor()->config), R"({"duration":"00:00:30","fail":true})");
  EXPECT_EQ(run.attempt.monitor()->next_run_time, test_start.seconds() + 30);
  leave_memory(run);
  run.wait(30);
  EXPECT_EQ(run.wanted(), "run ^sla^alert, run ^sla^fail");
  EXPECT_FALSE(run.attempt.monitor());
}

// execution 18.2
TEST(StoredTask, AMonitorThatWasStoredBeforeTheStartKeepsItsTime) {
  const dig::Workflow workflow =
      dig::workflow_of("w", dig::load_yaml("sla: {duration: '00:10'}\n+a: {sh>: x}\n", dig::Source{".", ".", "w.dig"}), "w.dig");
  Attempt attempt(dig::compile(workflow), Params(), TimeZone(), {});
  attempt.count_sla_from(test_start.plus_seconds(-300));
  const auto start_again = [&](const std::optional<StoredMonitor>& monitor) {
    Restored restored = Attempt::restore(StoredAttempt{7, false, monitor, {}}, rows_of(attempt), Params(), TimeZone(), {}, test_start);
    restored.attempt.start(test_start);
    return restored.attempt.next_tick();
  };
  EXPECT_EQ(start_again(attempt.monitor()), test_start.plus_seconds(300));
  EXPECT_EQ(start_again(std::nullopt), std::nullopt) << "of a backfill";
}

// ---- Rows that make no sense ---------------------------------------------------------------------------------------------

TEST(StoredTask, RowsThatContradictEachOtherAreRefusedByName) {
  AttemptOf run(R"(
    +a: {sh>: x}
    +b: {sh>: y}
  )");
  const auto rows = rows_of(run.attempt);
  const auto with = [&](auto change) {
    auto broken = rows;
    change(broken);
    return message_of(broken);
  };
  const std::string task = "attempt 7 cannot be continued: task 102 (+w+b) ";
  EXPECT_EQ(with([](auto& r) { r[2].parent_id = 99; }), task + "has the parent 99, which is none of the tasks before it");
  EXPECT_EQ(with([](auto& r) { r[2].parent_id = 102; }), task + "has the parent 102, which is none of the tasks before it");
  EXPECT_EQ(with([](auto& r) { r[2].parent_id.reset(); }), task + "has no parent but is not the first one");
  EXPECT_EQ(with([](auto& r) { r[2].state = static_cast<TaskState>(12); }), task + "has the unknown state 12");
  EXPECT_EQ(with([](auto& r) { r[2].flags = 64; }), task + "has the unknown flags 64");
  EXPECT_EQ(with([](auto& r) { r[2].upstreams = {100}; }), task + "has the upstream 100, which is no sibling");
  EXPECT_EQ(with([](auto& r) { r[2].parent_id = 101; }), task + "has the parent +w+a");
  EXPECT_EQ(with([](auto& r) { r[1].full_name = "+w"; }), "attempt 7 cannot be continued: task 101 (+w) has the parent +w");
  EXPECT_EQ(with([](auto& r) { r[2].native = json(R"({"lease": "x"})"); }), task + "has a native state with a wrong `lease`");
  EXPECT_EQ(with([](auto& r) { r[2].is_group = true, r[2].state = TaskState::running; }), task + "is a group and running");
  EXPECT_EQ(message_of({}), "attempt 7 cannot be continued: it has no tasks");
  EXPECT_THROW(state_of_code(10), Error);
  EXPECT_EQ(state_of_code(6), TaskState::group_error);
}

// ---- Lost agents ---------------------------------------------------------------------------------------------------------

// decisions E-45
TEST(LostAgent, TheTaskRunsAgainWithTheNextLeaseAndFailsAfterTenInARow) {
  AttemptOf run("+a: {sh>: x, _error: {echo>: y}}");
  const TaskIndex task = run.task("+a");
  for (int i = 1; i < 10; ++i) {
    run.apply(Lost{task, run.attempt.lease(task)});
    EXPECT_EQ(run.wanted(), "run +a");
  }
  EXPECT_EQ(native_of(run, "+a"), R"({"lease":10,"lost":9})");
  leave_memory(run);
  run.finish_lease(task, 9, success);
  EXPECT_TRUE(run.changed_nothing());
  run.apply(Lost{task, 10});
  EXPECT_EQ(run.error("+a"), R"error({"message":"Task lost its agent 10 times (agent lost)","stacktrace":""})error");
  EXPECT_EQ(run.wanted(), "run +a^error");
}

TEST(LostAgent, ARunThatAnsweredInBetweenBeginsTheCountAnew) {
  AttemptOf run("+a: {sh>: x}", AttemptOf::Given{.options = {.max_lost_runs = 2}});
  const TaskIndex task = run.task("+a");
  run.apply(Lost{task, 1});
  run.finish("+a", later(5));
  run.wait(5);
  run.apply(Lost{task, 3});
  EXPECT_EQ(run.state("+a"), "running");
}

// decisions E-31
TEST(LostAgent, AKilledRunIsCanceledOrCleanedUp) {
  AttemptOptions options;
  options.has_cleanup = [](std::string_view type) { return type == "job"; };
  AttemptOf run(R"(
    _parallel: true
    +a: {sh>: x}
    +b: {job>: y}
  )",
                AttemptOf::Given{.options = options});
  run.kill();
  run.apply(Lost{run.task("+a"), 1});
  EXPECT_EQ(run.state("+a"), "canceled");
  run.apply(Lost{run.task("+b"), 1});
  EXPECT_EQ(run.wanted(), "clean +b");
  EXPECT_EQ(native_of(run, "+b"), R"({"lease":2,"cleanup":true})");
  run.apply(Lost{run.task("+b"), 2});
  EXPECT_EQ(run.state("+b"), "canceled");
}

// ---- Archive -------------------------------------------------------------------------------------------------------------

// execution 15.4
TEST(TaskArchive, HasTheKeysOfTheOriginalInItsOrder) {
  AttemptOf run("+a: {echo>: x}");
  run.finish("+a", stores(R"({"k": "é"})"));
  const std::string archive = to_archive(4, rows_of(run.attempt));
  EXPECT_EQ(
      archive.substr(archive.find("},{") + 2),
      R"({"subtaskConfig":{},"exportParams":{},"resetStoreParams":[],"storeParams":{"k":"é"},"report":{"inputs":[],"outputs":[]},"error":{},"resumingTaskId":null,)"
      R"("id":101,"attemptId":4,"upstreams":[],"updatedAt":"2026-01-02T03:04:05Z","retryAt":null,"startedAt":"2026-01-02T03:04:05Z","stateParams":{},"retryCount":0,"parentId":100,)"
      R"("fullName":"+w+a","config":{"local":{"echo>":"x"},"export":{}},"taskType":0,"state":"success","stateFlags":8}])");
  EXPECT_EQ(from_archive(archive), rows_of(run.attempt));
}

TEST(TaskArchive, OfOlderReleasesLacksSomeKeys) {
  const auto tasks = from_archive(R"([{"id":1,"fullName":"+w","state":"success","taskType":1,"unknown":1}])");
  ASSERT_EQ(tasks.size(), 1U);
  EXPECT_EQ(tasks[0].full_name, "+w");
  EXPECT_EQ(tasks[0].retry_count, 0);
  EXPECT_THROW(from_archive(R"([{"id":1,"fullName":"+w","state":"strange"}])"), Error);
  EXPECT_THROW(from_archive("{}"), Error);
}

// ---- Resume --------------------------------------------------------------------------------------------------------------

std::string names_of(const ResumedTasks& resumed) {
  std::string text;
  for (const auto& [name, task] : resumed) text += (text.empty() ? "" : " ") + name;
  return text;
}
std::string problem_of(std::string_view pattern, const std::vector<StoredTask>& rows) {
  try {
    resume_from(pattern, rows);
    return "";
  } catch (const Error& error) {
    return error.message_with_kind();
  }
}

// decisions E-20; execution 32.53
TEST(ResumeSource, TheNewestRowOfANameDecides) {
  AttemptOf run(R"(
    +g:
      _retry: 1
      +a: {sh>: a}
      +b: {sh>: b}
  )");
  run.finish("+g+a");
  run.finish("+g+b", failure("no"));
  run.wait(0);
  run.finish("+g+a", failure("this time"));
  EXPECT_EQ(names_of(resume_failed(rows_of(run.attempt))), "");
}

// decisions E-22
TEST(ResumeSource, LeavesOutWhatIsBelowAFailureBeforeAnEmptyTry) {
  AttemptOf run(R"(
    +a:
      sh>: a
      _check:
        _retry: 1
        +b:
          sh>: b
          _check:
            +c: {sh>: c}
            +d: {sh>: d}
    +z: {sh>: z}
  )");
  run.finish("+a");
  run.finish("+a^check+b");
  run.finish("+a^check+b^check+c");
  run.finish("+a^check+b^check+d", failure("no"));
  run.wait(0);
  run.finish("+z", failure("no"));
  EXPECT_EQ(names_of(resume_failed(rows_of(run.attempt))), "+w+a +w+a^check");
}

// execution 32.47
TEST(ResumeSource, TakesWhatSucceeded) {
  AttemptOf run(R"(
    +a: {sh>: a}
    +l: {loop>: 2}
    +c: {sh>: c}
  )");
  run.finish("+a", stores(R"({"k": 1})"));
  run.finish("+l", generates(R"({"+x": {"sh>": 1}, "+y": {"sh>": 1}})"));
  run.finish("+l^sub+x");
  run.finish("+l^sub+y", failure("no"));
  const ResumedTasks resumed = resume_failed(rows_of(run.attempt));
  EXPECT_EQ(names_of(resumed), "+w+a +w+l^sub+x");
  EXPECT_EQ(to_json(resumed.at("+w+a").store_params), R"({"k":1})");
  EXPECT_EQ(resumed.at("+w+a").source_task_id, 101);
  EXPECT_EQ(names_of(for_generated_tasks(resumed)), "+w+l^sub+x");
}

// execution 16.2
TEST(ResumeSource, AnAttemptThatSucceededIsRefused) {
  AttemptOf run("+a: {sh>: a}");
  run.finish("+a");
  EXPECT_THROW(resume_failed(rows_of(run.attempt)), Error);
}

// execution 16.3, 32.48
TEST(ResumeSource, FromATaskTakesAllThatStandsBeforeIt) {
  AttemptOf run(R"(
    +a: {+x: {sh>: x}}
    +b:
      +p: {sh>: p}
      +q: {sh>: q}
    +c: {sh>: c}
  )");
  run.finish("+a+x");
  run.finish("+b+p");
  run.finish("+b+q", failure("no"));
  const auto rows = rows_of(run.attempt);
  EXPECT_EQ(names_of(resume_from("+q", rows)), "+w+a +w+a+x +w+b+p");
  EXPECT_EQ(names_of(resume_from("+w", rows)), "");
  EXPECT_EQ(problem_of("+c", rows), "Resuming non-successful tasks is not allowed: task_id=103 (+w+b) (illegal resume)");
  EXPECT_EQ(problem_of("+nope", rows), "Task pattern '+nope' doesn't match with any tasks. (no match)");
  EXPECT_EQ(problem_of("++q", rows), "Match patterns excepting direct child (+name+name) is not supported: ++q (syntax)");
}

TEST(ResumeSource, ANewAttemptKeepsIdsAndTimesOfItsSource) {
  AttemptOf run(R"(
    +a: {sh>: a}
    +b: {sh>: b}
  )");
  run.finish("+a");
  run.finish("+b", failure("no"));
  AttemptOf again(R"(
    +a: {sh>: a}
    +b: {sh>: b}
  )",
                  AttemptOf::Given{.resumed = resume_failed(rows_of(run.attempt)), .start = false});
  again.now = run.now.plus_seconds(60);
  again.attempt.start(again.now);
  const auto rows = rows_of(again.attempt);
  EXPECT_EQ(rows[1].resuming_task_id, 101);
  EXPECT_EQ(rows[1].updated_at, run.now);
  EXPECT_FALSE(rows[1].started_at);
  EXPECT_FALSE(rows[2].resuming_task_id);
}

}  // namespace
}  // namespace digdag::engine
