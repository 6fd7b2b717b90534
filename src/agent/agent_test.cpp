#include "agent/agent.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <thread>

#include "agent/failure.h"
#include "agent/runtime_params.h"
#include "agent/task_log.h"
#include "agent/workspaces.h"
#include "base/file.h"
#include "base/gate_for_test.h"
#include "base/json.h"
#include "base/temporary_directory_for_test.h"
#include "dig/loader.h"
#include "dig/script_worker.h"
#include "store/database.h"

namespace digdag::agent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

class NoStarter : public engine::AttemptStarter {
 public:
  Answer start(const Request&) override { return Missing{}; }
  void kill(std::int64_t) override {}
};

/// An agent in a project directory of its own, its log, and the ends that it reports.
class AgentTest : public testing::Test {
 protected:
  AgentTest() {
    std::filesystem::create_directory(project);
    options.workspaces = &workspaces;
    options.system = &system;
    options.secrets = [this](std::int64_t, std::string_view key) {
      const auto found = secrets.find(std::string(key));
      return found == secrets.end() ? std::nullopt : std::optional(found->second);
    };
    Log::Options log_options;
    log_options.file = root / "log";
    log = std::make_unique<Log>(log_options);
  }

  RunRequest request(const std::string& yaml, const std::string& inherited = "{}") {
    RunRequest made;
    made.attempt = 1;
    made.task = next_task++;
    made.lease = 1;
    made.local = dig::load_yaml(yaml, {project, project, "main.dig"});
    made.params = engine::Params().with(dig::load_yaml(inherited, {project, project, "main.dig"}));
    made.identity.project_id = made.identity.session_id = made.identity.attempt_id = 1;
    made.identity.project_name = "default";
    made.identity.workflow_name = "main";
    made.identity.task_name = "+main+t" + std::to_string(made.task);
    made.identity.session_uuid = "11111111-2222-4333-8444-555555555555";
    made.identity.session_time = *parse_instant("2026-01-02T03:04:05Z");
    made.position = {.line = 4, .column = 1, .file = file_id("main.dig")};
    return made;
  }

  void start() {
    agent = std::make_unique<Agent>(
        options, *log, templates, commands, attempts,
        [this](const RunRequest& of, RunEnd end) {
          const std::lock_guard lock(mutex);
          if (on_end) on_end();
          ends[of.task].push_back(std::move(end));
          reported.notify_all();
        },
        [this](const RunRequest& of, Value evaluated) {
          const std::lock_guard lock(mutex);
          limits[of.task] = to_json(evaluated);
        });
  }
  engine::TaskIndex submit(RunRequest made) {
    if (!agent) start();
    const engine::TaskIndex task = made.task;
    agent->run(std::move(made));
    return task;
  }
  RunEnd end_of(engine::TaskIndex task) {
    std::unique_lock lock(mutex);
    EXPECT_TRUE(reported.wait_for(lock, std::chrono::seconds(20), [&] { return !ends[task].empty(); })) << "no end of task " << task;
    return ends[task].empty() ? RunEnd(RunFailed{.error = {}, .retry = {}, .cause = task_error("no end"), .last_output = {}})
                              : ends[task].front();
  }
  RunEnd run(RunRequest made) { return end_of(submit(std::move(made))); }
  RunEnd run(const std::string& yaml, const std::string& inherited = "{}") { return run(request(yaml, inherited)); }
  RunFailed failure(RunEnd end) {
    EXPECT_TRUE(std::holds_alternative<RunFailed>(end));
    if (auto* failed = std::get_if<RunFailed>(&end)) return *failed;
    return {.error = {}, .retry = {}, .cause = task_error("did not fail"), .last_output = {}};
  }
  std::string message(RunEnd end) { return failure(std::move(end)).cause.message_with_kind(); }

  /// Whether a command with this `_kill_grace` is asked to end when the agent shuts down, and gets the time to do so.
  bool may_end_itself_at_shutdown(std::optional<std::int64_t> grace) {
    RunRequest made = request("sh>: \"trap 'touch goodbye; exit 0' TERM; " + started.arrive() + "; while true; do sleep 0.05; done\"");
    made.kill_grace_seconds = grace;
    const auto task = submit(std::move(made));
    started.await();
    agent->shutdown();
    EXPECT_EQ(message(end_of(task)), "killed");
    return std::filesystem::exists(project / "goodbye");
  }

