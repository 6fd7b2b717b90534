#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "operators/task_test.h"

namespace digdag::operators {
namespace {

using engine::AttemptStarter;
using Found = AttemptStarter::Found;
using testing::HasSubstr;

/// Answers what it was told to, and remembers what was asked.
class Starter : public AttemptStarter {
 public:
  Answer start(const Request& request) override {
    requests.push_back(request);
    Answer answer = answers.front();
    if (answers.size() > 1) answers.pop_front();
    return answer;
  }
  void kill(std::int64_t attempt_id) override { killed.push_back(attempt_id); }
  std::deque<Answer> answers;
  std::vector<Request> requests;
  std::vector<std::int64_t> killed;
};

struct RequireTask {
  explicit RequireTask(std::string_view yaml, std::string_view inherited = "{session_time: '2026-01-02T00:00:00+00:00'}")
      : task(yaml, inherited) {
    task.context.attempts = &starter;
  }
  TaskOf& run(AttemptStarter::Answer answer) {
    starter.answers = {std::move(answer)};
    return task.run();
  }
  Starter starter;
  TaskOf task;
};

Found running(std::int64_t attempt) { return {.session_id = 7, .attempt_id = attempt}; }
Found succeeded(std::int64_t attempt) { return {.session_id = 7, .attempt_id = attempt, .done = true, .success = true}; }
Found failed(std::int64_t attempt) { return {.session_id = 7, .attempt_id = attempt, .done = true}; }

// operators 14.56
TEST(Require, StartsTheOtherWorkflowAndWaitsForIt) {
  RequireTask require("{require>: child, params: {a: 1}}", "{session_time: '2026-01-02T00:00:00+00:00', b: 2}");
  EXPECT_EQ(require.run(Found{.session_id = 7, .attempt_id = 9, .created = true}).subtasks(), "later: 1000 ms");
  const auto& request = require.starter.requests.at(0);
  EXPECT_EQ(request.workflow, "child");
  EXPECT_EQ(format_instant(request.session_time), "2026-01-02T00:00:00Z");
  EXPECT_EQ(to_json(request.params), R"({"a":1})");
  EXPECT_EQ(request.requiring_attempt, 1);
  EXPECT_FALSE(request.project_id || request.project_name || request.retry_attempt_name);
  EXPECT_EQ(to_json(require.task.context.state), R"({"target_session_id":7,"target_attempt_id":9,"require_kicked":true,"retry":1})");
  EXPECT_EQ(require.run(running(9)).subtasks(), "later: 2000 ms");
  for (const char* interval : {"4000", "8000", "10000", "10000"})
    EXPECT_EQ(require.run(running(9)).subtasks(), "later: " + std::string(interval) + " ms");
  EXPECT_TRUE(require.run(succeeded(9)).succeeded());
}

TEST(Require, IsWokenByTheEndOfTheOther) {
  RequireTask require("require>: child");
  require.run(Found{.session_id = 7, .attempt_id = 9, .created = true});
  ASSERT_NE(require.task.later(), nullptr);
  EXPECT_EQ(require.task.later()->wakes_after, 9);
}

TEST(Require, AKillReachesWhatItStartedWhereToldSo) {  // decisions O-13
  for (const auto& [yaml, found, killed] : std::vector<std::tuple<std::string, Found, std::vector<std::int64_t>>>{
           {"{require>: child, propagate_kill: true}", {.session_id = 7, .attempt_id = 9, .created = true}, {9}},
           {"{require>: child, propagate_kill: true}", running(9), {}},  // somebody else started it
           {"require>: child", {.session_id = 7, .attempt_id = 9, .created = true}, {}},
       }) {
    RequireTask require(yaml);
    require.run(found);
    find_operator("require")->make()->cleanup(require.task.context);
    EXPECT_EQ(require.starter.killed, killed) << yaml;
  }
}

// operators 14.51, 14.52
TEST(Require, AFailureOfTheOtherIsItsOwn) {
  RequireTask require("require>: child");
  EXPECT_EQ(require.run(failed(9)).failure, "Dependent workflow failed. Session id: 7, attempt id: 9");
  RequireTask ignoring("{require>: child, ignore_failure: true}");
  EXPECT_TRUE(ignoring.run(failed(9)).succeeded());
}

// operators 14.49, 14.50, 14.57
TEST(Require, RerunsWhatWasDoneBefore) {
  for (const char* option : {"all", "failed"}) {
    RequireTask require("{require>: child, rerun_on: " + std::string(option) + "}");
    EXPECT_EQ(require.run(failed(9)).subtasks(), "later: 1000 ms") << option;
    require.run(Found{.session_id = 7, .attempt_id = 10, .created = true});
    const auto name = require.starter.requests.back().retry_attempt_name;
    ASSERT_TRUE(name);
    EXPECT_EQ(name->size(), 36u);
    EXPECT_EQ(require.run(failed(10)).failure, "Dependent workflow failed. Session id: 7, attempt id: 10");
    EXPECT_EQ(require.starter.requests.back().retry_attempt_name, name);
  }
  RequireTask without("require>: child");
  EXPECT_TRUE(without.run(succeeded(9)).succeeded());
  ASSERT_EQ(without.starter.requests.size(), 1u);
  EXPECT_FALSE(without.starter.requests[0].retry_attempt_name) << "would be another attempt";
  RequireTask unneeded("{require>: child, rerun_on: failed}");
  EXPECT_TRUE(unneeded.run(succeeded(9)).succeeded());
  RequireTask all("{require>: child, rerun_on: all}");
  EXPECT_EQ(all.run(succeeded(9)).subtasks(), "later: 1000 ms");
  EXPECT_EQ(RequireTask("{require>: child, rerun_on: maybe}").run(succeeded(9)).failure, "invalid rerun_on option:maybe (config)");
}

// operators 14.54, 14.59
TEST(Require, ProjectAndRetryNameAreReadFromTheTaskOnly) {
  RequireTask inherited("require>: child", "{session_time: '2026-01-02T00:00:00Z', project_id: 5, retry_attempt_name: r}");
  inherited.run(succeeded(9));
  EXPECT_FALSE(inherited.starter.requests.at(0).project_id);
  EXPECT_FALSE(inherited.starter.requests.at(0).retry_attempt_name);
  RequireTask own("{require>: child, project_id: 5, retry_attempt_name: r}");
  own.run(succeeded(9));
  EXPECT_EQ(own.starter.requests.at(0).project_id, 5);
  EXPECT_EQ(own.starter.requests.at(0).retry_attempt_name, "r");
  RequireTask named("{require>: child, project_name: p}");
  EXPECT_TRUE(named.run(succeeded(9)).succeeded());
  EXPECT_EQ(named.starter.requests.at(0).project_name, "p");
  EXPECT_EQ(RequireTask("{require>: child, project_id: 5, project_name: p}").run(succeeded(9)).failure,
            "Both project_id and project_name can't be set (config)");
}

// operators 14.53
TEST(Require, MissingAndRefusedWorkflowsAreNamed) {
  EXPECT_EQ(RequireTask("require>: nope").run(AttemptStarter::Missing{{}}).failure,
            "Dependent workflow does not exist. projectId: 1, workflowName:nope");
  EXPECT_EQ(RequireTask("{require>: nope, project_name: p}").run(AttemptStarter::Missing{{}}).failure,
            "Dependent workflow does not exist. projectName: p, workflowName:nope");
  EXPECT_EQ(RequireTask("require>: w").run(AttemptStarter::Refused{"Too many attempts running. Limit: 1, Current: 1"}).failure,
            "Too many attempts running. Limit: 1, Current: 1");
}

TEST(Require, SaysWhichTaskOfTheOtherFailedAndWhy) {
  RequireTask require("require>: child");
  require.run(Found{.session_id = 7, .attempt_id = 9, .created = false, .done = true, .success = false, .failure = "+child+load: no file"});
  EXPECT_EQ(require.task.failure, "Dependent workflow failed. Session id: 7, attempt id: 9");
  EXPECT_EQ(require.task.hint, "workflow child failed at +child+load: no file");
}

TEST(Require, SuggestsTheNamesOfOtherWorkflows) {
  RequireTask require("require>: lod");
  EXPECT_EQ(require.run(AttemptStarter::Missing{{"load", "unlike"}}).hint, "did you mean load?");
  EXPECT_EQ(require.run(AttemptStarter::Missing{{"unlike"}}).hint, "");
}

TEST(Require, ItselfIsNotWaitedFor) {
  EXPECT_EQ(RequireTask("require>: main").run(running(1)).failure, "Workflow 'main' requires itself for the same session");
}

// operators 14.58
TEST(Require, AnotherSessionTimeMayBeWritten) {
  RequireTask require("{require>: child, session_time: '2026-02-01T00:00:00+09:00'}");
  require.run(succeeded(9));
  EXPECT_EQ(format_instant(require.starter.requests.at(0).session_time), "2026-01-31T15:00:00Z");
  EXPECT_THAT(RequireTask("{require>: child, session_time: '2026-02-01'}").run(succeeded(9)).failure,
              HasSubstr("for key 'session_time' but got \"2026-02-01\" (string)"));
}

TEST(Require, ContinuesWhatTheOriginalLeft) {
  RequireTask require("require>: child");
  require.task.context.state = parse_json(R"({"task_finish_success":false,"target_session_id":3,"target_attempt_id":4})");
  EXPECT_EQ(require.task.run().failure, "Dependent workflow failed. Session id: 3, attempt id: 4");
  require.task.context.state = parse_json(R"({"task_finish_success":true})");
  EXPECT_TRUE(require.task.run().succeeded());
  EXPECT_TRUE(require.starter.requests.empty());
}

}  // namespace
}  // namespace digdag::operators
