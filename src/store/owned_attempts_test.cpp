#include "store/owned_attempts.h"

#include <gmock/gmock.h>

#include "base/text.h"
#include "dig/compiler.h"
#include "dig/loader.h"
#include "store/attempt_events.h"
#include "store/projects.h"
#include "store/schema_for_test.h"
#include "store/servers.h"
#include "store/sessions.h"
#include "store/triggers.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

/// Attempts whose one task polls.
class OwnedAttemptsOf : public DatabaseWithSchema {
 protected:
  void SetUp() override {
    DatabaseWithSchema::SetUp();
    here_ = this_process("1@here");
    write([&](Transaction& transaction) { insert_server(transaction, here_); });
    owned_.emplace(*database_, here_.id, QueueLease{"1@here", 300});
  }

  /// Started and stored; its task runs.
  void start(const OwnedAttempts& owner) {
    attempt_.emplace(dig::compile(dig::workflow_of("w", dig::load_yaml("+x: {echo>: 1}\n", dig::Source{".", ".", "w.dig"}), "w.dig")),
                     engine::Params(), TimeZone(), engine::AttemptOptions());
    attempt_->start(now_);
    owned_->number_tasks(rows_, attempt_->size());
    std::vector<AttemptChange> changes{{&rows_, &*attempt_, {0, 1}, {}, {{1, 1, true}}, {}}};
    write([&](Transaction& transaction) {
      const std::int64_t project = Projects(transaction, 0).put_and_lock("orders").id;
      Sessions sessions(transaction, 0);
      NewAttempt wanted;
      wanted.project_id = project;
      wanted.session_id = sessions.put_session({project, "w", now_}, random_uuid()).id;
      wanted.params = Value::object();
      rows_.attempt_id = sessions.insert_attempt(wanted).value().id;
      owner.write_new(transaction, changes[0]);
    });
    note_committed(changes);
  }
  /// Ends the run, and begins the next one where that is due.
  void poll(std::int64_t delay_millis) {
    attempt_->apply(engine::RetryLater{1, attempt_->lease(1), delay_millis, Value::object(), {}}, now_);
    attempt_->apply(engine::Tick{}, now_);
    commit();
    if (delay_millis == 0) return;
    now_ = now_.plus_millis(delay_millis);
    attempt_->apply(engine::Tick{}, now_);
    commit();
  }
  void commit() {
    AttemptChange change{&rows_, &*attempt_, {0, 1}, {1}, {}, {}, attempt_->done()};
    if (attempt_->state(1) == engine::TaskState::running) change.runs.push_back({1, attempt_->lease(1), true});
    std::vector<AttemptChange> changes{change};
    owned_->commit(changes);
  }
  OwnedAttempt load() {
    std::optional<OwnedAttempt> loaded;
    owned_->load({rows_.attempt_id}, [&](OwnedAttempt attempt) { loaded = std::move(attempt); }, {});
    return loaded.value();
  }
  AttemptChange end() {
    std::vector<engine::TaskIndex> tasks{0, 1};
    return {&rows_, &*attempt_, tasks, {1}, {}, {}, true};
  }
  /// `orders/x` starts after `orders/w`.
  void trigger() {
    write([](Transaction& transaction) {
      Projects projects(transaction, 0);
      const Project project = projects.put_and_lock("orders");
      const auto revision = projects.insert_revision(project.id, {.name = "r", .archive_type = "none"});
      const auto workflows = projects.insert_workflows(project, *revision, {{"x", TimeZone(), Value::object()}});
      replace_triggers(transaction, project, {{workflows.front().id, {"orders", "w"}}});
    });
  }
  /// Attempts whose success is still to start another one.
  std::vector<std::int64_t> owing() {
    return write([&](Transaction& transaction) {
      std::vector<std::int64_t> attempts;
      for (const TriggeredStart& start : triggered_starts(transaction, {}, now_, 100)) attempts.push_back(start.upstream_attempt_id);
      return attempts;
    });
  }
  std::vector<std::string> queue() {
    return write([](Transaction& transaction) {
      std::vector<std::string> names;
      for (const Row& row : transaction.query("select unique_name from queued_tasks order by id")) names.push_back(row.text(0));
      return names;
    });
  }

  std::int64_t polls() {
    static constexpr Sql of_the_task("select retry_count from tasks where id = $1");
    return write([&](Transaction& transaction) { return transaction.query(of_the_task, {rows_.task_ids[1]}).front().integer(0); });
  }

