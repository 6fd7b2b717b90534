#include "schedule/triggered_starts.h"

#include "schedule/schedules_for_test.h"
#include "store/triggers.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr std::string_view some_time = "2026-01-10T00:00:00Z";

std::string after(const std::string& workflow, const std::string& project = "") {
  return R"({"trigger": {"attempt>": null, "dependent_workflow_name": ")" + workflow + "\"" +
         (project.empty() ? "" : R"(, "dependent_project_name": ")" + project + "\"") + R"(}, "+a": {"echo>": 1}})";
}
const std::string plain = R"({"+a": {"echo>": 1}})";

/// Workflows of the projects p, q, … that trigger each other.
class Triggers : public WithSchedules {
 protected:
  void push(const Workflows& workflows, const std::string& project = "p", std::int64_t site = 0) {
    WithSchedules::push(workflows, some_time, {}, "UTC", project, site);
  }
  /// Why a push is refused.
  std::string refusal(const Workflows& workflows, const std::string& project = "p") {
    try {
      push(workflows, project);
    } catch (const Error& error) {
      return error.kind() + ": " + error.message();
    }
    return "";
  }
  void remove(const std::string& project) {
    write([&](store::Transaction& transaction) {
      store::Projects projects(transaction, 0);
      projects.remove(projects.by_name(project).value().id);
    });
  }
  /// An attempt of the workflow succeeds.
  void succeed(const std::string& workflow, std::string_view session, const std::string& project = "p", std::int64_t site = 0) {
    write([&](store::Transaction& transaction) {
      const std::int64_t id = store::Projects(transaction, site).put_and_lock(project).id;
      store::Sessions sessions(transaction, site);
      store::NewAttempt attempt;
      attempt.project_id = id;
      attempt.session_id = sessions.put_session({id, workflow, at(session)}, random_uuid()).id;
      attempt.retry_attempt_name = random_uuid();
      attempt.params = Value::object();
      const std::int64_t succeeded = sessions.insert_attempt(attempt).value().id;
      transaction.send("update session_attempts set state_flags = 6 where id = $1", {succeeded});
      store::insert_triggered_starts(transaction, {succeeded});
    });
  }
  std::int64_t start(std::string_view now = some_time) { return TriggeredStarts(*database_, *starter_, log_, sites_).start_ready(at(now)); }
  std::int64_t owed() {
    return database_->read([](store::Transaction& transaction) {
      return static_cast<std::int64_t>(store::triggered_starts(transaction, {}, at("2999-01-01T00:00:00Z"), 1000).size());
    });
  }

  store::SiteSelection sites_;
};
DIGDAG_FOR_EVERY_DATABASE(Triggers);

// decisions S-40
TEST_P(Triggers, StartAWorkflowAfterTheSuccessOfAnotherForTheSameSession) {
  push({{"up", plain}, {"down", after("up")}, {"other", plain}});
  succeed("up", "2026-01-02T00:00:00Z");
  EXPECT_EQ(start(), 1);
  EXPECT_THAT(starter_->started, ElementsAre("down 2026-01-02T00:00:00Z"));
  succeed("other", "2026-01-02T00:00:00Z");
  succeed("down", "2026-01-02T00:00:00Z");
  EXPECT_EQ(start(), 0);
  EXPECT_EQ(owed(), 0);
}

// decisions S-40
TEST_P(Triggers, LeaveASessionAloneThatHasAnAttempt) {
  push({{"up", plain}, {"down", after("up")}});
  succeed("up", "2026-01-02T00:00:00Z");
  EXPECT_EQ(start(), 1);
  succeed("up", "2026-01-02T00:00:00Z");  // a retry
  EXPECT_EQ(start(), 0);
  EXPECT_EQ(owed(), 0);
  EXPECT_THAT(logged(),
              HasSubstr("Skipped session 2026-01-02T00:00:00+00:00 of workflow down (project p) after the success of attempt 3: the "
                        "session has an attempt already"));
}

// decisions S-40
TEST_P(Triggers, ReachAcrossTheProjectsOfASiteByTheirNames) {
  push({{"up", plain}}, "q");
  push({{"down", after("up", "q")}, {"up", plain}});
  push({{"up", plain}}, "q", 1);
  succeed("up", "2026-01-02T00:00:00Z");
  succeed("up", "2026-01-03T00:00:00Z", "q", 1);
  EXPECT_EQ(start(), 0);
  succeed("up", "2026-01-04T00:00:00Z", "q");
  EXPECT_EQ(start(), 1);
  EXPECT_THAT(starter_->started, ElementsAre("down 2026-01-04T00:00:00Z"));
}