  std::string log_text() {
    log->flush();
    return read_file(root / "log");
  }
  /// What the tasks print goes to the standard output of this program.
  template <typename Step>
  std::string printed(Step step) {
    log->flush();
    testing::internal::CaptureStdout();
    step();
    log->flush();
    return testing::internal::GetCapturedStdout();
  }

  const TemporaryDirectory root;
  const std::filesystem::path project = root / "project";
  Gate started{root / "started"}, go_on{root / "go_on"};
  const std::string held = "sh>: '" + started.arrive() + "; " + go_on.pass() + "'";  ///< a task that says that it runs, and waits
  SystemConfig system;
  std::map<std::string, std::string> secrets;
  AgentOptions options;
  ProjectDirectory workspaces{project, {}};
  std::unique_ptr<Log> log;
  dig::ScriptWorker worker;
  dig::TemplateEngine templates{worker, {}};
  command::CommandRunner commands;
  NoStarter attempts;
  std::function<void()> on_end;  ///< called with each end, before the test hears of it
  engine::TaskIndex next_task = 1;

  std::mutex mutex;
  std::condition_variable reported;
  std::map<engine::TaskIndex, std::vector<RunEnd>> ends;
  std::map<engine::TaskIndex, std::string> limits;  ///< told before the end of the run
  std::unique_ptr<Agent> agent;
};

TEST_F(AgentTest, RunsATaskWithItsTemplatesEvaluated) {
  EXPECT_EQ(printed([&] { EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run("echo>: ${who} at ${session_date}", "{who: me}"))); }),
            "me at 2026-01-02\n");
  EXPECT_THAT(log_text(), HasSubstr("@[0:default:1:1]+main+t1): echo>: me at 2026-01-02\n"));
}

// execution 32.39
TEST_F(AgentTest, NoParameterHidesWhatTheAttemptIs) {
  const std::string params = "{session_time: mine, session_date: mine, attempt_id: mine, task_name: mine, timezone: mine}";
  EXPECT_EQ(printed([&] { run("echo>: ${session_time} ${session_date} ${attempt_id} ${task_name} ${timezone}", params); }),
            "2026-01-02T03:04:05+00:00 2026-01-02 1 +main+t1 UTC\n");
}

TEST_F(AgentTest, TellsTimeLimitsThatItHadToEvaluate) {  // decisions E-33
  run("{echo>: 1, _timeout: {limit: '${n}m', grace: 5}, _kill_grace: 3, _error_on_cancel: '${n > 1}'}", "{n: 2}");
  EXPECT_EQ(limits[1], R"({"_timeout":{"limit":"2m","grace":5},"_error_on_cancel":"true"})");
  run("{echo>: 1, _timeout: 3, _kill_grace: never}");
  EXPECT_FALSE(limits.contains(2));
}

TEST_F(AgentTest, ATimeLimitThatCannotBeReadFailsTheTask) {  // decisions E-33
  const RunFailed failed = failure(run("echo>: 1\n_timeout: ${n}", "{n: soon}"));
  EXPECT_EQ(failed.cause.message_with_kind(), "Invalid _timeout: \"soon\" (config)");
  EXPECT_EQ(to_string(failed.cause.position()), "main.dig:2:1");
  EXPECT_EQ(failed.cause.hint_text(), "write seconds, or a duration like `30m` or `1h 30m`");
  EXPECT_EQ(message(run("{echo>: 1, _kill_grace: foo}")), "Invalid _kill_grace: \"foo\" (config)");
  EXPECT_THAT(message(run("{echo>: 1, _error_on_cancel: maybe}")), HasSubstr("for key '_error_on_cancel'"));
}

