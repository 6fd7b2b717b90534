#include "executor/takeover.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/eventually_for_test.h"
#include "base/text.h"
#include "dig/loader.h"
#include "dig/script_worker.h"
#include "store/attempt_events.h"
#include "store/away_database_for_test.h"
#include "store/projects.h"
#include "store/schema_for_test.h"
#include "store/tasks.h"

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/// Remembers what it shall run and stop; the test answers.
class Runner : public agent::TaskRunner {
 public:
  void run(agent::RunRequest request) override { runs.push_back(std::move(request)); }
  void stop(std::int64_t, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t>) override {
    stopped.push_back("#" + std::to_string(task) + " lease " + std::to_string(lease));
  }
  /// `task lease` of each.
  std::vector<std::string> given() const {
    std::vector<std::string> all;
    for (const agent::RunRequest& run : runs) all.push_back(run.identity.task_name + " " + std::to_string(run.lease));
    return all;
  }
  std::vector<agent::RunRequest> runs;
  std::vector<std::string> stopped;
};

/// A server process, whose loop the test turns.
struct ServerUnderTest {
  ServerUnderTest(store::Database& real, std::string id, Log& log, const dig::TemplateEngine& templates)
      : process(store::this_process("1@" + id)),
        database(real),
        owned(database, process.id, store::QueueLease{"1@" + id, 300}),
        executor(owned, log, templates, nullptr, {.clock = digdag::now, .database_pause = std::chrono::milliseconds(1)}),
        starter({}, database, owned, &executor, digdag::now),
        takeover({.server = process, .ended = [](const AttemptIdentity&, bool) {}, .lost = [this] { is_lost = true; }}, database, owned,
                 executor, starter, log) {
    executor.use(runner);
    executor.use(takeover);
  }
  /// As it is done when a server starts.
  void start() {
    takeover.announce(0);
    takeover.start();
  }
  /// Turns the loop until it holds.
  bool comes_to(const std::function<bool()>& holds) {
    return eventually([&] {
      executor.step();
      return holds();
    });
  }

  const store::ServerProcess process;
  store::AwayDatabase database;
  store::OwnedAttempts owned;
  std::atomic<bool> is_lost = false;
  Runner runner;
  Executor executor;
  Starter starter;
  Takeover takeover;
};

class TakeoverOf : public store::DatabaseWithSchema {
 protected:
  void SetUp() override {
    DatabaseWithSchema::SetUp();
    gone_ = server("gone");
    here_ = server("here");
  }
  std::unique_ptr<ServerUnderTest> server(const std::string& id) {
    return std::make_unique<ServerUnderTest>(*database_, id, log_, templates_);
  }

