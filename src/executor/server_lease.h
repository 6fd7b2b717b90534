#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>

#include "base/log.h"
#include "store/database.h"
#include "store/servers.h"

namespace digdag::executor {

/// How long after a renewal was sent a server goes on without another one. Runs are stopped so long before others may begin them.
std::chrono::milliseconds time_kept(std::chrono::seconds lease);

/// Keeps this server's place among those of one database (spec/decisions.md E-44): renews its lease, and notices in time when others may
/// take this server for dead.
///
/// While it is the only server, nobody is there to take over: then a database that is away for longer than the lease stops nothing.
class ServerLease {
 public:
  struct Options {
    store::ServerProcess server;
    /// The lease ends before it can be renewed, or another server has taken over: all that runs here must stop, and what is remembered of
    /// attempts is worth nothing. On a thread of this; must not wait for the database.
    std::function<void()> lost;
    /// Registered anew after that: attempts may be taken again. On a thread of this.
    std::function<void()> regained;
    std::optional<std::chrono::milliseconds> kept = {};  ///< unset: `time_kept`
  };
  ServerLease(Options options, store::Database& database, Log& log);
  /// Ends renewing; the row stays.
  ~ServerLease();

  /// Registers in this thread, then renews in one of its own.
  void start();
  /// Renews at once: another server may be there now. From any thread, never blocks.
  void renew_soon();
  /// Whether another server was there at the last renewal.
  bool has_company() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