TEST_F(AgentTest, AnnouncesLaterPollsOnlyNowAndThen) {
  auto later = [&](std::int64_t retry_count, std::int64_t minutes_ago) {
    RunRequest made = request("echo>: poll " + std::to_string(retry_count) + " of " + std::to_string(minutes_ago));
    made.retry_count = retry_count;
    made.started_at = now().plus_seconds(-60 * minutes_ago);
    run(std::move(made));
  };
  printed([&] {
    later(10, 29);
    later(10, 31);
    later(11, 31);
  });
  EXPECT_THAT(log_text(), testing::AllOf(HasSubstr("poll 10 of 31"), Not(HasSubstr("poll 10 of 29")), Not(HasSubstr("poll 11"))));
}

TEST_F(AgentTest, AnnouncesCommandsThatAreNoScalarsInJavasForm) {
  run("{for_each>: {v: [1, x]}, _do: {echo>: x}}");
  printed([&] { run("{_type: echo, _command: via}"); });
  EXPECT_THAT(log_text(), HasSubstr("): for_each>: {v=[1, x]}\n"));
  EXPECT_THAT(log_text(), HasSubstr("): type: echo\n"));
}

TEST_F(AgentTest, ATaskWithoutOperatorSucceeds) { EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run("{x: 1}"))); }

TEST_F(AgentTest, GivesSubtasksAndStoredParameters) {
  const RunEnd end = run("{loop>: 1, _do: {echo>: '${i}'}}");
  EXPECT_EQ(to_json(std::get<RunSucceeded>(end).result.subtask_config), R"({"+loop-0":{"echo>":"${i}","_export":{"i":0}}})");
}

// execution 32.26
TEST_F(AgentTest, FailuresAreLoggedAsTheOriginalDoes) {
  EXPECT_EQ(to_json(failure(run("fail>: boom")).error), R"({"message":"boom"})");
  EXPECT_THAT(log_text(), HasSubstr("@[0:default:1:1]+main+t1): Task +main+t1 failed.\nboom\n"));
  EXPECT_EQ(to_json(failure(run("echo>: [1]")).error),
            R"_({"message":"Expected string type for key '_command' but got [1] (array) (config)","stacktrace":""})_");
  EXPECT_THAT(log_text(),
              HasSubstr("): Configuration error at task +main+t2: Expected string type for key '_command' but got [1] (array) (config)"));
  EXPECT_EQ(message(run("sh>: exit 3")), "Command failed with code 3 (runtime)");
  EXPECT_THAT(log_text(), HasSubstr("): Task failed with unexpected error: Command failed with code 3 (runtime)"));
  EXPECT_THAT(log_text(), Not(HasSubstr("at io.digdag")));
}

TEST_F(AgentTest, AFailureKnowsItsPlaceAndTheLastOutput) {
  const RunFailed failed = failure(run("sh>: echo first; echo last; exit 1"));
  EXPECT_EQ(failed.last_output, "first\nlast\n");
  EXPECT_TRUE(failed.cause.position().known());
  EXPECT_EQ(to_string(failure(run("fail>: x")).cause.position()), "main.dig:4:1");
}

// operators 14.3, execution 32.23
TEST_F(AgentTest, AnUnknownOperatorIsAnnouncedAndFails) {
  EXPECT_EQ(to_json(failure(run("nosuch>: 1")).error), R"_({"message":"Unknown task type: nosuch (config)","stacktrace":""})_");
  EXPECT_THAT(log_text(), HasSubstr("): nosuch>: 1\n"));
  EXPECT_EQ(failure(run("pg>: 1")).cause.hint_text(), "this version of digdag does not have pg> yet");
}

// execution 32.25
TEST_F(AgentTest, ABrokenTemplateFailsTheTaskBeforeItsOperator) {
  EXPECT_EQ(message(run("echo>: ${nosuch}")), "Failed to evaluate a variable ${nosuch} (ReferenceError: nosuch is not defined) (config)");
  const RunFailed failed = failure(run("{sh>: 'echo ${nope}', _retry: 3}"));
  EXPECT_THAT(failed.cause.message(), HasSubstr("Failed to evaluate a variable echo ${nope} (ReferenceError: nope is not defined)"));
  EXPECT_FALSE(failed.retryable);
  EXPECT_THAT(log_text(), HasSubstr("Configuration error at task +main+t2: Failed to evaluate"));
}