  store::WorkflowDefinition workflow(const std::string& name, const std::string& dig) {
    return write([&](store::Transaction& transaction) {
      store::Projects projects(transaction, 0);
      const store::Project project = projects.put_and_lock("orders");
      const auto revision =
          projects.insert_revision(project.id, {.name = name, .archive_type = "none", .archive_path = {}, .archive_md5 = {}});
      return projects.insert_workflows(project, revision.value(), {{name, TimeZone(), dig::load_yaml(dig, dig::Source{".", ".", "w.dig"})}})
          .at(0);
    });
  }
  static std::int64_t start(ServerUnderTest& server, StartRequest request) {
    const auto started = std::get<Started>(server.starter.start(request));
    server.executor.step();
    return started.attempt.id;
  }
  std::int64_t start(ServerUnderTest& server, const std::string& name, const std::string& dig) {
    StartRequest request;
    request.workflow = workflow(name, dig);
    request.session_time = Instant::of_seconds(1'772'000'000);
    return start(server, request);
  }

  /// It is in the database, and does nothing any more.
  void dies(ServerUnderTest& server) {
    store::ServerProcess process = server.process;
    process.host = "elsewhere";
    write([&](store::Transaction& transaction) {
      transaction.send("delete from digdag_native_servers where id = $1", {process.id});
      transaction.send({"insert into digdag_native_servers (id, host, boot_id, pid, process_start, agent_id, lease_expires_at, lock_key, "
                        "started_at) values ($1, $2, 'another', 1, 1, '1@gone', now() - interval '1 second', 0, now())",
                        "insert into digdag_native_servers (id, host, boot_id, pid, process_start, agent_id, lease_expires_at, lock_key, "
                        "started_at) values ($1, $2, 'another', 1, 1, '1@gone', now() - 1000000, 0, now())"},
                       {process.id, process.host});
    });
    // PostgreSQL has just been started, and all get the time to come back.
    ASSERT_TRUE(eventually([&] {
      return write([&](store::Transaction& transaction) {
        const auto dead = store::dead_servers(transaction, here_->process, false);
        return std::any_of(dead.begin(), dead.end(), [&](const auto& one) { return one.id == process.id; });
      });
    }));
  }
  std::optional<std::int64_t> kill(std::int64_t attempt) {
    return write([&](store::Transaction& transaction) { return store::request_kill(transaction, attempt); });
  }
  std::int64_t flags(std::int64_t attempt) {
    return write([&](store::Transaction& transaction) {
      return transaction.query("select state_flags from session_attempts where id = $1", {attempt}).at(0).integer(0);
    });
  }
  std::vector<engine::StoredTask> tasks(std::int64_t attempt) {
    return write([&](store::Transaction& transaction) { return store::tasks_of_attempt(transaction, attempt); });
  }

  dig::ScriptWorker worker_;
  dig::TemplateEngine templates_{worker_, {}};
  std::unique_ptr<ServerUnderTest> gone_, here_;
};

// decisions E-44
TEST_P(TakeoverOf, WhatAServerThatDiedHadBegunGoesOnHere) {
  start(*gone_, "w", "_parallel: true\n+x: {echo>: 1}\n+y: {echo>: 2}\n");
  dies(*gone_);
  here_->start();
  EXPECT_THAT(here_->runner.given(), ElementsAre("+w+x 2", "+w+y 2"));
  here_->executor.ended(here_->runner.runs[0], agent::RunSucceeded{});
  here_->executor.ended(here_->runner.runs[1], agent::RunSucceeded{});
  const std::int64_t attempt = here_->runner.runs[0].attempt;
  EXPECT_TRUE(here_->comes_to([&] { return here_->executor.status(attempt).success; }));
  EXPECT_EQ(flags(attempt), store::attempt_done | store::attempt_success);
}

// decisions E-44
TEST_P(TakeoverOf, WhatALivingServerOwnsIsLeftAlone) {
  write([&](store::Transaction& transaction) { store::insert_server(transaction, gone_->process); });
  start(*gone_, "w", "+x: {echo>: 1}\n");
  here_->start();
  EXPECT_THAT(here_->runner.given(), IsEmpty());
  EXPECT_THAT(here_->owned.ids(), IsEmpty());
}

// decisions E-44
TEST_P(TakeoverOf, AServerThatDiesLaterIsNoticed) {
  write([&](store::Transaction& transaction) { store::insert_server(transaction, gone_->process); });
  start(*gone_, "w", "+x: {echo>: 1}\n");
  here_->start();
  dies(*gone_);
  here_->takeover.wake();
  EXPECT_TRUE(here_->comes_to([&] { return here_->runner.given() == std::vector<std::string>{"+w+x 2"}; }));
}

TEST_P(TakeoverOf, AKillThatTheServerThatDiedHasNotAppliedIsApplied) {
  const std::int64_t attempt = start(*gone_, "w", "+x: {echo>: 1}\n");
  ASSERT_TRUE(kill(attempt));
  dies(*gone_);
  here_->start();
  EXPECT_TRUE(here_->comes_to([&] { return here_->executor.status(attempt).done; }));
  EXPECT_EQ(flags(attempt), store::attempt_done | store::attempt_cancel_requested);
  EXPECT_THAT(here_->runner.given(), IsEmpty()) << "nothing of it is begun again";
}

TEST_P(TakeoverOf, AKillOfAnotherServerReachesWhatRunsHere) {
  here_->start();
  const std::int64_t attempt = start(*here_, "w", "+x: {echo>: 1}\n");
  ASSERT_TRUE(kill(attempt));
  here_->takeover.wake();
  EXPECT_TRUE(here_->comes_to([&] { return here_->runner.stopped == std::vector<std::string>{"#1 lease 1"}; }));
}

TEST_P(TakeoverOf, AKillThatIsHandedInAfterItWasAppliedAndItsAttemptReadBackCountsOnce) {
  here_->start();
  const std::int64_t attempt = start(*here_, "w", "_error_on_cancel: true\n_error: {echo>: bye}\n+x: {echo>: 1}\n");
  const std::int64_t event = kill(attempt).value();
  here_->takeover.wake();
  ASSERT_TRUE(here_->comes_to([&] { return here_->runner.stopped.size() == 1; }));
  const auto canceled = [] {
    return agent::RunFailed{.error = Value::object(), .retry = {}, .cause = Error("task", "x"), .last_output = {}};
  };
  const auto later = [] { return agent::RunLater{.delay_millis = 60'000, .state = Value::object(), .wakes_after = {}}; };
  here_->executor.ended(here_->runner.runs.at(0), canceled());
  ASSERT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 2; }));
  write([&](store::Transaction& transaction) {
    transaction.execute("update digdag_native_attempts set version = version + 1 where id = $1", {attempt});
  });
  here_->executor.ended(here_->runner.runs.at(1), later());  // it cannot be stored: the attempt is dropped
  ASSERT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 3; }));
  here_->executor.kill(attempt, event);  // by whoever was held up since the kill was stored
  here_->executor.step();
  here_->executor.ended(here_->runner.runs.at(2), canceled());
  EXPECT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 4; })) << "the handler was killed, too";
  here_->executor.ended(here_->runner.runs.at(3), agent::RunSucceeded{});
  EXPECT_TRUE(here_->comes_to([&] { return here_->executor.status(attempt).done; }));
  EXPECT_EQ(tasks(attempt).back().state, engine::TaskState::success);
}

