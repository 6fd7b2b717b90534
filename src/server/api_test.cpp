#include "server/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>

#include "base/json.h"
#include "base/temporary_directory_for_test.h"
#include "base/text.h"
#include "executor/executor.h"
#include "server/front_door.h"
#include "server/live_logs.h"
#include "server/metrics.h"
#include "store/migrations.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::server {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class NoStarter : public executor::SessionStarter {
 public:
  std::unique_ptr<Prepared> prepare(const executor::StartRequest&) override { throw std::logic_error("no schedules here"); }
  executor::StartAnswer insert(store::Transaction&, Prepared&) override { throw std::logic_error("no schedules here"); }
  void committed(std::unique_ptr<Prepared>) override {}
  executor::StartAnswer start_delayed(std::int64_t) override { throw std::logic_error("no schedules here"); }
};

class NoLogs : public store::LogStorage {
 public:
  std::vector<store::LogFile> list(const store::LogAttempt&, std::string_view) const override { return {}; }
  bool read(const store::LogAttempt&, std::string_view, const std::function<void(std::uint64_t)>&,
            const std::function<bool(std::string_view)>&, std::uint64_t) const override {
    return false;
  }
  void keep(const std::filesystem::path&, const std::string&, const std::filesystem::path&) override {}
};

/// The routes over a database in memory. Attempts are stored, but nobody runs them.
class ApiOf : public testing::Test {
 protected:
  void SetUp() override {
    SystemConfig config;
    config.set("database.type", "memory");
    database_ = store::open_database(config, log_);
    store::migrate(*database_);
    schedules_.emplace(schedule::ScheduleControl::Options{.clock = now, .changed = [] {}}, *database_, no_starter_);
    api_.emplace(Api{.database = *database_,
                     .logs = no_logs_,
                     .live_logs = live_logs_,
                     .schedules = *schedules_,
                     .start = [this](const executor::StartRequest& request) { return start(request); },
                     .kill_requested = [this](std::int64_t id, std::int64_t) { killed_.push_back(id); },
                     .schedules_changed = [] {},
                     .clock = now,
                     .ready = [] { return true; },
                     .temporary_directory = directory_.path()});
    add_session_routes(router_, *api_);
    add_attempt_routes(router_, *api_);
    add_log_routes(router_, *api_);
    add_operations_routes(router_, *api_, metrics_);
    authenticator_.emplace(config, log_);
    front_door_.emplace(config, router_, *authenticator_, log_);
    front_door_->ask_before_writes([this] { return writes_refused_; });
    database_->write([&](store::Transaction& transaction) {
      store::Projects projects(transaction, 0);
      project_ = projects.put_and_lock("orders");
      const auto revision = projects.insert_revision(project_.id, {.name = "r1", .archive_type = "none"}).value();
      workflow_ =
          projects.insert_workflows(project_, revision, {{"calc", TimeZone::of("America/New_York").value(), Value::object()}}).front();
    });
  }

  executor::StartAnswer start(const executor::StartRequest& request) {
    requests_.push_back(request);
    if (refused_) return *refused_;
    return database_->write([&](store::Transaction& transaction) -> executor::StartAnswer {
      store::Sessions sessions(transaction, 0);
      const std::int64_t session =
          sessions.put_session({request.workflow.project.id, request.workflow.name, request.session_time}, random_uuid()).id;
      const auto inserted = sessions.insert_attempt({.session_id = session,
                                                     .project_id = request.workflow.project.id,
                                                     .retry_attempt_name = request.retry_attempt_name,
                                                     .workflow_definition_id = request.workflow.id,
                                                     .timezone = request.workflow.timezone,
                                                     .params = request.params});
      if (!inserted) return executor::SessionExists{sessions.conflicting(session, request.retry_attempt_name).value()};
      return executor::Started{sessions.attempt(inserted->id).value()};
    });
  }