TEST_F(AgentTest, AHandlerLeavesOutInheritedParametersThatFail) {
  RunRequest made = request("echo>: hi", "{broken: '${nope}'}");
  made.lenient = true;
  printed([&] { EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run(std::move(made)))); });
  EXPECT_THAT(log_text(), HasSubstr("[WARN]"));
  EXPECT_THAT(message(run("echo>: hi", "{broken: '${nope}'}")), HasSubstr("nope is not defined"));
}

TEST_F(AgentTest, RetryAppliesToTheFailuresOfOperatorsThatHonourIt) {
  const RunFailed failed = failure(run("{sh>: exit 1, _retry: {limit: 2, interval: 5}}"));
  EXPECT_TRUE(failed.retryable);
  EXPECT_EQ(to_json(failed.retry), R"({"limit":2,"interval":5})");
  EXPECT_THAT(log_text(), HasSubstr("Task failed, retrying\n> Command failed with code 1"));
  EXPECT_FALSE(failure(run("{fail>: x, _retry: 2}")).retryable);
  EXPECT_FALSE(failure(run("sh>: exit 1")).retryable);
  EXPECT_TRUE(failure(run("{call>: none, _retry: '${n}'}", "{n: 2}")).retryable) << "also for a config error of the operator";
}

TEST_F(AgentTest, TheLastTryIsLoggedAsAFailure) {
  RunRequest made = request("{sh>: exit 1, _retry: 1}");
  made.state = Value::object({{"retry_count", 1}});
  run(std::move(made));
  EXPECT_THAT(log_text(), HasSubstr("Task failed with unexpected error: Command failed with code 1"));
}

// operators 14.15, 14.16
TEST_F(AgentTest, AWrongRetryFailsBeforeTheOperatorRuns) {
  EXPECT_EQ(message(run("{sh>: touch ran, _retry: true}")), "Invalid _retry format:true (config)");
  EXPECT_EQ(message(run("{sh>: touch ran, _retry: {limit: 1, interval_type: weird}}")), "Invalid retry_interval_type: weird (config)");
  EXPECT_FALSE(std::filesystem::exists(project / "ran"));
  EXPECT_EQ(message(run("{fail>: x, _retry: true}")), "x") << "an operator without retry does not look at it";
}

TEST_F(AgentTest, HandlersOfTheTaskAreNotEvaluated) {
  printed([&] {
    EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run("{echo>: x, _error: {echo>: '${error.message}'}, _check: {echo>: '${nope}'}}")));
  });
}

TEST_F(AgentTest, AnOwnOperatorGoesBeforeAnInheritedOne) {
  EXPECT_EQ(printed([&] { run("echo>: mine", "{'fail>': hijack}"); }), "mine\n");
  EXPECT_THAT(log_text(), HasSubstr("The inherited parameter 'fail>' names another operator than the task's 'echo>'"));
  EXPECT_EQ(printed([&] { run("echo>: mine", "{_type: fail, _command: other}"); }), "mine\n");
  RunRequest exported = request("{x: 1}", "{'fail>': far, 'echo>': near}");
  exported.own_export = Value::object({{"echo>", "near"}});
  EXPECT_EQ(printed([&] { run(std::move(exported)); }), "near\n");
  EXPECT_EQ(printed([&] { run("{x: 1}", "{'echo>': inherited}"); }), "inherited\n");
}

TEST_F(AgentTest, ANullOperatorHasNoCommandNotEvenAnInheritedOne) {
  EXPECT_EQ(message(run("echo>:", "{_command: old}")), "Parameter '_command' is required but not set (config)");
}

// operators 14.7, 14.8, 14.9
TEST_F(AgentTest, UnusedKeysAreNamed) {
  printed([&] {
    run("{echo>: x, colour: red, _retry: 1}");
    run("{wait>: 0s, pol_interval: 1s}");
    run("{sh>: 'true', colour: red}");
  });
  EXPECT_THAT(log_text(), HasSubstr("@[0:default:1:1]+main+t1): Parameter 'colour' is not used at task +main+t1.\n"));
  EXPECT_THAT(log_text(), HasSubstr("Parameter 'pol_interval' is not used at task +main+t2.\n"));
  EXPECT_THAT(log_text(), HasSubstr("  > Did you mean [poll_interval]?\n"));
  EXPECT_THAT(log_text(), Not(HasSubstr("+main+t3.")));
  EXPECT_THAT(log_text(), Not(HasSubstr("'_retry'")));
}