TEST_P(TakeoverOf, AnAttemptWhoseRowsMakeNoSenseEndsAndTheOthersGoOn) {
  const std::int64_t broken = start(*gone_, "w", "+x: {echo>: 1}\n");
  start(*gone_, "v", "+x: {echo>: 1}\n");
  write([&](store::Transaction& transaction) {
    transaction.execute("update tasks set state = 99 where attempt_id = $1 and parent_id is not null", {broken});
  });
  dies(*gone_);
  here_->start();
  EXPECT_EQ(flags(broken), store::attempt_done);
  EXPECT_THAT(logged(), testing::HasSubstr("unknown state of a task: 99"));
  EXPECT_THAT(here_->runner.given(), ElementsAre("+v+x 2"));
}

TEST_P(TakeoverOf, WhatCouldNotBeReadIsReadWhenTheDatabaseIsBack) {
  start(*gone_, "w", "+x: {echo>: 1}\n");
  start(*gone_, "v", "+x: {echo>: 1}\n");
  dies(*gone_);
  here_->takeover.announce(0);
  for (int pieces = 0;; ++pieces) {
    here_->database.left = pieces;
    try {
      here_->takeover.start();
      break;
    } catch (const store::DatabaseError&) {
      here_->database.is_away = false;
    }
  }
  here_->database.left = -1;
  EXPECT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 2; }));
  EXPECT_THAT(here_->runner.given(), UnorderedElementsAre("+w+x 2", "+v+x 2"));
}

TEST_P(TakeoverOf, WhatChangedBehindOurBackIsReadBack) {
  here_->start();
  const std::int64_t attempt = start(*here_, "w", "+x: {echo>: 1}\n");
  write([&](store::Transaction& transaction) {
    transaction.execute("update digdag_native_attempts set version = version + 1 where id = $1", {attempt});
  });
  here_->executor.ended(here_->runner.runs.at(0), agent::RunSucceeded{});
  EXPECT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 2; }));
  EXPECT_THAT(here_->runner.given(), ElementsAre("+w+x 1", "+w+x 2"));
}

