#include "server/shutdown_watch.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/thread.h"

namespace digdag::server {
namespace {

using Clock = std::chrono::steady_clock;

/// What a commit that is under way when the time is over may take yet.
constexpr std::chrono::seconds last_commit{5};

}  // namespace

struct ShutdownWatch::Impl {
  Options options;
  store::Database& database;
  Log& log;
  const Clock::time_point end = options.limit ? Clock::now() + *options.limit : Clock::time_point::max();

  std::mutex mutex;
  std::condition_variable wake;
  bool over = false;
  Clock::time_point answered = Clock::now();
  Thread asking, watching;

  /// Beside the watching: it may hang in a connection that is dead.
  void ask_again_and_again() {
    std::unique_lock lock(mutex);
    while (!wake.wait_for(lock, options.look_every, [this] { return over; })) {
      lock.unlock();
      const bool answers = database_answers();
      lock.lock();
      if (answers) answered = Clock::now();
    }
  }

  bool database_answers() const {
    try {
      options.ask_database(options.answers_within);
      return true;
    } catch (const Error&) {  // whoever waits for it has told why
      return false;
    }
  }

  void watch() {
    std::unique_lock lock(mutex);
    const auto is_over = [this] { return over; };
    while (Clock::now() < end) {
      if (wake.wait_until(lock, std::min(end, Clock::now() + options.look_every), is_over)) return;
      if (Clock::now() - answered > options.answers_within && !options.tasks_run()) return end_without_database();
    }
    options.give_up();
    if (!wake.wait_for(lock, last_commit, is_over)) database.shut_down();
  }

  void end_without_database() {
    log.write(LogLevel::error, "shutdown", "server",
              "The database does not answer: what could not be stored is done again by the next server");
    options.give_up();
    database.shut_down();
  }
};

ShutdownWatch::ShutdownWatch(Options options, store::Database& database, Log& log)
    : impl_(new Impl{.options = std::move(options), .database = database, .log = log}) {
  impl_->asking = Thread("asking the database at the shutdown", [this] { impl_->ask_again_and_again(); });
  impl_->watching = Thread("watching over the shutdown", [this] { impl_->watch(); });
}

ShutdownWatch::~ShutdownWatch() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->over = true;
  }
  impl_->wake.notify_all();
  impl_->watching.join();
  impl_->asking.join();
}

}  // namespace digdag::server
