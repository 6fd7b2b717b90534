#include "server/shutdown_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "base/error.h"
#include "base/eventually_for_test.h"
#include "store/sqlite.h"

namespace digdag::server {
namespace {

class AShutdown : public testing::Test {
 protected:
  ShutdownWatch::Options options() {
    ShutdownWatch::Options options;
    options.look_every = std::chrono::milliseconds(1);
    options.tasks_run = [this] { return tasks_run_.load(); };
    options.give_up = [this] { has_given_up_ = true; };
    options.ask_database = [this](store::Database::Patience) {
      ++asked_;
      if (is_away_) throw store::DatabaseError(store::DatabaseError::Cause::unavailable, "away");
    };
    return options;
  }
  bool was_asked_again() {
    const int before = asked_;
    return eventually([&] { return asked_ > before + 1; });
  }
  bool database_works() {
    try {
      database_->read([](store::Transaction& transaction) { transaction.query("select 1"); });
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  Log log_{Log::Options{.quiet = true}};
  std::unique_ptr<store::Database> database_ = store::open_memory();
  std::atomic<bool> tasks_run_ = false, is_away_ = false, has_given_up_ = false;
  std::atomic<int> asked_ = 0;
};

TEST_F(AShutdown, LastsAsLongAsItWantsWhileTheDatabaseAnswers) {
  const ShutdownWatch watch(options(), *database_, log_);
  EXPECT_TRUE(was_asked_again());
  EXPECT_FALSE(has_given_up_);
}

TEST_F(AShutdown, DoesNotWaitForADatabaseThatIsAwayWhenNoTaskRunsAnyMore) {
  is_away_ = tasks_run_ = true;
  ShutdownWatch::Options impatient = options();
  impatient.answers_within = std::chrono::milliseconds(1);
  const ShutdownWatch watch(impatient, *database_, log_);
  EXPECT_TRUE(was_asked_again());
  EXPECT_FALSE(has_given_up_);
  tasks_run_ = false;
  EXPECT_TRUE(eventually([&] { return !database_works(); }));
  EXPECT_TRUE(has_given_up_);
}

// decisions E-52
TEST_F(AShutdown, GivesTasksTheTimeThatTheConfigurationSays) {
  tasks_run_ = true;
  ShutdownWatch::Options limited = options();
  limited.limit = std::chrono::seconds(0);
  const ShutdownWatch watch(limited, *database_, log_);
  EXPECT_TRUE(eventually([&] { return has_given_up_.load(); }));
}

TEST_F(AShutdown, DoesNotHangWithAConnectionThatNobodyAnswers) {
  std::promise<void> end;
  ShutdownWatch::Options impatient = options();
  impatient.answers_within = std::chrono::milliseconds(1);
  impatient.ask_database = [gone = end.get_future().share()](store::Database::Patience) { gone.wait(); };
  const ShutdownWatch watch(impatient, *database_, log_);
  EXPECT_TRUE(eventually([&] { return has_given_up_.load(); }));
  end.set_value();
}

}  // namespace
}  // namespace digdag::server