// decisions S-40
TEST_P(Triggers, OfAProjectThatDoesNotExistAreRefused) {
  EXPECT_EQ(refusal({{"down", after("up", "nowhere")}}),
            "config: Dependent project 'nowhere' not found in trigger config (of workflow 'down')");
  EXPECT_EQ(refusal({{"down", after("up", "p")}}), "") << "its own project exists as soon as it is pushed";
  push({{"up", plain}}, "q");
  remove("q");
  EXPECT_EQ(refusal({{"down", after("up", "q")}}), "config: Dependent project 'q' not found in trigger config (of workflow 'down')");
}

// decisions S-40
TEST_P(Triggers, ThatFormACycleAreRefused) {
  EXPECT_EQ(refusal({{"a", after("a")}}), "config: The triggers of workflows form a cycle: p/a starts after p/a");
  push({{"a", plain}});
  push({{"b", after("a", "p")}, {"c", after("b")}}, "q");
  EXPECT_EQ(refusal({{"a", after("c", "q")}}),
            "config: The triggers of workflows form a cycle: p/a starts after q/c starts after q/b starts after p/a");
  push({{"b", plain}}, "q");
  EXPECT_EQ(refusal({{"a", after("c", "q")}}), "") << "q has given its triggers up";
}

// decisions S-40
TEST_P(Triggers, BelongToTheLatestRevisionOfTheirProject) {
  push({{"up", plain}, {"kept", after("up")}, {"dropped", after("up")}, {"gone", after("up")}});
  push({{"up", plain}, {"kept", after("up")}, {"dropped", plain}, {"new", after("up")}});
  succeed("up", "2026-01-02T00:00:00Z");
  EXPECT_EQ(start(), 2);
  EXPECT_THAT(starter_->started, UnorderedElementsAre("kept 2026-01-02T00:00:00Z", "new 2026-01-02T00:00:00Z"));
}

// decisions S-40
TEST_P(Triggers, GoWithTheirProject) {
  push({{"up", plain}}, "q");
  push({{"down", after("up", "q")}});
  succeed("up", "2026-01-02T00:00:00Z", "q");
  remove("p");
  succeed("up", "2026-01-03T00:00:00Z", "q");
  EXPECT_EQ(owed(), 1);
  EXPECT_EQ(start(), 0);
  EXPECT_EQ(owed(), 0);
  EXPECT_THAT(logged(), HasSubstr("its project was deleted"));
}

TEST_P(Triggers, WaitAtTheAttemptLimitOfTheirSiteAlone) {
  push({{"up", plain}, {"down", after("up")}});
  push({{"up", plain}, {"down", after("up")}}, "q", 1);
  starter_->attempt_limit = 1;
  for (const char* session : {"2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"}) succeed("up", session);
  succeed("up", "2026-01-04T00:00:00Z", "q", 1);
  EXPECT_EQ(start(), 2);
  EXPECT_THAT(starter_->started, ElementsAre("down 2026-01-02T00:00:00Z", "down 2026-01-04T00:00:00Z"));
  EXPECT_EQ(start(), 0);
  finish_attempts();
  EXPECT_EQ(start(), 1);
  EXPECT_THAT(starter_->started, ElementsAre("down 2026-01-02T00:00:00Z", "down 2026-01-04T00:00:00Z", "down 2026-01-03T00:00:00Z"));
}

TEST_P(Triggers, StartWhatIsRightBesideWhatIsWrong) {
  push({{"up", plain}, {"right", after("up")}, {"broken", after("up")}, {"poisoned", after("up")}});
  starter_->broken = {"broken"};
  starter_->poisoned = {"poisoned"};
  succeed("up", "2026-01-02T00:00:00Z");
  EXPECT_EQ(start(), 1);
  EXPECT_THAT(starter_->started, ElementsAre("right 2026-01-02T00:00:00Z"));
  EXPECT_THAT(logged(), HasSubstr("Cannot start session 2026-01-02T00:00:00+00:00 of workflow broken (project p) after the success of "
                                  "attempt 1: it is broken"));
  EXPECT_EQ(owed(), 1);
  starter_->poisoned.clear();
  EXPECT_EQ(start("2026-01-10T00:04:59Z"), 0);
  EXPECT_EQ(start("2026-01-10T00:05:00Z"), 1);
}

TEST_P(Triggers, AreStartedOnlyForTheSitesOfThisServer) {
  push({{"up", plain}, {"down", after("up")}});
  succeed("up", "2026-01-02T00:00:00Z");
  sites_ = {store::SiteSelection::Mode::only, {1}};
  EXPECT_EQ(start(), 0);
  sites_ = {store::SiteSelection::Mode::except, {1}};
  EXPECT_EQ(start(), 1);
}

}  // namespace
}  // namespace digdag::schedule
