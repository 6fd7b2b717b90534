#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/text.h"
#include "dig/compiler.h"
#include "dig/loader.h"
#include "store/breaking_database_for_test.h"
#include "store/owned_attempts.h"
#include "store/projects.h"
#include "store/schema_for_test.h"
#include "store/servers.h"
#include "store/sessions.h"

namespace digdag::store {
namespace {

using engine::TaskState;

constexpr int many = 510;  // more than go in one step

std::string many_tasks(const std::string& indent) {
  std::string dig;
  for (int i = 0; i < many; ++i) dig += indent + "+t" + std::to_string(i) + ": {echo>: 1}\n";
  return dig;
}

/// A server that dies while it writes a large change, and another one that goes on.
class LargeChanges : public DatabaseWithSchema {
 protected:
  void SetUp() override {
    DatabaseWithSchema::SetUp();
    here_ = this_process("1@here");
    there_ = here_;
    there_.id = random_uuid();
    write([&](Transaction& transaction) { insert_server(transaction, there_); });
    other_.emplace(*database_, there_.id, QueueLease{"1@there", 300});
  }

  /// A new attempt of the server that will die, accepted, without any task.
  void accept(const std::string& dig) {
    attempt_.emplace(dig::compile(dig::workflow_of("w", dig::load_yaml(dig, dig::Source{".", ".", "w.dig"}), "w.dig")), engine::Params(),
                     TimeZone(), options_);
    rows_ = {};
    forget();
    owner_.emplace(*database_, here_.id, QueueLease{"1@here", 300});
    write([&](Transaction& transaction) {
      insert_server(transaction, here_);
      const std::int64_t project = Projects(transaction, 0).put_and_lock("orders").id;
      Sessions sessions(transaction, 0);
      NewAttempt wanted;
      wanted.project_id = project;
      wanted.session_id = sessions.put_session({project, "w", Instant::of_seconds(1'772'000'000 + ++sessions_)}, random_uuid()).id;
      wanted.params = Value::object();
      rows_.attempt_id = sessions.insert_attempt(wanted).value().id;
      owner_->own_new(transaction, rows_);
    });
  }
  void start() { note(attempt_->start(now_)); }
  void happens(const engine::Event& event) { note(attempt_->apply(event, now_)); }
  void succeed(engine::TaskIndex task, engine::TaskResult result = {}) {
    happens(engine::Succeeded{task, attempt_->lease(task), std::move(result), {}});
  }
  /// What has happened is stored, by a server that lives.
  void store() {
    std::vector<AttemptChange> changes{change()};
    owner_->commit(changes);
    forget();
  }
  AttemptChange change() {
    owner_->number_tasks(rows_, attempt_->size());
    return {&rows_, &*attempt_, {changed_.begin(), changed_.end()}, {results_.begin(), results_.end()}, runs_, {}, attempt_->done()};
  }

  /// The server dies while it stores what has happened, at this statement. False where it got through.
  bool dies(int statement) {
    AttemptChange large = change();
    BreakingDatabase breaking(*database_, statement);
    OwnedAttempts dying(breaking, here_.id, QueueLease{"1@here", 300});
    try {
      dying.commit_in_steps(large);
      return false;
    } catch (const Broken&) {
      return true;
    }
  }
  /// The other one takes it over; nothing where it is done.
  std::optional<OwnedAttempt> taken_over() {
    write([&](Transaction& transaction) { remove_server(transaction, here_); });
    other_->remove_leftovers();
    const std::vector<std::int64_t> claimed = other_->claim(10, {});
    std::optional<OwnedAttempt> found;
    other_->load(
        claimed, [&](OwnedAttempt attempt) { found = std::move(attempt); },
        [](std::int64_t, const Error& error) { ADD_FAILURE() << error.message(); });
    return found;
  }
  std::vector<TaskState> states() {
    std::vector<TaskState> all;
    for (std::size_t i = 0; i < attempt_->size(); ++i) all.push_back(attempt_->state(static_cast<engine::TaskIndex>(i)));
    return all;
  }
  static std::vector<TaskState> states(const OwnedAttempt& attempt) {
    std::vector<TaskState> all;
    for (const engine::StoredTask& task : attempt.tasks) all.push_back(task.state);
    return all;
  }
  std::int64_t count(const Sql& sql) {
    return write([&](Transaction& transaction) { return transaction.query(sql, {rows_.attempt_id}).at(0).integer(0); });
  }

  /// Whenever the server dies while it stores what `happens`, after `before` was stored: the other one finds all of it or nothing.
  void finds_all_or_nothing(const std::string& dig, const std::function<void()>& before, const std::function<void()>& happen) {
    bool found_nothing = false, found_all = false;
    for (int statement = 0; dies_in(dig, before, happen, statement); ++statement) {
      const std::vector<TaskState> old = before_;
      auto found = taken_over();
      ASSERT_TRUE(found) << "at statement " << statement;
      EXPECT_EQ(count("select count(*) from tasks where attempt_id = $1"), static_cast<std::int64_t>(found->tasks.size()));
      if (states(*found) == old) {
        found_nothing = true;
        check_nothing(*found);
        continue;
      }
      found_all = true;
      check_all(*found);
      const engine::Restored restored = engine::Attempt::restore(found->stored, found->tasks, engine::Params(), TimeZone(), options_, now_);
      ASSERT_EQ(restored.attempt.size(), attempt_->size()) << "at statement " << statement;
      for (std::size_t i = 0; i < attempt_->size(); ++i) {
        const auto task = static_cast<engine::TaskIndex>(i);
        EXPECT_EQ(restored.attempt.state(task), attempt_->state(task)) << attempt_->full_name(task) << " at statement " << statement;
        EXPECT_EQ(restored.attempt.flags(task), attempt_->flags(task)) << attempt_->full_name(task) << " at statement " << statement;
      }
    }
    EXPECT_TRUE(found_nothing);
    EXPECT_TRUE(found_all);
  }
  bool dies_in(const std::string& dig, const std::function<void()>& before, const std::function<void()>& happen, int statement) {
    now_ = Instant::of_seconds(1'772'000'000);
    accept(dig);
    before();
    before_ = rows_.states;
    happen();
    return dies(statement);
  }

  std::function<void(const OwnedAttempt&)> check_nothing = [](const OwnedAttempt&) {}, check_all = check_nothing;
  Instant now_;
  const engine::AttemptOptions options_{.group_check = true};
  ServerProcess here_, there_;
  std::optional<OwnedAttempts> owner_, other_;
  AttemptRows rows_;
  std::optional<engine::Attempt> attempt_;
  std::vector<TaskState> before_;

 private:
  void note(const engine::Outcome& outcome) {
    changed_.insert(outcome.changed.begin(), outcome.changed.end());
    results_.insert(outcome.results_changed.begin(), outcome.results_changed.end());
    for (const engine::Effect& effect : outcome.effects) {
      if (const auto* run = std::get_if<engine::Run>(&effect)) runs_.push_back({run->task, run->lease, true});
    }
  }
  void forget() {
    changed_.clear();
    results_.clear();
    runs_.clear();
  }

  std::set<engine::TaskIndex> changed_, results_;
  std::vector<QueuedRun> runs_;
  int sessions_ = 0;
};

TEST_P(LargeChanges, AStartIsStoredAsAWholeOrBeginsAnew) {
  finds_all_or_nothing(
      "_parallel: true\n" + many_tasks(""), [] {}, [&] { start(); });
}

TEST_P(LargeChanges, WhatWasReleasedGoesOnWithWhatReleasedIt) {
  const auto begun = [&] {
    start();
    store();
  };
  finds_all_or_nothing("+a: {echo>: 1}\n+b:\n  _parallel: true\n" + many_tasks("  "), begun, [&] { succeed(1); });
}

TEST_P(LargeChanges, TasksThatWereGeneratedComeWithWhatElseHappened) {
  const auto begun = [&] {
    start();
    store();
  };
  const auto generated = [&] {
    engine::TaskResult result;
    result.subtask_config = dig::load_yaml(many_tasks(""), dig::Source{".", ".", "w.dig"});
    result.subtask_config.mutable_object().set("_parallel", true);
    now_ = now_.plus_seconds(10);
    happens(engine::Tick{});
    succeed(1, result);
  };
  check_nothing = [](const OwnedAttempt& found) { EXPECT_TRUE(found.stored.monitor) << "its time is not over yet"; };
  check_all = [](const OwnedAttempt& found) { EXPECT_FALSE(found.stored.monitor) << "it was told already"; };
  finds_all_or_nothing("sla: {duration: 00:00:10, +late: {echo>: late}}\n+a: {loop>: 510}\n", begun, generated);
}

TEST_P(LargeChanges, NewTasksComeWithWhatBroughtThemForthAlsoAtTheStart) {
  const auto accepted_by_one_that_executes_nothing = [&] {
    owner_->number_tasks(rows_, attempt_->size());
    std::vector<AttemptChange> first{{&rows_, &*attempt_, {0, 1, 2}, {}, {}, {}}};
    write([&](Transaction& transaction) { write_first(transaction, first); });
    rows_.states.assign(attempt_->size(), TaskState::blocked);
  };
  finds_all_or_nothing("_parallel: true\n+a:\n  _check: {echo>: 1}\n+b: {echo>: 1}\n", accepted_by_one_that_executes_nothing,
                       [&] { start(); });
}

TEST_P(LargeChanges, WhatWasReleasedInAGroupThatFailsAtTheSameTimeIsNotForgotten) {
  const auto begun = [&] {
    start();
    store();
  };
  const auto fails = [&] { happens(engine::Failed{2, attempt_->lease(2), Value::object({{"message", "no"}}), false, {}}); };
  finds_all_or_nothing("+g:\n  _parallel: {limit: 1, mode: window}\n  +a: {echo>: 1}\n  +b: {_export: {k: 1}}\n", begun, fails);
}

TEST_P(LargeChanges, AKillReachesAllTasksOrIsStillToBeApplied) {
  const auto begun = [&] {
    start();
    store();
  };
  finds_all_or_nothing("_parallel: {limit: 2, mode: window}\n" + many_tasks(""), begun, [&] {
    succeed(1);
    happens(engine::Kill{});
  });
}

TEST_P(LargeChanges, TheRowsOfALargeAttemptThatIsDoneGoWhoeverRemovesThem) {
  bool was_done = false;
  const auto begun = [&] {
    start();
    store();
  };
  const auto ends = [&] {
    for (engine::TaskIndex task = 1; task <= many; ++task) succeed(task);
  };
  for (int statement = 0; dies_in("_parallel: true\n" + many_tasks(""), begun, ends, statement); ++statement) {
    const auto found = taken_over();
    if (found) {
      EXPECT_EQ(states(*found), before_) << "at statement " << statement;
      continue;
    }
    was_done = true;
    EXPECT_EQ(count("select state_flags from session_attempts where id = $1"), attempt_done | attempt_success);
    EXPECT_EQ(count("select count(*) from task_archives where id = $1"), 1);
    EXPECT_EQ(count("select count(*) from tasks where attempt_id = $1"), 0) << "at statement " << statement;
    EXPECT_EQ(count("select count(*) from digdag_native_attempts where id = $1"), 0) << "at statement " << statement;
  }
  EXPECT_TRUE(was_done);
}

TEST_P(LargeChanges, WhoOwnsAnAttemptNoMoreLeavesWhatTheOwnerWritesAlone) {
  dies_in(
      "_parallel: true\n" + many_tasks(""), [] {}, [&] { start(); }, 8);
  const std::int64_t written = count("select count(*) from tasks where attempt_id = $1");
  ASSERT_GT(written, 0) << "in the middle of it";
  other_->load({rows_.attempt_id}, [](const OwnedAttempt&) { ADD_FAILURE() << "it is another one's"; }, {});
  EXPECT_EQ(count("select count(*) from tasks where attempt_id = $1"), written);
}

DIGDAG_FOR_EVERY_DATABASE(LargeChanges);

}  // namespace
}  // namespace digdag::store
