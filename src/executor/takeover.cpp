#include "executor/takeover.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/thread.h"
#include "executor/server_lease.h"
#include "store/attempt_events.h"
#include "store/tasks.h"

namespace digdag::executor {
namespace {

using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::int64_t attempts_at_once = 100;
constexpr seconds look_around{5};    ///< the net under notices: dead servers, attempts that nobody owns, events
constexpr seconds look_for_dead{3};  ///< while there are other servers
constexpr seconds look_for_forgotten{30};
constexpr seconds tidy_up{86'400};

/// Something to be done again and again.
struct Duty {
  seconds every;
  std::function<void()> work;
  SteadyClock::time_point next = {};
};

}  // namespace

struct Takeover::Impl {
  Options options;
  store::Database& database;
  store::OwnedAttempts& owned;
  Executor& executor;
  Starter& starter;
  Log& log;

  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false;
  struct Broken {
    std::int64_t attempt_id;
    std::string cause;
  };
  std::vector<std::int64_t> to_read;
  std::deque<Broken> to_end;
  bool told = false;  ///< somebody said that there is something to look for
  std::vector<Duty> duties;
  std::vector<std::int64_t> unread;  ///< ours, to be read: again, where the database went away meanwhile
  std::deque<Broken> unended;        ///< ours, to be ended: the same
  std::set<std::int64_t> unknown;    ///< at the last look: ours in the database, and not under way here
  std::optional<ServerLease> lease;
  Thread thread;

  bool has_news() const { return told || !to_read.empty() || !to_end.empty(); }
  void tell() {
    {
      const std::lock_guard lock(mutex);
      told = true;
    }
    wake.notify_one();
  }

  /// `first`: before the executor has its loop; then this thread is the loop, so that what is read goes on while the rest is read.
  void take_over(bool first) {
    bool any_gone = false;
    const std::int64_t freed = database.write(
        [&](store::Transaction& transaction) {
          std::int64_t attempts = 0;
          any_gone = false;
          for (const store::ServerProcess& dead : store::dead_servers(transaction, options.server, options.alone)) {
            any_gone = true;
            attempts += store::remove_server(transaction, dead);
          }
          return attempts;
        },
        store::Durability::process);
    if (freed > 0)
      log.write(LogLevel::info, "main", "executor", std::to_string(freed) + " attempts of a server that is gone are taken over");
    if (any_gone && options.other_gone) options.other_gone();
    owned.remove_leftovers();
    read_unread();
    while (true) {
      const std::vector<std::int64_t> ids = owned.claim(attempts_at_once, options.sites);
      unread.insert(unread.end(), ids.begin(), ids.end());
      read_unread();
      if (first) executor.step();
      if (static_cast<std::int64_t>(ids.size()) < attempts_at_once) return;
    }
  }

  void end_unended() {
    for (; !unended.empty(); unended.pop_front())
      end_broken(unended.front().attempt_id, "Its state cannot be stored: " + unended.front().cause);
  }

  void read_unread() {
    read(unread);
    unread.clear();
  }

  void read(const std::vector<std::int64_t>& ids) {
    const auto cannot_go_on = [&](std::int64_t id, const Error& error) {
      end_broken(id, "The attempt cannot go on: " + error.message_with_kind());
    };
    const auto go_on = [&](store::OwnedAttempt attempt) {
      const std::int64_t id = attempt.attempt.id;
      try {
        starter.resume(std::move(attempt));
      } catch (const store::DatabaseError&) {
        throw;
      } catch (const Error& error) {
        cannot_go_on(id, error);
      } catch (const std::exception& error) {
        cannot_go_on(id, Error("internal", error.what()));
      }
    };
    owned.load(ids, go_on, cannot_go_on);
  }

  /// What is ours and does not go on here: it could not be read, or the commit of its end was undone by a crash of the database. One
  /// that is being started is not known yet; so only what is unknown twice is read.
  void find_strays() {
    std::set<std::int64_t> now;
    for (const std::int64_t id : owned.ids()) {
      const AttemptStatus status = executor.status(id);
      if (!status.known || status.done) now.insert(id);
    }
    const std::set<std::int64_t> before = std::exchange(unknown, now);
    std::vector<std::int64_t> strays;
    for (const std::int64_t id : now) {
      if (!before.contains(id)) continue;
      log.write(LogLevel::warn, "main", "executor", "Attempt " + std::to_string(id) + " did not go on: it is read back");
      strays.push_back(id);
    }
    read(strays);
  }

  /// One that cannot even be ended keeps nothing else back: `find_strays` comes to it again.
  void end_broken(std::int64_t attempt_id, const std::string& message) {
    log.write(LogLevel::error, "main", "executor", "Attempt " + std::to_string(attempt_id) + " ends with an error: " + message);
    try {
      owned.end_broken(attempt_id, message);
    } catch (const store::DatabaseError& error) {
      if (error.why() == store::DatabaseError::Cause::unavailable) throw;
      log.write(LogLevel::error, "main", "executor",
                "Attempt " + std::to_string(attempt_id) + " cannot be ended, which is tried again: " + error.report());
    }
  }