  Instant now_ = Instant::of_seconds(1'772'000'000);
  ServerProcess here_;
  std::optional<OwnedAttempts> owned_;
  AttemptRows rows_;
  std::optional<engine::Attempt> attempt_;
};

// execution 32.99
TEST_P(OwnedAttemptsOf, ARunThatIsReadBackIsFoundInTheQueueWhateverItPolled) {
  start(*owned_);
  const std::string id = std::to_string(rows_.task_ids[1]);
  EXPECT_THAT(queue(), ElementsAre(id));
  poll(1000);
  EXPECT_THAT(queue(), ElementsAre(id + ".r1"));
  EXPECT_EQ(polls(), 1);
  poll(0);
  EXPECT_THAT(queue(), ElementsAre(id + ".r2"));
  EXPECT_EQ(polls(), 2);
  EXPECT_THAT(load().rows.queued, ElementsAre(Pair(1, id + ".r2")));
  attempt_->apply(engine::Succeeded{1, attempt_->lease(1), {}, {}}, now_);
  commit();
  EXPECT_THAT(queue(), IsEmpty());
  EXPECT_THAT(owned_->ids(), IsEmpty());
}

TEST_P(OwnedAttemptsOf, WhatAServerTookThatNobodyKnowsIsFreeForOthers) {
  start(OwnedAttempts(*database_, "unknown", QueueLease{"2@here", 300}));
  EXPECT_THAT(owned_->claim(10, {}), ElementsAre(rows_.attempt_id));
  EXPECT_THAT(owned_->ids(), ElementsAre(rows_.attempt_id));
  EXPECT_THAT(owned_->claim(10, {}), IsEmpty());
}

// server 4.3
TEST_P(OwnedAttemptsOf, AttemptsOfSitesThatAreNotSelectedAreLeftAlone) {
  using Mode = SiteSelection::Mode;
  start(OwnedAttempts(*database_, "unknown", QueueLease{"2@here", 300}));
  EXPECT_THAT(owned_->claim(10, {Mode::except, {0, 7}}), IsEmpty());
  EXPECT_THAT(owned_->claim(10, {Mode::only, {7}}), IsEmpty());
  EXPECT_THAT(owned_->claim(10, {Mode::only, {7, 0}}), ElementsAre(rows_.attempt_id));
}

TEST_P(OwnedAttemptsOf, AKillCountsWithItsEventAndOnlyOnce) {
  start(*owned_);
  const std::int64_t event = write([&](Transaction& transaction) { return insert_kill(transaction, rows_.attempt_id); });
  const AttemptRows before = rows_;
  attempt_->apply(engine::Kill{}, now_);
  std::vector<AttemptChange> killed{{&rows_, &*attempt_, {1}, {}, {}, {event}}};
  owned_->commit(killed);
  EXPECT_THAT(owned_->events(), IsEmpty());
  EXPECT_THROW(owned_->commit(killed), DatabaseError) << "handed in again by who read it before";
  EXPECT_EQ(rows_.version, before.version + 1);
}

TEST_P(OwnedAttemptsOf, ALargeChangeThatIsTriedAgainAppliesItsKillOnce) {
  start(*owned_);
  const std::int64_t event = write([&](Transaction& transaction) { return insert_kill(transaction, rows_.attempt_id); });
  attempt_->apply(engine::Kill{}, now_);
  AttemptChange killed{&rows_, &*attempt_, {1}, {}, {}, {event}};
  owned_->commit_in_steps(killed);
  EXPECT_THAT(owned_->events(), IsEmpty());
  owned_->commit_in_steps(killed);
}

// decisions S-40
TEST_P(OwnedAttemptsOf, ASuccessOwesWhatItTriggersInTheSameCommit) {
  trigger();
  start(*owned_);
  attempt_->apply(engine::Succeeded{1, attempt_->lease(1), {}, {}}, now_);
  EXPECT_THAT(owing(), IsEmpty());
  commit();
  EXPECT_THAT(owing(), ElementsAre(rows_.attempt_id));
}

// decisions S-40
TEST_P(OwnedAttemptsOf, ASuccessThatIsStoredInStepsOwesWhatItTriggersOnce) {
  trigger();
  start(*owned_);
  attempt_->apply(engine::Succeeded{1, attempt_->lease(1), {}, {}}, now_);
  AttemptChange change = end();
  owned_->commit_in_steps(change);
  owned_->commit_in_steps(change);
  EXPECT_THAT(owing(), ElementsAre(rows_.attempt_id));
}

// decisions S-40
TEST_P(OwnedAttemptsOf, AnAttemptThatWasKilledTriggersNothing) {
  trigger();
  start(*owned_);
  attempt_->apply(engine::Kill{}, now_);
  attempt_->apply(engine::Failed{1, attempt_->lease(1), Value::object(), false, {}}, now_);
  commit();
  EXPECT_THAT(owned_->ids(), IsEmpty());
  EXPECT_THAT(owing(), IsEmpty());
}

DIGDAG_FOR_EVERY_DATABASE(OwnedAttemptsOf);

}  // namespace
}  // namespace digdag::store