TEST_F(AgentTest, EnvironmentFromAnExportIsWarnedOf) {
  printed([&] { run("sh>: 'echo $X'", "{_env: {X: y}}"); });
  EXPECT_THAT(log_text(), HasSubstr("_env in _export has no effect"));
}

TEST_F(AgentTest, SecretsAreMaskedWhereverTheTaskShowsThem) {
  secrets = {{"db.password", "hunter2"}, {"long", "a-long-secret"}};
  const std::string output = printed([&] {
    const RunFailed failed = failure(run("sh>: echo '${secret:db.password} ${secret:long}'; exit 1"));
    EXPECT_THAT(failed.last_output, Not(HasSubstr("hunter2")));
  });
  EXPECT_THAT(output, Not(HasSubstr("hunter2")));
  EXPECT_THAT(output, HasSubstr("*** ***\n"));
  EXPECT_THAT(log_text(), Not(HasSubstr("a-long-secret")));
}

// decisions V-33
TEST_F(AgentTest, SecretsAreShownWhereTheConfigurationSaysSo) {
  secrets = {{"long", "a-long-secret"}};
  system.set("log-server.mask-secrets", "false");
  EXPECT_THAT(printed([&] { run("sh>: echo '${secret:long}'"); }), HasSubstr("a-long-secret\n"));
}

// execution 32.88
TEST_F(AgentTest, WhatStandsBelowARemountedSecretMovesWithIt) {
  secrets = {{"x.y.c", "moved"}, {"a.b.c", "in its place"}, {"a.d", "beside"}};
  const std::string script = "sh>: test '${secret:a.b.c} ${secret:a.d}' = ";
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run(script + "'moved beside'\n_secrets: {a: {b: x.y}}\n")));
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run(script + "'in its place beside'\n_secrets: {a: {b: true}}\n")));
}

// operators 14.20
TEST_F(AgentTest, SecretsAreRemountedButNotForEnv) {
  secrets = {{"far.key", "far value"}, {"near.key", "near value"}};
  const RunEnd end =
      run("sh>: test '${secret:near.key}' = 'far value' -a \"$V\" = 'near value'\n"
          "_env: {V: '${secret:near.key}'}\n"
          "_secrets: {near: far}\n");
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(end));
  EXPECT_EQ(message(run("{sh>: 'echo ${secret:a.b}', _secrets: {a: 1}}")), "Illegal value in _secrets: 1 (config)");
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(run("sh>: test -n \"${secret:near.key}\"\n_secrets: {a: 1}")))
      << "nothing of a.* is read";
  EXPECT_EQ(message(run("sh>: echo ${secret:none}")), "Secret not found for key: 'none' (secret not found)");
  EXPECT_EQ(message(run("sh>: echo ${secret:a..b}")), "Illegal key: 'a..b' (illegal argument)");
}

// operators 14.26
TEST_F(AgentTest, TheWorkspaceStaysInsideOfTheProject) {
  EXPECT_EQ(message(run("sh>: pwd", "{_workdir: ../x}")),
            "Working directory must not be outside of project path (" + project.string() + "): ../x (illegal argument)");
}

TEST_F(AgentTest, TooManyStoredParametersFailTheTask) {
  system.set("executor.max_params_size", "10");
  std::filesystem::create_directories(project);
  write_file_atomically(project / "t.py", "import digdag\ndef f():\n    digdag.env.store({'k': 'x' * 100})\n");
  EXPECT_THAT(message(run("{py>: t.f, python: python3}")), HasSubstr("parameters too large"));
}

TEST_F(AgentTest, ACommandHoldsNoThread) {
  std::vector<engine::TaskIndex> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(submit(request(held)));
  started.await(50);
  const auto threads = std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
  EXPECT_LT(threads, 20);
  go_on.let_through(50);
  for (const auto task : tasks) EXPECT_TRUE(std::holds_alternative<RunSucceeded>(end_of(task)));
}

