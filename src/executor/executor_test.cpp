#include "executor/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/json.h"
#include "dig/script_worker.h"
#include "executor/attempt_for_test.h"
#include "store/database.h"

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// Remembers what it shall run and stop; the test answers.
class Runner : public agent::TaskRunner {
 public:
  void run(agent::RunRequest request) override {
    names.push_back(request.identity.task_name);
    requests.push_back(std::move(request));
  }
  void stop(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t> grace_seconds) override {
    stopped.push_back("attempt " + std::to_string(attempt) + " task " + std::to_string(task) + " lease " + std::to_string(lease) +
                      (grace_seconds ? " grace " + std::to_string(*grace_seconds) : ""));
  }
  std::vector<std::string> taken() { return std::exchange(names, {}); }
  agent::RunRequest next() {
    if (requests.empty()) throw std::logic_error("nothing to run");
    agent::RunRequest request = std::move(requests.front());
    requests.pop_front();
    return request;
  }

  std::deque<agent::RunRequest> requests;
  std::vector<std::string> names;
  std::vector<std::string> stopped;
};

/// What was committed, a line for each attempt and commit: `1: +w running, +w+a running`.
class Commits : public store::MemoryStore {
 public:
  void commit(std::vector<store::AttemptChange>& changes) override {
    if (fails) throw Error("io", "the disk is full");
    if (away > 0) {
      --away;
      throw store::DatabaseError(store::DatabaseError::Cause::unavailable, "the disk is full");
    }
    for (const store::AttemptChange& change : changes) {
      std::string line = std::to_string(change.rows->attempt_id) + ":";
      for (const engine::TaskIndex task : change.changed) {
        line += " " + change.attempt->full_name(task) + " " + std::string(engine::to_string(change.attempt->state(task)));
      }
      lines.push_back(line + (change.finished ? " (finished)" : ""));
    }
  }
  std::vector<std::string> taken() { return std::exchange(lines, {}); }

  std::vector<std::string> lines;
  bool fails = false;
  int away = 0;  ///< commits for which the database is not there
};

class Kept : public Keeper {
 public:
  void dropped(std::int64_t attempt_id) override { lines.push_back("dropped " + std::to_string(attempt_id)); }
  void broken(std::int64_t attempt_id, const std::string& cause) override {
    lines.push_back("broken " + std::to_string(attempt_id) + ": " + cause);
  }
  void ended(const AttemptIdentity&, bool) override {}
  std::vector<std::string> lines;
};

/// What a listener was told, and how many runs had been handed out by then.
class Heard : public Listener {
 public:
  explicit Heard(const Runner& runner) : runner_(runner) {}
  void committed(const AttemptIdentity& attempt, const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed) override {
    std::string line = attempt.workflow_name + ":";
    for (const engine::TaskIndex task : changed) line += " " + tasks.full_name(task);
    lines.push_back(line + ", " + std::to_string(runner_.names.size()) + " runs");
  }
  void run_failed(const agent::RunRequest& request, const agent::RunFailed& failure) override {
    lines.push_back(request.identity.task_name + " failed: " + failure.cause.message());
  }
  std::vector<std::string> lines;

 private:
  const Runner& runner_;
};

class ExecutorTest : public testing::Test {
 protected:
  ExecutorTest() { executor_.use(runner_); }

  static std::string name_of(std::int64_t id) { return {static_cast<char>('a' + id - 1)}; }
  /// The workflow of attempt 1 is called a, that of attempt 2 b.
  static void add(Executor& executor, std::int64_t id, const std::string& dig) {
    AttemptIdentity identity;
    identity.attempt_id = identity.session_id = id;
    identity.workflow_name = name_of(id);
    executor.add(identity, attempt_for_test(name_of(id), dig));
  }
  void add(std::int64_t id, const std::string& dig) { add(executor_, id, dig); }
  void start(const std::string& dig) {
    add(1, dig);
    executor_.step();
  }
  void pass(std::int64_t seconds) {
    now_ = now_.plus_seconds(seconds);
    executor_.step();
  }
  void succeed(const agent::RunRequest& request) { executor_.ended(request, agent::RunSucceeded{}); }
  static agent::RunFailed failure(const std::string& message, const std::string& hint = "") {
    return {.error = Value::object({{"message", message}}), .retry = {}, .cause = task_error(message).hint(hint), .last_output = {}};
  }
  void fail(const agent::RunRequest& request, const std::string& message, const std::string& hint = "") {
    executor_.ended(request, failure(message, hint));
  }
  void poll(const agent::RunRequest& request, std::int64_t seconds, std::optional<std::int64_t> wakes_after = std::nullopt) {
    executor_.ended(request, agent::RunLater{.delay_millis = seconds * 1000, .state = Value::object(), .wakes_after = wakes_after});
  }

