#include "store/postgresql_pool.h"

#include <sys/eventfd.h>

#include <algorithm>

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using Then = PostgresqlError::Then;

}  // namespace

PostgresqlPool::PostgresqlPool(PostgresqlSettings settings, Log& log)
    : settings_(std::move(settings)), log_(log), shut_down_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

std::unique_ptr<PostgresqlConnection> PostgresqlPool::take(Deadline deadline) {
  std::unique_lock lock(mutex_);
  const auto can_go_on = [&] { return shut_down_ || !idle_.empty() || connections_ < settings_.most_connections; };
  // Who may wait for ever for the server does so for the others, too.
  const Clock::time_point begun = Clock::now();
  const bool is_limited = deadline && settings_.connection_timeout.count() > 0;
  const Deadline until = is_limited ? std::min(*deadline, begun + settings_.connection_timeout) : deadline;
  if (!until)
    changed_.wait(lock, can_go_on);
  else if (!changed_.wait_until(lock, *until, can_go_on))
    throw none_is_free(begun);
  if (shut_down_) throw DatabaseError(Cause::unavailable, "the database has been shut down");
  std::unique_ptr<PostgresqlConnection> connection;
  if (idle_.empty()) {
    ++connections_;
  } else {
    connection = std::move(idle_.back().connection);
    idle_.pop_back();
  }
  const auto being_made = being_made_since_.insert(Clock::now());
  lock.unlock();
  try {
    if (!connection || !connection->is_alive()) connection = connect(deadline);
  } catch (...) {
    lock.lock();
    being_made_since_.erase(being_made);
    --connections_;
    changed_.notify_one();
    throw;
  }
  lock.lock();
  being_made_since_.erase(being_made);
  in_use_.insert(connection.get());
  return connection;
}

/// A database that answers nobody holds all connections as well as work that takes long: then their number is not what is wrong.
DatabaseError PostgresqlPool::none_is_free(Clock::time_point since) const {
  Clock::time_point oldest = Clock::now();
  std::size_t unanswered = 0, listening = 0;
  const auto count = [&](Clock::time_point waits_since) {
    if (waits_since > since) return;
    ++unanswered;
    oldest = std::min(oldest, waits_since);
  };
  for (const Clock::time_point made_since : being_made_since_) count(made_since);
  for (const PostgresqlConnection* connection : in_use_) {
    if (const auto waits_since = connection->waits_since()) count(*waits_since);
    if (connection->listens()) ++listening;
  }
  const std::string silence = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - oldest).count()) + " s";
  if (unanswered > 0 && unanswered + listening >= connections_)
    return {Cause::unavailable, settings_.place + " has not answered for " + silence + " on any connection"};
  return {Cause::unavailable, "all " + std::to_string(settings_.most_connections) + " connections to " + settings_.place +
                                  " are in use (database.maximumPoolSize)" +
                                  (unanswered > 0 ? "; " + std::to_string(unanswered) + " got no answer for " + silence : "")};
}

void PostgresqlPool::give_back(std::unique_ptr<PostgresqlConnection> connection) {
  {
    const std::lock_guard lock(mutex_);
    in_use_.erase(connection.get());
  }
  if (!connection->is_usable()) {
    connection.reset();  // before another one is made: the server may allow no more than these
    const std::lock_guard lock(mutex_);
    --connections_;
    changed_.notify_one();
    return;
  }
  std::vector<Idle> too_old;  // closed after the lock
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  idle_.push_back({std::move(connection), now});
  while (settings_.idle_timeout.count() > 0 && now - idle_.front().since > settings_.idle_timeout) {
    too_old.push_back(std::move(idle_.front()));
    idle_.erase(idle_.begin());
    --connections_;
  }
  changed_.notify_one();
}

void PostgresqlPool::pause(std::chrono::milliseconds duration, Deadline deadline) {
  std::unique_lock lock(mutex_);
  const Clock::time_point end = Clock::now() + duration;
  changed_.wait_until(lock, deadline ? std::min(end, *deadline) : end, [&] { return shut_down_; });
  if (shut_down_) throw DatabaseError(Cause::unavailable, "the database has been shut down");
}

void PostgresqlPool::shut_down() {
  const std::lock_guard lock(mutex_);
  shut_down_ = true;
  eventfd_write(shut_down_event_.get(), 1);
  changed_.notify_all();
}

std::unique_ptr<PostgresqlConnection> PostgresqlPool::connect(Deadline deadline) {
  for (std::chrono::milliseconds pause_between{50};; pause_between = std::min(2 * pause_between, std::chrono::milliseconds(1000))) {
    try {
      Deadline until = deadline;
      if (settings_.login_timeout.count() > 0)
        until = std::min(Clock::now() + settings_.login_timeout, until.value_or(Clock::time_point::max()));
      auto made = std::make_unique<PostgresqlConnection>(settings_, shut_down_event_.get(), until);
      if (pause_between > std::chrono::milliseconds(50)) log_.write(LogLevel::info, "main", "store", "Connected to " + settings_.place);
      return made;
    } catch (const PostgresqlError& error) {
      if (error.then() != Then::reconnect || (deadline && Clock::now() >= *deadline)) throw;
      if (pause_between == std::chrono::milliseconds(50)) log_.write(LogLevel::warn, "main", "store", error.message() + "; trying again");
    }
    pause(pause_between, deadline);
  }
}

}  // namespace digdag::store