// execution 32.71
TEST_F(AgentTest, AtMostSoManyTasksRunAtOnce) {
  options.max_task_threads = 2;
  std::vector<engine::TaskIndex> tasks;
  for (int i = 0; i < 5; ++i)
    tasks.push_back(submit(request("sh>: 'echo + >> log; " + started.arrive() + "; " + go_on.pass() + "; echo - >> log'")));
  started.await(2);
  for (int next = 2; next < 5; ++next) {
    go_on.let_through();
    started.await();
  }
  go_on.let_through(2);
  for (const auto task : tasks) EXPECT_TRUE(std::holds_alternative<RunSucceeded>(end_of(task)));
  int at_once = 0, most = 0;
  for (const char c : read_file(project / "log")) {
    at_once += c == '+' ? 1 : c == '-' ? -1 : 0;
    most = std::max(most, at_once);
  }
  EXPECT_EQ(most, 2);
}

TEST_F(AgentTest, AStoppedCommandIsKilled) {
  const auto task = submit(request("{" + held + ", _retry: 5}"));
  started.await();
  agent->stop(1, task, 2, 0);  // another lease
  agent->stop(1, task, 1, 5);
  const RunFailed failed = failure(end_of(task));
  EXPECT_EQ(failed.cause.message(), "killed");
  EXPECT_FALSE(failed.retryable);
}

TEST_F(AgentTest, ANegativeGraceLetsACommandEnd) {
  const auto task = submit(request(held));
  started.await();
  agent->stop(1, task, 1, -1);
  go_on.let_through();
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(end_of(task)));
}

TEST_F(AgentTest, ARunThatWaitsForItsTurnIsStoppedAtOnce) {
  options.max_task_threads = 1;
  const auto first = submit(request(held));
  const auto second = submit(request("sh>: touch second"));
  agent->stop(1, second, 1, 0);
  EXPECT_EQ(failure(end_of(second)).cause.message(), "killed");
  go_on.let_through();
  EXPECT_TRUE(std::holds_alternative<RunSucceeded>(end_of(first)));
  EXPECT_FALSE(std::filesystem::exists(project / "second"));
}

TEST_F(AgentTest, EveryRunIsReportedOnceHoweverStopsRace) {
  std::vector<engine::TaskIndex> tasks;
  start();
  std::vector<RunRequest> requests;
  for (int i = 0; i < 100; ++i)
    requests.push_back(request(i % 3 == 0 ? "sh>: sleep 0.01" : i % 3 == 1 ? "wait>: 1h" : "loop>: 3\n_do: {a>: 1}"));
  std::thread stopper([&] {
    for (engine::TaskIndex task = 1; task <= 100; ++task) {
      agent->stop(1, task, 1, 0);
      std::this_thread::sleep_for(std::chrono::microseconds(500));
    }
  });
  for (auto& made : requests) tasks.push_back(submit(std::move(made)));
  stopper.join();
  for (const auto task : tasks) end_of(task);
  agent.reset();
  for (const auto task : tasks) EXPECT_EQ(ends[task].size(), 1u) << task;
}

TEST_F(AgentTest, ShutdownStopsWhatRunsAndTakesNothingMore) {
  const auto task = submit(request(held));
  started.await();
  agent->shutdown();
  EXPECT_EQ(failure(end_of(task)).cause.message(), "killed");
  EXPECT_EQ(failure(run("echo>: late")).cause.message(), "killed");
}

TEST_F(AgentTest, ReadsTheSecretsOfTheProjectOfEachRun) {
  options.secrets = [](std::int64_t project_id, std::string_view key) { return std::string(key) + " of " + std::to_string(project_id); };
  RunRequest mine = request("sh>: echo ${secret:db.password} > mine"), theirs = request("sh>: echo ${secret:db.password} > theirs");
  theirs.identity.project_id = 2;
  for (RunRequest* made : {&mine, &theirs}) run(std::move(*made));
  EXPECT_EQ(read_file(project / "mine"), "db.password of 1\n");
  EXPECT_EQ(read_file(project / "theirs"), "db.password of 2\n");
}

