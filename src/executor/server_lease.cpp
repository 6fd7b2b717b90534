#include "executor/server_lease.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>

#include "base/thread.h"

namespace digdag::executor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

}  // namespace

milliseconds time_kept(seconds lease) { return lease - std::min(milliseconds(2000), milliseconds(lease) / 5); }

struct ServerLease::Impl {
  Options options;
  store::Database& database;
  Log& log;
  const seconds renewed_every = store::renewal_time(options.server.lease);
  const milliseconds kept = options.kept.value_or(time_kept(options.server.lease));

  std::mutex mutex;
  std::condition_variable wake;
  bool stopping = false, wanted = false;
  bool is_lost = false;
  Clock::time_point kept_until = {};  ///< counted from before the renewal was sent
  std::atomic<bool> has_company = false;
  Thread renewing, watching;

  void enter() {
    const Clock::time_point sent = Clock::now();
    const auto others = database.write(
        [&](store::Transaction& transaction) {
          store::insert_server(transaction, options.server);
          return store::renew_server(transaction, options.server);
        },
        store::Durability::process);
    const std::lock_guard lock(mutex);
    has_company = others.value() > 0;
    kept_until = sent + kept;
    is_lost = false;
  }

  void lose(const std::string& why) {
    {
      const std::lock_guard lock(mutex);
      if (std::exchange(is_lost, true)) return;
    }
    log.write(LogLevel::error, "main", "executor", why + "; what runs here is stopped, and begun again by whoever takes it over");
    log.flush();
    options.lost();
  }

  void renew() {
    const Clock::time_point sent = Clock::now();
    const auto others = database.write([&](store::Transaction& transaction) { return store::renew_server(transaction, options.server); },
                                       store::Durability::process, kept);
    if (others) {
      const std::lock_guard lock(mutex);
      has_company = *others > 0;
      if (!is_lost) {
        kept_until = sent + kept;
        return;
      }
    } else {
      lose("Another server took this one for dead");
    }
    enter();
    options.regained();
  }

  void renew_again_and_again() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait_for(lock, renewed_every, [&] { return stopping || wanted; });
      if (stopping) return;
      wanted = false;
      lock.unlock();
      try {
        renew();
      } catch (const Error& error) {
        log.write(LogLevel::warn, "main", "executor", "The lease of this server could not be renewed: " + error.report());
      } catch (const std::exception& error) {
        log.write(LogLevel::error, "main", "executor", std::string("The lease of this server could not be renewed: ") + error.what());
      }
      lock.lock();
    }
  }

  /// Beside the renewing, which may hang in a connection that is dead.
  void watch() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      const bool is_over = !is_lost && Clock::now() >= kept_until;
      if (is_over && has_company) {
        lock.unlock();
        lose("The lease of this server could not be renewed for " + std::to_string(kept.count() / 1000) + " seconds");
        lock.lock();
      }
      const Clock::time_point next = std::max(kept_until, Clock::now() + (is_over || is_lost ? renewed_every : seconds(0)));
      wake.wait_until(lock, next, [&] { return stopping; });
    }
  }
};

ServerLease::ServerLease(Options options, store::Database& database, Log& log)
    : impl_(new Impl{.options = std::move(options), .database = database, .log = log}) {}

ServerLease::~ServerLease() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
  }
  impl_->wake.notify_all();
}

void ServerLease::start() {
  impl_->enter();
  impl_->renewing = Thread("renewing the lease of this server", [this] { impl_->renew_again_and_again(); });
  impl_->watching = Thread("watching the lease of this server", [this] { impl_->watch(); });
}

void ServerLease::renew_soon() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->wanted = true;
  }
  impl_->wake.notify_all();
}

bool ServerLease::has_company() const { return impl_->has_company; }

}  // namespace digdag::executor