  struct Answer {
    int status = 0;
    Value body;
    std::string message() const { return body.find("message")->as_string(); }
    std::string text(std::string_view name) const { return body.find(name)->as_string(); }
  };
  Answer ask(const std::string& method, const std::string& target, const std::string& body = {}) {
    Request request;
    request.method = method;
    EXPECT_TRUE(set_target(request, target));
    request.body = body;
    if (!body.empty()) request.headers.add("Content-Type", "application/json");
    const Admission admission = front_door_->admit(request);
    const Response response = admission.refusal ? *admission.refusal : front_door_->answer(request);
    return {response.status, response.body.empty() ? Value() : parse_json(response.body)};
  }
  Answer put(const std::string& more = {}) {
    return ask("PUT", "/api/attempts",
               R"({"workflowId": )" + std::to_string(workflow_.id) + R"(, "sessionTime": "2026-03-04T05:00:00.250Z", "params": {"a": 1})" +
                   more + "}");
  }
  std::int64_t events() {
    return database_->read(
        [](store::Transaction& transaction) { return transaction.query("select count(*) from digdag_native_events").front().integer(0); });
  }
  void change(const char* what, std::int64_t id) {
    static constexpr store::Sql done("update session_attempts set state_flags = 6, finished_at = now() where id = $1");
    static constexpr store::Sql delay("insert into delayed_session_attempts (id, next_run_time, updated_at) values ($1, 0, now())");
    static constexpr store::Sql removed("update projects set deleted_at = now(), deleted_name = name, name = null where id = $1");
    const std::map<std::string_view, const store::Sql*> all{{"done", &done}, {"delay", &delay}, {"removed", &removed}};
    database_->write([&](store::Transaction& transaction) { transaction.send(*all.at(what), {id}, 1); });
  }

  TemporaryDirectory directory_;
  Log log_{{.level = LogLevel::error, .console_to_stderr = true}};
  NoStarter no_starter_;
  NoLogs no_logs_;
  store::LogSpool spool_{{.directory = directory_.path() / "spool", .agent_id = "7@vm"}, no_logs_, log_};
  LiveLogs live_logs_{no_logs_, spool_, [](const LiveLogs::Wanted&) { return true; }, log_};
  Metrics metrics_;
  std::unique_ptr<store::Database> database_;
  std::optional<schedule::ScheduleControl> schedules_;
  std::optional<Api> api_;
  Router router_;
  std::optional<Authenticator> authenticator_;
  std::optional<FrontDoor> front_door_;
  store::Project project_;
  store::WorkflowDefinition workflow_;
  std::vector<executor::StartRequest> requests_;
  std::optional<executor::StartRefused> refused_;
  std::optional<std::string> writes_refused_;
  std::vector<std::int64_t> killed_;
};

// rest-api 18.56, 18.57, 18.58, 18.62, execution 32.32
TEST_F(ApiOf, AStartIsAnsweredWithTheAttemptAndASecondOneWithTheSame) {
  const Answer first = put();
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(first.text("sessionTime"), "2026-03-04T00:00:00-05:00");
  EXPECT_EQ(to_json(*first.body.find("params")), R"({"a":1})");
  const Answer again = put();
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(again.body, first.body);
}

// rest-api 18.59, 18.60, 18.81, execution 32.33
TEST_F(ApiOf, ARetryIsAnotherAttemptOfTheSession) {
  const Answer first = put(), second = put(R"(, "retryAttemptName": "again")");
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(second.body.find("index")->as_integer(), 2);
  EXPECT_EQ(second.text("sessionUuid"), first.text("sessionUuid"));
  EXPECT_EQ(put(R"(, "retryAttemptName": "again")").status, 409);
  const Answer retries = ask("GET", "/api/attempts/1/retries");
  ASSERT_EQ(retries.body.find("attempts")->as_array().size(), 2U);
  EXPECT_EQ(retries.body.find("attempts")->as_array()[1], second.body);
}

// rest-api 18.64, decisions E-26
TEST_F(ApiOf, ResumeIsHandedOn) {
  put(R"(, "retryAttemptName": "a", "resume": {"mode": "failed", "mode": "failed", "attemptId": "13"})");
  put(R"(, "retryAttemptName": "b", "resume": {"mode": "from", "attemptId": 14, "from": "+b", "invalidate": "changed"})");
  ASSERT_EQ(requests_.size(), 2U);
  EXPECT_EQ(requests_[0].resume->attempt_id, 13);
  EXPECT_FALSE(requests_[0].resume->from.has_value());
  EXPECT_FALSE(requests_[0].resume->changed);
  EXPECT_EQ(requests_[1].resume->attempt_id, 14);
  EXPECT_EQ(requests_[1].resume->from, "+b");
  EXPECT_TRUE(requests_[1].resume->changed);
}

