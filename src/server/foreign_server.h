#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <optional>

#include "base/log.h"
#include "store/database.h"

namespace digdag::server {

/// A server of another kind, such as the Java one, on the same database: it is known by the rows of the queue that it has locked, and
/// is not to be interfered with (spec/decisions.md V-43).
class ForeignServer {
 public:
  struct Options {
    /// Waits; false where this server is to end meanwhile.
    std::function<bool(std::chrono::seconds)> pause;
    /// Nothing new is to be begun from now on, or again. Called by `wait_until_gone` where this server has begun.
    std::function<void(bool held)> hold;
  };
  ForeignServer(Options options, store::Database& database, Log& log);

  /// Whether it had locks at the last look. From any thread.
  bool is_there() const { return is_there_; }
  void look();
  /// Until its locks have expired; one that is renewed shows that it lives. `begun`: this server runs workflows already. False where this
  /// server is to end meanwhile. Throws DatabaseError; before this server has begun, a database that is away is waited for.
  bool wait_until_gone(bool begun);
  /// Where it has been stopped for sure (`--take-over`).
  void break_locks();

 private:
  const Options options_;
  store::Database& database_;
  Log& log_;
  std::atomic<bool> is_there_ = false;
};

}  // namespace digdag::server
