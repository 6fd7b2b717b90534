#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/log.h"
#include "executor/executor.h"
#include "executor/starter.h"
#include "store/database.h"
#include "store/owned_attempts.h"
#include "store/servers.h"
#include "store/site_selection.h"

namespace digdag::executor {

/// Keeps this server's place among those of one database: takes over what dead servers have left (spec/decisions.md E-44), reads back what
/// the executor dropped, renews leases, ends attempts and tasks that are too old (spec/execution.md 19).
///
/// A thread of its own, which sleeps between its duties.
class Takeover : public Keeper {
 public:
  struct Options {
    store::ServerProcess server;
    bool alone = false;                                          ///< no other process can use this database: all other servers are dead
    store::SiteSelection sites;                                  ///< executor.account_routing.*: whose attempts are taken
    std::int64_t heartbeat_seconds = 60;                         ///< agent.heartbeat-interval
    std::int64_t attempt_ttl_seconds = std::int64_t{7} * 86400;  ///< executor.attempt_ttl
    std::int64_t task_ttl_seconds = 86400;                       ///< executor.task_ttl
    std::int64_t reaping_seconds = 5;                            ///< executor.ttl_reaping_interval
    /// An attempt of this site has ended, its end is committed. On the executor's thread; must not block.
    std::function<void(const AttemptIdentity&, bool success)> ended;
    /// Something was cancelled for its age (spec/execution.md 19.2). May be unset.
    std::function<void(std::int64_t attempt_id, const std::string& message)> timed_out;
    /// Another server is gone, and its attempts are free. On the thread of this object. May be unset.
    std::function<void()> other_gone;
    /// The executor has been told to drop all: others may own them now, so what runs here must stop. On any thread. May be unset.
    std::function<void()> lost;
  };
  Takeover(Options options, store::Database& database, store::OwnedAttempts& owned, Executor& executor, Starter& starter, Log& log);
  ~Takeover() override;

  /// Registers this server. Before that it must not own an attempt: nobody would find those of a server that dies unknown.
  /// `lock_key`: an advisory lock that this process holds while it is connected; 0: none.
  void announce(std::int64_t lock_key);
  /// Takes over what is there, in this thread, which is the executor's until its loop runs; then goes on in one of its own. May be called
  /// again where it failed; does nothing where it goes on already.
  void start();
  /// Somebody said that there is an event, or an attempt that nobody owns. From any thread, never blocks.
  void wake();
  /// Ends the thread. What this server owns is given back, so that another one goes on with it at once.
  void stop();

  void dropped(std::int64_t attempt_id) override;
  void broken(std::int64_t attempt_id, const std::string& cause) override;
  void ended(const AttemptIdentity& attempt, bool success) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