// decisions E-44
TEST_P(TakeoverOf, OneThatWasTakenForDeadStopsWhatRunsAndWritesNothingMoreOfIt) {
  here_->start();
  const std::int64_t attempt = start(*here_, "w", "+x: {echo>: 1}\n");
  write([&](store::Transaction& transaction) {
    store::remove_server(transaction, here_->process);
    store::insert_server(transaction, gone_->process);
  });
  ASSERT_THAT(gone_->owned.claim(10, {}), ElementsAre(attempt));
  here_->takeover.wake();
  EXPECT_TRUE(here_->comes_to([&] { return !here_->runner.stopped.empty(); }));
  EXPECT_TRUE(here_->is_lost);
  here_->executor.ended(here_->runner.runs.at(0), agent::RunSucceeded{});
  here_->executor.step();
  EXPECT_EQ(tasks(attempt).at(1).state, engine::TaskState::running);
  EXPECT_THAT(gone_->owned.ids(), ElementsAre(attempt));
}

TEST_P(TakeoverOf, AServerThatEndsGivesBackWhatItOwns) {
  here_->start();
  start(*here_, "w", "+x: {echo>: 1}\n");
  here_->takeover.stop();
  EXPECT_THAT(here_->owned.ids(), IsEmpty());
  gone_->start();
  EXPECT_THAT(gone_->runner.given(), ElementsAre("+w+x 1")) << "its run has ended, nobody can answer for it any more";
}

// execution 32.47
TEST_P(TakeoverOf, ALargeAttemptThatResumesKeepsWhatItTookOverWhereItsServerDiesBeforeItsFirstRows) {
  std::string dig = "+done: {echo>: 1}\n+rest:\n";
  for (int i = 0; i < 2100; ++i) dig += "  +t" + std::to_string(i) + ": {echo>: 1}\n";
  StartRequest request;
  request.workflow = workflow("w", dig);
  request.session_time = Instant::of_seconds(1'772'000'000);
  gone_->start();
  const std::int64_t first = start(*gone_, request);
  ASSERT_TRUE(gone_->comes_to([&] { return gone_->runner.runs.size() == 1; }));
  engine::TaskResult stored;
  stored.store_params = Value::object({{"k", 1}});
  gone_->executor.ended(gone_->runner.runs[0], agent::RunSucceeded{.result = stored, .retry = {}});
  ASSERT_TRUE(gone_->comes_to([&] { return gone_->runner.runs.size() == 2; }));
  gone_->executor.kill(first);
  ASSERT_TRUE(gone_->comes_to([&] { return !gone_->runner.stopped.empty(); }));
  gone_->executor.ended(gone_->runner.runs[1],
                        agent::RunFailed{.error = Value::object(), .retry = {}, .cause = Error("task", "x"), .last_output = {}});
  ASSERT_TRUE(gone_->comes_to([&] { return gone_->executor.status(first).done; }));

  request.retry_attempt_name = "again";
  request.resume = {first, std::nullopt, false};
  const auto again = std::get<Started>(gone_->starter.start(request));  // and then it dies: its loop does not turn any more
  gone_->takeover.stop();
  dies(*gone_);
  here_->start();
  ASSERT_TRUE(here_->comes_to([&] { return here_->runner.runs.size() == 1; }));
  EXPECT_THAT(here_->runner.given(), ElementsAre("+w+rest+t0 1"));
  EXPECT_EQ(here_->runner.runs[0].params.find("k"), Value(1));
  const auto rows = tasks(again.attempt.id);
  EXPECT_EQ(rows.size(), 2103U);
  EXPECT_EQ(rows.at(1).state, engine::TaskState::success);
}

DIGDAG_FOR_EVERY_DATABASE(TakeoverOf);

}  // namespace
}  // namespace digdag::executor