// rest-api 18.70, 18.72, execution 32.34
TEST_F(ApiOf, AStartThatIsNoneIsRefusedBeforeAnythingIsLookedUp) {
  for (const char* more : {R"(, "resume": {"mode": "all", "attemptId": "1"})", R"(, "resume": {"attemptId": "1"})", R"(, "resume": [])",
                           R"(, "resume": {"mode": "from", "attemptId": "1"})", R"(, "resume": {"mode": "failed", "attemptId": "x"})",
                           R"(, "resume": {"mode": "failed", "attemptId": "1", "invalidate": "all"})", R"(, "retryAttemptName": "")",
                           R"(, "retryAttemptName": "  ")", R"(, "params": 1)", R"(, "sessionTime": "yesterday")"}) {
    EXPECT_EQ(put(more).status, 400) << more;
  }
  EXPECT_EQ(put(R"(, "retryAttemptName": ")" + std::string(256, 'x') + "\"").status, 400);
  EXPECT_THAT(requests_, IsEmpty());
}

// rest-api 18.73, 18.74, 18.75
TEST_F(ApiOf, WhatCannotBeStartedIsSaid) {
  const Answer unknown = ask("PUT", "/api/attempts", R"({"workflowId": "99", "sessionTime": "2026-03-04T05:00:00Z", "params": {}})");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.message(), "Resource does not exist: workflow id=99");
  using Why = executor::StartRefused::Why;
  refused_ = {Why::site_limit, "Too many attempts running. Limit: 100, Current: 100"};
  EXPECT_EQ(put().status, 400);
  EXPECT_EQ(put().message(), refused_->message);
  refused_ = {Why::not_found, "Resource does not exist: session attempt id=3"};
  EXPECT_EQ(put().status, 404);
  change("removed", project_.id);
  EXPECT_EQ(put().status, 404);
  EXPECT_EQ(put().message(), "Project id=1 name=orders is already deleted");
}

// rest-api 18.83, 18.84, execution 32.42, 32.46, decisions E-35
TEST_F(ApiOf, AKillIsAnEventForTheOwnerAndShowsTheAttemptAsItWas) {
  const Answer started = put();
  const Answer killed = ask("POST", "/api/attempts/1/kill");
  EXPECT_EQ(killed.status, 200);
  EXPECT_EQ(killed.body, started.body);
  EXPECT_EQ(events(), 1);
  EXPECT_THAT(killed_, ElementsAre(1));
  const Answer after = ask("GET", "/api/attempts/1");
  EXPECT_EQ(after.text("status"), "running");
  EXPECT_TRUE(after.body.find("cancelRequested")->as_boolean());
  EXPECT_EQ(ask("POST", "/api/attempts/1/kill", "{}").status, 200) << "again, while it runs";
  EXPECT_EQ(ask("POST", "/api/attempts/9/kill").message(), "Resource does not exist: session attempt id=9");
  change("done", 1);
  const Answer done = ask("POST", "/api/attempts/1/kill");
  EXPECT_EQ(done.status, 409);
  EXPECT_EQ(done.message(), "Session attempt already killed or finished");
}

// rest-api 18.83
TEST_F(ApiOf, AKillIsSeenInTheTasksThatItReachesBeforeTheOwnerHasNotedIt) {
  put();
  database_->write([](store::Transaction& transaction) {
    for (const std::int64_t state : {std::int64_t{5}, std::int64_t{9}}) {  // planned, success
      transaction.execute(
          "insert into tasks (id, attempt_id, task_type, state, state_flags, updated_at, retry_count) values ($1, 1, 1, $1, 0, now(), 0)",
          {state});
      transaction.execute("insert into task_details (id, full_name, local_config, export_config) values ($1, '+a', '{}', '{}')", {state});
      transaction.execute("insert into task_state_details (id) values ($1)", {state});
    }
  });
  const auto cancelled = [&] {
    std::vector<std::string> states;
    const Answer answer = ask("GET", "/api/attempts/1/tasks");
    for (const Value& task : answer.body.find("tasks")->as_array()) {
      if (task.find("cancelRequested")->as_boolean()) states.push_back(task.find("state")->as_string());
    }
    return states;
  };
  EXPECT_THAT(cancelled(), IsEmpty());
  ask("POST", "/api/attempts/1/kill");
  EXPECT_THAT(cancelled(), ElementsAre("planned"));
}

// execution 32.97, decisions E-32
TEST_F(ApiOf, ADelayedAttemptIsEndedByAKill) {
  put();
  change("delay", 1);
  EXPECT_EQ(ask("GET", "/api/attempts/1").text("status"), "running");
  EXPECT_EQ(to_json(ask("GET", "/api/attempts/1/tasks").body), R"({"tasks":[]})");
  EXPECT_EQ(ask("POST", "/api/attempts/1/kill").status, 200);
  EXPECT_EQ(ask("GET", "/api/attempts/1").text("status"), "killed");
  EXPECT_EQ(events(), 0);
  EXPECT_EQ(ask("POST", "/api/attempts/1/kill").status, 409);
}

