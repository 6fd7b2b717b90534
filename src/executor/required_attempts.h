#pragma once

#include <cstdint>
#include <mutex>

#include "engine/attempt_starter.h"
#include "executor/executor.h"
#include "executor/require_chains.h"
#include "executor/starter.h"
#include "store/database.h"

namespace digdag::executor {

/// What `require>` needs of a server: starts the latest revision's workflow, or finds the attempt that its session has (spec/execution.md
/// 31d, decisions.md O-12, O-14). Thread-safe.
class RequiredAttempts : public engine::AttemptStarter {
 public:
  RequiredAttempts(store::Database& database, SessionStarter& starter, Executor& executor);

  Answer start(const Request& request) override;
  void kill(std::int64_t attempt_id) override;

 private:
  struct Target;
  Target target_of(store::Transaction& transaction, const Request& request) const;
  Found found(const store::SessionAttempt& attempt, bool created) const;

  store::Database& database_;
  SessionStarter& starter_;
  Executor& executor_;

  std::mutex mutex_;
  RequireChains chains_;
};

}  // namespace digdag::executor