TEST_F(AgentTest, ADatabaseThatIsAwayMakesTheTaskRunAgainAndNotFail) {
  options.secrets = [](std::int64_t, std::string_view) -> std::optional<std::string> {
    throw store::DatabaseError(store::DatabaseError::Cause::unavailable, "the connection was lost");
  };
  RunRequest made = request("sh>: echo ${secret:db.password}");
  made.state = Value::object({{"seen", 3}});
  const RunEnd end = run(std::move(made));
  ASSERT_TRUE(std::holds_alternative<RunLater>(end));
  EXPECT_EQ(to_json(std::get<RunLater>(end).state), R"({"seen":3})");
}

/// Workspaces that are counted, below the project.
class CountedWorkspaces : public Workspaces {
 public:
  explicit CountedWorkspaces(std::filesystem::path root) : root_(std::move(root)) {}
  std::unique_ptr<Workspace> workspace_for(const operators::TaskIdentity& task) override {
    return std::make_unique<Counted>(*this, root_ / task.task_name);
  }
  std::vector<std::string> made, gone;

 private:
  class Counted : public Workspace {
   public:
    Counted(CountedWorkspaces& all, std::filesystem::path directory) : all_(all), directory_(std::move(directory)) {}
    ~Counted() override { all_.gone.push_back(directory_.filename()); }
    const std::filesystem::path& directory() override {
      if (std::filesystem::create_directory(directory_)) all_.made.push_back(directory_.filename());
      return directory_;
    }
    operators::IoArea& io_area() override {
      if (!io_area_) io_area_ = std::make_unique<operators::IoArea>(directory(), operators::IoArea::Options{});
      return *io_area_;
    }

   private:
    CountedWorkspaces& all_;
    std::filesystem::path directory_;
    std::unique_ptr<operators::IoArea> io_area_;
  };
  const std::filesystem::path root_;
};

TEST_F(AgentTest, OnlyARunThatNeedsFilesGetsItsWorkspaceMade) {
  CountedWorkspaces counted(project);
  options.workspaces = &counted;
  run("echo>: needs none");
  run("{loop>: 3, _workdir: sub, _do: {a>: 1}}");
  EXPECT_THAT(counted.made, testing::IsEmpty());
  run("sh>: echo $PWD > file");
  EXPECT_THAT(counted.made, ElementsAre("+main+t3"));
  EXPECT_EQ(read_file(project / "+main+t3/file"), (project / "+main+t3").string() + "\n");
  EXPECT_THAT(message(run("{echo>: hi, _workdir: ../up}")),
              HasSubstr("Working directory must not be outside of project path (" + (project / "+main+t4").string() + "): ../up"));
}

TEST_F(AgentTest, AWorkspaceIsGoneAndTheTaskLogWholeWhenTheEndIsReported) {
  CountedWorkspaces counted(project);
  options.workspaces = &counted;
  const auto storage = store::local_log_storage(root / "logs");
  store::LogSpool logs({.directory = root / "logs/.spool", .agent_id = "a"}, *storage, *log);
  options.task_logs = &logs;
  RunRequest made = request("sh>: echo hi");
  const store::LogAttempt attempt = store::LogAttempt::of(made.identity);
  std::size_t gone = 0, files = 0;
  on_end = [&] {
    gone = counted.gone.size();
    files = storage->list(attempt, "+main").size();
  };
  run(std::move(made));
  EXPECT_EQ(gone, 1u);
  EXPECT_EQ(files, 1u);
}

// decisions E-30
TEST_F(AgentTest, EvenWhoNeverInterruptsIsAskedToEndAtShutdown) {
  options.kill_grace_seconds = -1;
  EXPECT_TRUE(may_end_itself_at_shutdown(std::nullopt));
}

// decisions 1, `_kill_grace`
TEST_F(AgentTest, TheGraceOfATaskGoesBeforeThatOfTheAgentAtShutdown) {
  options.kill_grace_seconds = 0;
  EXPECT_TRUE(may_end_itself_at_shutdown(60));
}

TEST_F(AgentTest, ATaskWithoutGraceIsKilledAtOnceAtShutdown) { EXPECT_FALSE(may_end_itself_at_shutdown(0)); }