  Instant now_ = Instant::of_seconds(1'767'323'045);
  Commits store_;
  Log log_{Log::Options{.quiet = true}};
  dig::ScriptWorker worker_;
  dig::TemplateEngine templates_{worker_, {}};
  Runner runner_;
  Heard heard_{runner_};
  Executor executor_{store_, log_, templates_, &heard_, {.clock = [this] { return now_; }, .database_pause = std::chrono::milliseconds(1)}};
};

/// Runs end as soon as they begin.
class AtOnce : public Runner {
 public:
  void run(agent::RunRequest request) override { executor->ended(request, agent::RunSucceeded{}); }
  Executor* executor = nullptr;
};

TEST_F(ExecutorTest, APlaceThatAStartGivesBackGoesToWhoWaits) {
  AtOnce runner;
  Executor executor(store_, log_, templates_, nullptr, {.handouts = {.places = 1}});
  runner.executor = &executor;
  executor.use(runner);
  ASSERT_EQ(executor.take_places(0, 1), 1);
  add(executor, 1, "+x: {echo>: 1}\n");
  executor.step();
  EXPECT_EQ(executor.counts().waiting, 1);
  std::thread loop([&] { executor.run_until_done(1); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // so that it has gone to sleep: passes in any case, but tells more
  executor.give_places_back(0, 1);
  loop.join();
  EXPECT_TRUE(executor.status(1).success);
}

TEST_F(ExecutorTest, CommitsWhatHappenedBeforeItsEffects) {
  start("+x: {echo>: 1}\n+y: {echo>: 2}\n");
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a planned +a+x running +a+y blocked"));
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  succeed(runner_.next());
  executor_.step();
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a+x success +a+y running"));
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+y"));
  succeed(runner_.next());
  executor_.step();
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a success +a+y success (finished)"));
  EXPECT_TRUE(executor_.status(1).done);
  EXPECT_TRUE(executor_.status(1).success);
}

TEST_F(ExecutorTest, TasksInARowFollowEachOtherWithoutWaiting) {  // execution 32.105
  std::string dig;
  for (int i = 0; i < 10; ++i) dig += "+t" + std::to_string(i) + ": {echo>: x}\n";
  start(dig);
  for (int i = 0; i < 10; ++i) {
    ASSERT_THAT(runner_.taken(), ElementsAre("+a+t" + std::to_string(i)));
    EXPECT_EQ(executor_.next_due(), std::nullopt);
    succeed(runner_.next());
    executor_.step();
  }
  EXPECT_TRUE(executor_.status(1).success);
}

TEST_F(ExecutorTest, OneRoundIsOneCommitOfEachAttempt) {
  add(1, "_parallel: true\n+x: {echo>: 1}\n+y: {echo>: 2}\n");
  add(2, "+x: {echo>: 1}\n");
  executor_.step();
  EXPECT_EQ(store_.taken().size(), 2u);
  for (int i = 0; i < 3; ++i) succeed(runner_.next());
  executor_.step();
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a success +a+x success +a+y success (finished)", "2: +b success +b+x success (finished)"));
}

TEST_F(ExecutorTest, WithoutItsCommitNothingIsHandedOut) {
  add(1, "+x: {echo>: 1}\n");
  store_.fails = true;
  EXPECT_THROW(executor_.step(), Error);
  EXPECT_THAT(runner_.taken(), IsEmpty());
}

TEST_F(ExecutorTest, ACommitWaitsForADatabaseThatIsAway) {
  Kept keeper;
  executor_.use(keeper);
  store_.away = 3;
  start("+x: {echo>: 1}\n");
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a planned +a+x running"));
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  EXPECT_THAT(keeper.lines, IsEmpty());
}

TEST_F(ExecutorTest, AnInterruptEndsTheWaitForADatabaseThatIsAway) {
  Kept keeper;
  executor_.use(keeper);
  store_.away = 1'000'000'000;
  executor_.interrupt();
  start("+x: {echo>: 1}\n");
  EXPECT_THAT(store_.taken(), IsEmpty());
  EXPECT_THAT(runner_.taken(), IsEmpty());
}

TEST_F(ExecutorTest, AListenerHearsOfACommitBeforeItsEffectsAndOfAFailureBeforeItsCommit) {
  start("+x: {echo>: 1, _error: {echo>: 2}}\n");
  fail(runner_.next(), "no");
  executor_.step();
  EXPECT_THAT(heard_.lines, ElementsAre("a: +a +a+x, 0 runs", "+a+x failed: no", "a: +a+x +a+x^error, 1 runs"));
}

TEST_F(ExecutorTest, WhatTheEngineNotesStandsInTheLog) {
  testing::internal::CaptureStdout();
  {
    Log log{Log::Options{}};
    Executor executor(store_, log, templates_, nullptr, {.clock = [this] { return now_; }});
    executor.use(runner_);
    add(executor, 1, "+g:\n  _retry: soon\n  +x: {fail>: no}\n");
    executor.step();
    executor.ended(runner_.next(), failure("no"));
    executor.step();
  }
  EXPECT_THAT(testing::internal::GetCapturedStdout(),
              testing::HasSubstr(
                  "executor: task +a+g at a.dig:1:1: Ignore retry parameter because of invalid retry configuration. Expected integer"));
}

TEST_F(ExecutorTest, APollIsDueAtItsTime) {
  start("+x: {wait>: 1h}\n");
  EXPECT_EQ(executor_.next_due(), std::nullopt);
  runner_.taken();
  poll(runner_.next(), 10);
  executor_.step();
  EXPECT_EQ(executor_.next_due(), now_.plus_seconds(10));
  pass(9);
  EXPECT_THAT(runner_.taken(), IsEmpty());
  pass(1);
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  EXPECT_EQ(executor_.next_due(), std::nullopt);
}

TEST_F(ExecutorTest, TheTimerThatIsDueFirstIsTheNextOfAllAttempts) {
  add(1, "+x: {wait>: 1h}\n");
  add(2, "+x: {wait>: 1h}\n");
  executor_.step();
  poll(runner_.next(), 10);
  poll(runner_.next(), 4);
  executor_.step();
  runner_.taken();
  EXPECT_EQ(executor_.next_due(), now_.plus_seconds(4));
  pass(4);
  EXPECT_THAT(runner_.taken(), ElementsAre("+b+x"));
  EXPECT_EQ(executor_.next_due(), now_.plus_seconds(6));
  poll(runner_.next(), 6);
  executor_.step();
  pass(60);  // the machine slept
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x", "+b+x"));
}

TEST_F(ExecutorTest, ATimeLimitStopsTheRunWithItsGrace) {  // decisions E-33
  start("+x: {sh>: x, _timeout: {limit: 30s, grace: 3s}}\n");
  EXPECT_EQ(executor_.next_due(), now_.plus_seconds(30));
  pass(30);
  EXPECT_THAT(runner_.stopped, ElementsAre("attempt 1 task 1 lease 1 grace 3"));
  EXPECT_EQ(executor_.next_due(), std::nullopt);
  fail(runner_.next(), "killed", "of no use: it did not fail for this");
  executor_.step();
  succeed(runner_.next());  // the alert
  executor_.step();
  EXPECT_EQ(executor_.status(1).failure, "+a+x: Task timed out after 30s (task timeout)");
}

TEST_F(ExecutorTest, TimersEndWithTheirAttempt) {
  add(1, "_timeout: 1h\nsla: {duration: 02:00}\n+x: {sh>: x, _timeout: 30m}\n");
  add(2, "_timeout: 1h\n+x: {wait>: 3h}\n");
  executor_.step();
  succeed(runner_.next());
  poll(runner_.next(), 60);
  executor_.kill(2);
  executor_.step();
  EXPECT_TRUE(executor_.status(1).done);
  EXPECT_TRUE(executor_.status(2).done);
  EXPECT_EQ(executor_.next_due(), std::nullopt);
  store_.taken();
  pass(24 * 3600);
  EXPECT_THAT(store_.taken(), IsEmpty());
}

TEST_F(ExecutorTest, APollThatWaitsForAnAttemptIsAlsoDueAtItsTime) {  // decisions O-15
  add(1, "+x: {require>: b}\n");
  add(2, "+x: {sh>: x}\n");
  executor_.step();
  poll(runner_.next(), 10, 2);
  executor_.step();
  runner_.taken();
  pass(10);
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
}

TEST_F(ExecutorTest, APollThatComesTogetherWithTheEndItWaitsForIsCalledAtOnce) {  // decisions O-15
  for (const bool end_first : {true, false}) {
    const std::int64_t first = end_first ? 1 : 3, second = first + 1;
    add(first, "+x: {require>: other}\n");
    add(second, "+x: {echo>: 1}\n");
    executor_.step();
    const agent::RunRequest waiting = runner_.next(), awaited = runner_.next();
    runner_.taken();
    if (end_first) succeed(awaited);
    poll(waiting, 10, second);
    if (!end_first) succeed(awaited);
    executor_.step();
    executor_.step();
    EXPECT_THAT(runner_.taken(), ElementsAre("+" + name_of(first) + "+x"));
    succeed(runner_.next());
    executor_.step();
  }
}

TEST_F(ExecutorTest, APollThatWaitsForAnotherAttemptIsCalledAtItsEnd) {  // decisions O-15
  add(1, "+x: {require>: b}\n");
  add(2, "+x: {echo>: 1}\n");
  executor_.step();
  poll(runner_.next(), 10, 2);
  executor_.step();
  runner_.taken();
  succeed(runner_.next());
  executor_.step();  // the end of the other one
  executor_.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  poll(runner_.next(), 10, 2);  // it ended long ago
  executor_.step();
  executor_.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
}

TEST_F(ExecutorTest, AnOldRunDoesNotChangeWhatAPollWaitsFor) {  // decisions O-15
  add(1, "+x: {require>: b}\n");
  add(2, "+x: {echo>: 1}\n");
  executor_.step();
  const agent::RunRequest old = runner_.next(), awaited = runner_.next();
  poll(old, 10);
  executor_.step();
  pass(10);
  poll(runner_.next(), 10, 2);
  executor_.step();
  poll(old, 10, 9);
  succeed(awaited);
  executor_.step();
  runner_.taken();
  executor_.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
}

TEST_F(ExecutorTest, ForgetsAttemptsThatAreDone) {
  start("+x: {echo>: 1}\n");
  ASSERT_NE(executor_.tasks(1), nullptr);
  succeed(runner_.next());
  executor_.step();
  EXPECT_EQ(executor_.tasks(1), nullptr);
  executor_.kill(1);  // too late
  executor_.step();
  EXPECT_TRUE(executor_.status(1).success);
  EXPECT_FALSE(executor_.status(9).known);
}

TEST_F(ExecutorTest, AKillStopsWhatRuns) {
  start("+x: {sh>: sleep 100}\n+y: {sh>: x}\n");
  executor_.kill(1);
  executor_.step();
  EXPECT_THAT(runner_.stopped, ElementsAre("attempt 1 task 1 lease 1"));
  fail(runner_.next(), "killed");
  executor_.step();
  EXPECT_TRUE(executor_.status(1).done);
  EXPECT_FALSE(executor_.status(1).success);
}

TEST_F(ExecutorTest, HandsOutTheNearestKillGrace) {
  start("_kill_grace: 1m\n_parallel: true\n+x: {sh>: x}\n+y: {sh>: x, _kill_grace: never}\n");
  EXPECT_EQ(runner_.next().kill_grace_seconds, 60);
  EXPECT_EQ(runner_.next().kill_grace_seconds, -1);
}

TEST_F(ExecutorTest, AKillEndsAnAttemptThatWaitsAtOnceAndNoOther) {  // decisions E-31
  add(1, "+x: {wait>: 1h}\n+y: {sh>: x}\n");
  add(2, "+x: {wait>: 1h}\n");
  executor_.step();
  poll(runner_.next(), 10);
  poll(runner_.next(), 10);
  executor_.step();
  store_.taken();
  executor_.kill(1);
  executor_.step();
  EXPECT_THAT(store_.taken(), ElementsAre("1: +a canceled +a+x canceled +a+y blocked (finished)"));
  EXPECT_THAT(runner_.stopped, IsEmpty());
  EXPECT_TRUE(executor_.status(1).done);
  EXPECT_EQ(executor_.status(1).failure, "") << "no task failed";
  EXPECT_FALSE(executor_.status(2).done);
}

TEST_F(ExecutorTest, AKillThatComesWithTheStartLetsNothingGoOn) {
  add(1, "+x: {sh>: x}\n+y: {sh>: x}\n");
  executor_.kill(1);
  executor_.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  EXPECT_THAT(runner_.stopped, ElementsAre("attempt 1 task 1 lease 1"));
  succeed(runner_.next());
  executor_.step();
  EXPECT_THAT(runner_.taken(), IsEmpty());
  EXPECT_TRUE(executor_.status(1).done);
  EXPECT_FALSE(executor_.status(1).success);
}

TEST_F(ExecutorTest, WhatComesForAnAttemptThatIsGoneChangesNothing) {
  add(1, "+x: {require>: b}\n");
  add(2, "+x: {sh>: x}\n");
  executor_.step();
  const agent::RunRequest waiting = runner_.next(), awaited = runner_.next();
  poll(waiting, 10, 2);
  executor_.step();
  executor_.kill(1);  // while it waits for the other one
  executor_.step();
  ASSERT_EQ(executor_.tasks(1), nullptr);
  succeed(awaited);
  executor_.step();
  store_.taken();
  runner_.taken();
  succeed(waiting);
  fail(awaited, "twice");
  executor_.kill(1);
  executor_.kill(99);
  executor_.step();
  EXPECT_THAT(store_.taken(), IsEmpty());
  EXPECT_THAT(runner_.taken(), IsEmpty());
  EXPECT_FALSE(executor_.status(1).success);
  EXPECT_TRUE(executor_.status(2).success);
}

TEST_F(ExecutorTest, ARunKnowsWhatItsTaskIsAndWhatItSees) {
  start("_export: {k: 1}\n+x: {wait>: 1h, _export: {own: 2}}\n");
  poll(runner_.next(), 10);
  executor_.step();
  pass(10);
  const agent::RunRequest run = runner_.next();
  EXPECT_EQ(run.identity.task_name, "+a+x");
  EXPECT_EQ(run.identity.task_id, 2);
  EXPECT_EQ(run.identity.workflow_name, "a");
  EXPECT_EQ(run.lease, 2u);
  EXPECT_EQ(run.retry_count, 1);
  EXPECT_EQ(run.started_at, now_.plus_seconds(-10));
  EXPECT_EQ(to_json(run.params.to_value()), R"({"k":1,"own":2})");
  EXPECT_EQ(to_json(run.local), R"({"wait>":"1h"})");
  EXPECT_EQ(to_json(run.own_export), R"({"own":2})");
  EXPECT_EQ(to_json(run.state), "{}");
  EXPECT_FALSE(run.lenient);
}

TEST_F(ExecutorTest, TheStatusOfAFailedAttemptSaysWhichTaskFailedAndWhy) {
  start("+x: {sh>: x}\n+y: {sh>: x}\n");
  fail(runner_.next(), "no such\ntable\n\tfrom x", "create it");
  executor_.step();
  EXPECT_EQ(executor_.status(1).failure, "") << "the failure alert is under way";
  succeed(runner_.next());
  executor_.step();
  ASSERT_TRUE(executor_.status(1).done);
  EXPECT_EQ(executor_.status(1).failure, "+a+x: no such table; create it");
}

TEST_F(ExecutorTest, ManyGroupsMayHaveTheirRetryEvaluated) {
  std::string dig = "_export: {n: 1}\n_parallel: true\n";
  for (int i = 0; i < 500; ++i) dig += "+g" + std::to_string(i) + ": {_retry: '${n - 1}', +x: {fail>: no}}\n";
  start(dig);
  while (!runner_.requests.empty()) fail(runner_.next(), "no");
  while (!executor_.status(1).done) {
    executor_.step();
    while (!runner_.requests.empty()) succeed(runner_.next());  // the alert
  }
  EXPECT_FALSE(executor_.status(1).success);
}

TEST_F(ExecutorTest, AnInterruptEndsTheLoop) {
  add(1, "+x: {echo>: 1}\n");
  const std::jthread other([&] { executor_.interrupt(); });
  EXPECT_FALSE(executor_.run_until_done(1));
}

TEST_F(ExecutorTest, AKillThatIsHandedInTwiceCountsOnce) {
  start("_error_on_cancel: true\n_error: {echo>: bye}\n+x: {echo>: 1}\n");
  executor_.kill(1, 7);
  executor_.step();
  EXPECT_THAT(runner_.stopped, ElementsAre("attempt 1 task 1 lease 1"));
  fail(runner_.next(), "stopped");
  executor_.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x", "+a^error"));
  executor_.kill(1, 7);  // read from the database before it was applied
  executor_.step();
  EXPECT_EQ(runner_.stopped.size(), 1u);
}

/// Remembers what was dropped.
class Dropped : public Keeper {
 public:
  void dropped(std::int64_t attempt_id) override { ids.push_back(attempt_id); }
  void broken(std::int64_t, const std::string&) override {}
  void ended(const AttemptIdentity&, bool) override {}
  std::vector<std::int64_t> ids;
};

/// Another owner was there, or the database has forgotten something.
class Changed : public store::MemoryStore {
 public:
  void commit(std::vector<store::AttemptChange>&) override {
    if (changed) throw store::DatabaseError(store::DatabaseError::Cause::unexpected_rows, "other rows");
  }
  bool changed = false;
};

TEST_F(ExecutorTest, WhatIsReadBackWaitsForTheRunsThatWereDropped) {
  Changed store;
  Dropped keeper;
  Executor executor(store, log_, templates_, nullptr, {.clock = [this] { return now_; }});
  executor.use(runner_);
  executor.use(keeper);
  const std::string dig = "_parallel: true\n+x: {echo>: 1}\n+y: {echo>: 2}\n";
  add(executor, 1, dig);
  executor.step();
  store.changed = true;
  executor.ended(runner_.next(), agent::RunSucceeded{});
  executor.step();
  EXPECT_THAT(keeper.ids, ElementsAre(1));
  EXPECT_THAT(runner_.stopped, ElementsAre("attempt 1 task 2 lease 1"));
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x", "+a+y"));
  store.changed = false;
  add(executor, 1, dig);
  executor.step();
  EXPECT_THAT(runner_.taken(), IsEmpty());
  executor.ended(runner_.next(), agent::RunSucceeded{});  // of the run that was dropped: it does not count
  executor.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x", "+a+y"));
  EXPECT_EQ(executor.counts().running, 2);
}

TEST_F(ExecutorTest, WhatStoppedARunThatWaitedForAPlaceDoesNotCountForAnAttemptThatIsReadBack) {
  Executor executor(store_, log_, templates_, nullptr, {.clock = [this] { return now_; }, .handouts = {.places = 1}});
  executor.use(runner_);
  add(executor, 1, "+x: {sh>: x}\n");
  add(executor, 2, "+y: {sh>: y, _timeout: 30s}\n");
  executor.step();
  ASSERT_THAT(runner_.taken(), ElementsAre("+a+x"));
  now_ = now_.plus_seconds(30);
  executor.step();  // +y is told to stop; what answers for it is on its way
  executor.drop_all();
  add(executor, 2, "+y: {sh>: y, _timeout: 30s}\n");  // as the rows have it: nothing of this was stored
  executor.ended(runner_.next(), agent::RunSucceeded{});
  executor.step();
  executor.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+b+y"));
  EXPECT_EQ(executor.tasks(2)->state(1), engine::TaskState::running);
}

TEST_F(ExecutorTest, AKillThatAnotherOwnerHasAppliedDoesNotCountForWhatIsReadBackAfterIt) {
  Changed store;
  Dropped keeper;
  Executor executor(store, log_, templates_, nullptr, {.clock = [this] { return now_; }, .events_in_a_round = 1});
  executor.use(runner_);
  executor.use(keeper);
  const std::string dig = "+x: {echo>: 1}\n";
  add(executor, 1, dig);
  executor.step();
  store.changed = true;
  executor.ended(runner_.next(), failure("no"));
  executor.kill(1, 7);  // left for the next round
  executor.step();
  ASSERT_THAT(keeper.ids, ElementsAre(1));
  runner_.taken();
  store.changed = false;
  add(executor, 1, dig);  // with rows that do not hold the kill any more
  executor.step();
  EXPECT_THAT(runner_.taken(), ElementsAre("+a+x"));
  EXPECT_THAT(runner_.stopped, IsEmpty());
}

/// Every change is written beside the loop.
class Large : public store::MemoryStore {
 public:
  std::size_t most_rows_at_once() const override { return 0; }
};

TEST_F(ExecutorTest, WhatIsReadBackIsKnownAlsoWhereItsOldSelfWasStillBeingWritten) {
  Large store;
  std::deque<std::function<void()>> beside;
  Executor executor(store, log_, templates_, nullptr,
                    {.clock = [this] { return now_; }, .beside = [&](std::function<void()> work) { beside.push_back(std::move(work)); }});
  executor.use(runner_);
  const std::string dig = "+x: {echo>: 1}\n";
  add(executor, 1, dig);
  executor.step();
  executor.drop_all();
  executor.step();
  add(executor, 1, dig);
  executor.step();
  beside.at(0)();
  executor.step();
  EXPECT_EQ(executor.counts().attempts, 1);
  EXPECT_TRUE(executor.status(1).known) << "it would be taken for one that did not go on";
}

/// Answers from another thread: a task is polled once, and then succeeds.
class Elsewhere : public agent::TaskRunner {
 public:
  explicit Elsewhere(Executor& executor) : executor_(executor) {}
  void run(agent::RunRequest request) override {
    threads_.emplace_back([this, request = std::move(request)] {
      const bool first = request.retry_count == 0;
      executor_.ended(request, first ? agent::RunEnd(agent::RunLater{.delay_millis = 1, .state = Value::object(), .wakes_after = {}})
                                     : agent::RunEnd(agent::RunSucceeded{}));
    });
  }
  void stop(std::int64_t, engine::TaskIndex, engine::Lease, std::optional<std::int64_t>) override {}

 private:
  Executor& executor_;
  std::vector<std::jthread> threads_;
};

TEST_F(ExecutorTest, TheLoopWaitsForWhatIsHandedInAndForWhatIsDue) {
  Executor executor(store_, log_, templates_, nullptr);  // with the clock of the machine
  Elsewhere runner(executor);
  executor.use(runner);
  add(executor, 1, "+x: {wait>: 1ms}\n+y: {wait>: 1ms}\n");
  EXPECT_TRUE(executor.run_until_done(1));
  EXPECT_TRUE(executor.status(1).success);
}

TEST_F(ExecutorTest, TheTasksOfTheAwaitedAttemptStay) {
  add(1, "+x: {_disable: true}\n");
  EXPECT_TRUE(executor_.run_until_done(1));
  ASSERT_NE(executor_.tasks(1), nullptr);
  EXPECT_EQ(executor_.tasks(1)->state(1), engine::TaskState::success);
}

TEST(SteadyClock, NeverGoesBack) {
  const auto clock = steady_clock();
  const Instant first = clock();
  EXPECT_LE(first, clock());
}

}  // namespace
}  // namespace digdag::executor
