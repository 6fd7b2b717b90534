#pragma once

#include <cstdint>
#include <memory>

#include "executor/starter.h"
#include "store/database.h"

namespace digdag::schedule {

/// What schedules need of executor::Starter; a test puts its own in the place. Thread-safe.
class SessionStarter {
 public:
  virtual ~SessionStarter() = default;

  /// A request that was compiled and looked up, before the transaction.
  class Prepared {
   public:
    virtual ~Prepared() = default;
  };
  virtual std::unique_ptr<Prepared> prepare(const executor::StartRequest& request) = 0;
  /// May be called again where the transaction is repeated.
  virtual executor::StartAnswer insert(store::Transaction& transaction, Prepared& prepared) = 0;
  /// After the commit, where `insert` gave Started.
  virtual void committed(std::unique_ptr<Prepared> prepared) = 0;

  /// Gives a delayed attempt its tasks and removes its row of `delayed_session_attempts`, in a transaction of its own, and hands its
  /// first tasks out. Started: it runs. StartRefused changes nothing: `not_found`: it waits no longer (another server has started it,
  /// or it was killed); `limit`: the site has too many attempts, later it may start; `invalid`: it never can.
  virtual executor::StartAnswer start_delayed(std::int64_t attempt_id) = 0;
};

}  // namespace digdag::schedule