// rest-api 18.76, 18.77, 18.78, 18.80
TEST_F(ApiOf, ListsOfAttemptsAreFiltered) {
  put();
  put(R"(, "retryAttemptName": "again")");
  const auto ids = [&](const std::string& query) {
    std::vector<std::string> found;
    const Answer answer = ask("GET", "/api/attempts" + query);
    for (const Value& one : answer.body.find("attempts")->as_array()) found.push_back(one.find("id")->as_string());
    return found;
  };
  EXPECT_THAT(ids(""), ElementsAre("2"));
  EXPECT_THAT(ids("?include_retried=TRUE"), ElementsAre("2", "1"));
  EXPECT_THAT(ids("?include_retried=1"), ElementsAre("2"));
  EXPECT_THAT(ids("?include_retried=true&last_id=2"), ElementsAre("1"));
  EXPECT_THAT(ids("?workflow=zz"), ElementsAre("2"));
  EXPECT_THAT(ids("?project=orders&workflow=zz"), IsEmpty());
  EXPECT_EQ(ask("GET", "/api/attempts?project=zz").message(), "Resource does not exist: project name=zz");
}

// decisions V-43
TEST_F(ApiOf, WhileAnotherKindOfServerHoldsLocksThereAreOnlyReads) {
  put();
  writes_refused_ = "Another digdag server has tasks locked";
  const Answer refused = ask("POST", "/api/attempts/1/kill");
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.message(), *writes_refused_);
  EXPECT_EQ(put().status, 503);
  EXPECT_EQ(ask("GET", "/api/attempts/1").status, 200);
}

// decisions R-14
TEST_F(ApiOf, ListsTakeFiltersOfTheirOwn) {
  put();
  put(R"(, "retryAttemptName": "again")");
  const auto count = [&](const std::string& path, const char* member) { return ask("GET", path).body.find(member)->as_array().size(); };
  EXPECT_EQ(count("/api/attempts?status=running&include_retried=true", "attempts"), 2U);
  EXPECT_EQ(count("/api/attempts?status=killed", "attempts"), 0U);
  EXPECT_EQ(count("/api/attempts?since=2999-01-01T00:00:00Z", "attempts"), 0U);
  EXPECT_EQ(count("/api/sessions?name=al&since=2020-01-01T00:00:00Z", "sessions"), 1U);
  EXPECT_EQ(count("/api/sessions?name=zz", "sessions"), 0U);
  EXPECT_EQ(count("/api/projects/1/sessions?status=error", "sessions"), 0U);
  EXPECT_EQ(to_json(*ask("GET", "/api/sessions/1/attempts?order=asc").body.find("attempts")->as_array().front().find("id")), R"("1")");
  EXPECT_EQ(ask("GET", "/api/sessions?status=done").message(), "status must be running, success, error or killed, but it is 'done'");
  EXPECT_EQ(ask("GET", "/api/attempts?since=now").message(), "since must be a time such as 2026-01-02T03:04:05Z, but it is 'now'");
  EXPECT_EQ(ask("GET", "/api/attempts?order=up").status, 400);
}

// rest-api 18.90, 18.91, 18.92
TEST_F(ApiOf, TasksAndLogsOfAnAttemptThatWaitsAreNone) {
  put();
  EXPECT_EQ(to_json(ask("GET", "/api/attempts/1/tasks").body), R"({"tasks":[]})");
  EXPECT_EQ(ask("GET", "/api/attempts/9/tasks").status, 404);
  EXPECT_EQ(to_json(ask("GET", "/api/logs/1/files").body), R"({"files":[]})");
  EXPECT_EQ(ask("GET", "/api/logs/1/files/x.log.gz").message(), "Log file not found");
}

// decisions R-33
TEST_F(ApiOf, AServerWithoutItsDatabaseIsAliveButNotReady) {
  EXPECT_EQ(ask("GET", "/api/ready").status, 200);
  database_->shut_down();
  EXPECT_EQ(ask("GET", "/api/ready").status, 503);
  EXPECT_EQ(ask("GET", "/api/health").status, 200);
}

}  // namespace
}  // namespace digdag::server
