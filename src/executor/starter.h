#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/value.h"
#include "engine/attempt.h"
#include "executor/executor.h"
#include "executor/session_starter.h"
#include "store/owned_attempts.h"
#include "store/site_selection.h"

namespace digdag::executor {

/// Starts attempts in the database, and hands them to the executor of this server.
class Starter : public SessionStarter {
 public:
  struct Options {
    std::int64_t attempt_limit = 100;  ///< executor.attempt_max_run: not-done attempts of a site (E-61); 0: none
    engine::AttemptOptions attempt;
    store::SiteSelection sites;  ///< executor.account_routing.*: whose attempts the executor here takes
    Value default_params;        ///< digdag.defaultParams: below all others
    bool backfill_sla = false;   ///< schedule.backfill_sla: `sla:` counts for attempts of backfills, too, from when their turn has come
    /// Session params around a session time, of workflows that have a schedule; `{}` of others (schedule::schedule_params).
    std::function<Value(const store::WorkflowDefinition&, Instant session_time)> times_around;
    /// Called after a commit that made a delayed attempt: somebody must look when it may start. May be unset.
    std::function<void()> delayed;
    /// Called after a commit with what whoever resumed an attempt should know of it (E-25, E-29). May be unset.
    std::function<void(const std::string&)> remark;
  };
  /// `executor` may be nullptr: then others execute (server.executor.enabled = false).
  Starter(Options options, store::Database& database, store::OwnedAttempts& owned, Executor* executor, std::function<Instant()> clock);
  ~Starter() override;

  /// In a transaction of its own.
  StartAnswer start(const StartRequest& request);

  std::unique_ptr<Prepared> prepare(const StartRequest& request) override;
  StartAnswer insert(store::Transaction& transaction, Prepared& prepared) override;
  void committed(std::unique_ptr<Prepared> prepared) override;
  StartAnswer start_delayed(std::int64_t attempt_id) override;

  /// Nothing where there is no such attempt.
  std::optional<AttemptIdentity> identify(std::int64_t attempt_id);

  /// Goes on with an attempt that was read from the database: rows of tasks, or none yet. Throws Error where they make no sense.
  void resume(store::OwnedAttempt owned);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