TEST_F(AgentTest, ACleanupRunEndsWithTheRequest) {
  RunRequest made = request("sh>: touch ran");
  made.cleanup = true;
  EXPECT_EQ(message(run(std::move(made))), "Got a cancel-requested: attempt_id=1, task_id=0");
  EXPECT_FALSE(std::filesystem::exists(project / "ran"));
}

class SkipAll : public RunFilter {
 public:
  std::optional<Skip> before(const RunRequest& request) override {
    if (request.task != 1) return std::nullopt;
    return Skip{.result = {.store_params = Value::object({{"saved", 1}})}};
  }
  std::optional<Skip> evaluated(const RunRequest&, const Value& config) override {
    seen = to_json(*config.find("_command"));
    return Skip{.result = {}, .log_skipped = false};
  }
  std::string seen;
};

TEST_F(AgentTest, AFilterSkipsBeforeOrAfterEvaluation) {
  SkipAll filter;
  options.filter = &filter;
  const RunEnd saved = run("echo>: ${nope}");
  EXPECT_EQ(to_json(std::get<RunSucceeded>(saved).result.store_params), R"({"saved":1})");
  EXPECT_THAT(log_text(), HasSubstr("@[0:default:1:1]+main+t1): Skipped\n"));
  EXPECT_EQ(printed([&] { run("echo>: ${1+1}"); }), "");
  EXPECT_EQ(filter.seen, "\"2\"");
  EXPECT_THAT(log_text(), HasSubstr("): echo>: 2\n"));
  EXPECT_THAT(log_text(), Not(HasSubstr("+t2): Skipped")));
}

TEST(RuntimeParams, StandInTheirOrder) {
  operators::TaskIdentity identity{.project_id = 2,
                                   .session_id = 3,
                                   .attempt_id = 4,
                                   .task_name = "+w+t",
                                   .retry_attempt_name = "r",
                                   .session_uuid = "u",
                                   .session_time = *parse_instant("2026-01-02T03:04:05Z"),
                                   .timezone = *TimeZone::of("Asia/Tokyo")};
  EXPECT_EQ(to_json(runtime_params(identity, parse_json(R"({"next_session_time":"2026-01-03T00:00:00+09:00","last_session_time":"x"})"))),
            R"({"timezone":"Asia/Tokyo","session_uuid":"u","session_time":"2026-01-02T12:04:05+09:00","session_id":3,)"
            R"("session_date":"2026-01-02","session_date_compact":"20260102","session_local_time":"2026-01-02 12:04:05",)"
            R"("session_tz_offset":"+0900","session_unixtime":1767323045,"last_executed_session_time":"",)"
            R"("last_executed_session_date":"","last_executed_session_date_compact":"","last_executed_session_local_time":"",)"
            R"("last_executed_session_tz_offset":"+0900","last_executed_session_unixtime":"","next_session_date":"2026-01-03",)"
            R"("next_session_date_compact":"20260103","next_session_local_time":"2026-01-03 00:00:00",)"
            R"("next_session_tz_offset":"+0900","next_session_unixtime":1767366000,"project_id":2,"retry_attempt_name":"r",)"
            R"("attempt_id":4,"task_name":"+w+t"})");
}

TEST(ErrorObject, HasAStacktraceWhereTheOriginalHasOne) {
  EXPECT_EQ(to_json(error_object(task_error("no"))), R"({"message":"no"})");
  EXPECT_EQ(to_json(error_object(task_error("no").because(config_error("x")))), R"({"message":"no","stacktrace":""})");
  EXPECT_EQ(to_json(error_object(config_error("no"))), R"_({"message":"no (config)","stacktrace":""})_");
  EXPECT_EQ(to_json(error_object(Error("runtime", "").because(task_error("inner")))), R"_({"message":"inner (runtime)","stacktrace":""})_");
}

TEST(ErrorObject, IsCutAt64KiB) {
  const std::string message = error_object(task_error(std::string(65'535, 'x') + "ää")).find("message")->as_string();
  EXPECT_EQ(message, std::string(65'535, 'x') + "… (4 more bytes)");
}

}  // namespace
}  // namespace digdag::agent
