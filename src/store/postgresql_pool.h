#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "store/postgresql_connection.h"

namespace digdag::store {

/// The connections of a process: made when needed, at most `most_connections`, closed when idle for long. Thread-safe.
class PostgresqlPool {
 public:
  PostgresqlPool(PostgresqlSettings settings, Log& log);

  /// A connection for this caller alone. Waits for a free one, and for a server that is away, until the deadline or `shut_down`; then
  /// DatabaseError(unavailable).
  std::unique_ptr<PostgresqlConnection> take(Deadline deadline);
  /// Closed where it is not usable any more.
  void give_back(std::unique_ptr<PostgresqlConnection> connection);
  /// Sleeps so long, or until the deadline. DatabaseError(unavailable) after `shut_down`.
  void pause(std::chrono::milliseconds duration, Deadline deadline);
  void shut_down();

  const PostgresqlSettings& settings() const { return settings_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Idle {
    std::unique_ptr<PostgresqlConnection> connection;
    Clock::time_point since;
  };
  std::unique_ptr<PostgresqlConnection> connect(Deadline deadline);
  /// Why none came free since then. With the mutex held.
  DatabaseError none_is_free(Clock::time_point since) const;

  const PostgresqlSettings settings_;
  Log& log_;
  Fd shut_down_event_;
  std::mutex mutex_;  ///< of what follows
  std::condition_variable changed_;
  std::vector<Idle> idle_;       ///< the one that was used last comes last
  std::size_t connections_ = 0;  ///< idle ones, those in use, those that are being made
  std::set<const PostgresqlConnection*> in_use_;
  std::multiset<Clock::time_point> being_made_since_;
  bool shut_down_ = false;
};

}  // namespace digdag::store