  void apply_events() {
    for (const store::AttemptEvent& event : owned.events()) {
      if (event.kind == "kill") executor.kill(event.attempt_id, event.id);
    }
  }

  void end_old_ones() {
    std::vector<std::pair<std::int64_t, std::string>> old;
    database.read([&](store::Transaction& transaction) {
      old.clear();
      for (const std::int64_t id : store::attempts_older_than(transaction, options.attempt_ttl_seconds, 100))
        old.emplace_back(id, "Workflow execution timeout");
      for (const auto& [id, tasks] : store::attempts_with_tasks_older_than(transaction, options.task_ttl_seconds, 100))
        old.emplace_back(id, "Task execution timeout: " + tasks);
    });
    for (const auto& [id, message] : old) {
      const auto killed =
          database.write([&, attempt_id = id](store::Transaction& transaction) { return store::request_kill(transaction, attempt_id); });
      if (!killed) continue;
      executor.kill(id, *killed);
      log.write(LogLevel::warn, "main", "executor", "Attempt " + std::to_string(id) + " is cancelled: " + message);
      if (options.timed_out) options.timed_out(id, message);
    }
  }

  void look_at_once() {
    if (lease) lease->renew_soon();
    look();
  }

  void look() {
    end_unended();
    take_over(false);
    apply_events();
  }

  void keep_lease() {
    const auto drop_all = [this] {
      executor.drop_all();
      if (options.lost) options.lost();
    };
    lease.emplace(ServerLease::Options{options.server, drop_all, [this] { tell(); }}, database, log);
    lease->start();
  }

  void set_duties() {
    duties.push_back({look_around, [this] { look(); }});
    duties.push_back({seconds(options.reaping_seconds), [this] { end_old_ones(); }});
    duties.push_back({seconds(options.heartbeat_seconds), [this] { owned.renew(); }});
    duties.push_back({look_for_forgotten, [this] { find_strays(); }});
    duties.push_back(
        {tidy_up, [this] { database.write([](store::Transaction& transaction) { store::forget_old_commits(transaction); }); }});
    if (lease) {
      duties.push_back({look_for_dead, [this] {
                          if (lease->has_company()) take_over(false);
                        }});
    }
    for (Duty& duty : duties) duty.next = SteadyClock::now() + duty.every;
  }

  void run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      if (has_news()) {
        const auto read_now = std::exchange(to_read, {});
        const auto end_now = std::exchange(to_end, {});
        const bool look_now = std::exchange(told, false);
        lock.unlock();
        unread.insert(unread.end(), read_now.begin(), read_now.end());
        unended.insert(unended.end(), end_now.begin(), end_now.end());
        guarded([&] {
          end_unended();
          read_unread();
          if (look_now) look_at_once();
        });
        lock.lock();
        continue;
      }
      auto due = SteadyClock::time_point::max();
      for (const Duty& duty : duties) due = std::min(due, duty.next);
      if (wake.wait_until(lock, due, [&] { return stopping || has_news(); })) continue;
      lock.unlock();
      for (Duty& duty : duties) {
        if (duty.next > SteadyClock::now()) continue;
        guarded(duty.work);
        duty.next = SteadyClock::now() + duty.every;
      }
      lock.lock();
    }
  }

  template <typename Work>
  void guarded(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      log.write(LogLevel::error, "main", "executor", "Watching over attempts: " + error.report());
    } catch (const std::exception& error) {
      log.write(LogLevel::error, "main", "executor", std::string("Watching over attempts: internal error: ") + error.what());
    }
  }
};

Takeover::Takeover(Options options, store::Database& database, store::OwnedAttempts& owned, Executor& executor, Starter& starter, Log& log)
    : impl_(new Impl{
          .options = std::move(options), .database = database, .owned = owned, .executor = executor, .starter = starter, .log = log}) {}
Takeover::~Takeover() { stop(); }

void Takeover::announce(std::int64_t lock_key) {
  impl_->options.server.lock_key = lock_key;
  if (impl_->options.alone)
    impl_->database.write([&](store::Transaction& transaction) { store::insert_server(transaction, impl_->options.server); });
  else if (!impl_->lease)
    impl_->keep_lease();
}

void Takeover::start() {
  if (impl_->thread.running()) return;
  impl_->take_over(true);
  impl_->set_duties();
  impl_->thread = Thread("watching over attempts", [this] { impl_->run(); });
}

void Takeover::stop() {
  if (!impl_->thread.running()) return;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_one();
  impl_->thread.join();
  impl_->lease.reset();
  impl_->guarded([&] {
    impl_->owned.release();
    impl_->database.write([&](store::Transaction& transaction) { store::remove_server(transaction, impl_->options.server); });
  });
}

void Takeover::wake() { impl_->tell(); }

void Takeover::dropped(std::int64_t attempt_id) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->to_read.push_back(attempt_id);
  }
  impl_->wake.notify_one();
}

void Takeover::broken(std::int64_t attempt_id, const std::string& cause) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->to_end.push_back({attempt_id, cause});
  }
  impl_->wake.notify_one();
}

void Takeover::ended(const AttemptIdentity& attempt, bool success) {
  if (impl_->options.ended) impl_->options.ended(attempt, success);
}

}  // namespace digdag::executor
