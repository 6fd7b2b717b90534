#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "engine/attempt.h"
#include "store/database.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::executor {

class Executor;

/// Which attempt is wanted (spec/execution.md 3.1).
struct StartRequest {
  store::WorkflowDefinition workflow;
  Instant session_time;  ///< fractions of a second are cut off
  std::optional<std::string> retry_attempt_name;
  Value params;  ///< `last_session_time` and so on are put over them where the workflow has a schedule
  std::optional<Instant> last_executed_session_time;
  std::optional<Instant> run_time;  ///< of `sla:`; nothing: now

  struct Resume {
    std::int64_t attempt_id = 0;
    std::optional<std::string> from;  ///< mode `from`: the task pattern; nothing: mode `failed`
    bool changed = false;             ///< `invalidate: "changed"` (E-26)
  };
  std::optional<Resume> resume;

  /// A backfill: the attempt has no tasks until all attempts of that session are done (spec/scheduling.md 8); 0: of no session.
  std::optional<std::int64_t> after_session;
};

/// What became of it. All but `Started` leave nothing behind.
struct Started {
  store::SessionAttempt attempt;
};
struct SessionExists {
  store::SessionAttempt attempt;  ///< that of this retry name, or the session's last one
};
/// 400: an attempt limit, a task limit, a broken definition, a resume that cannot be; 404 with `not_found`.
struct StartRefused {
  enum class Why : std::uint8_t { invalid, limit, not_found } why;
  std::string message;
};
using StartAnswer = std::variant<Started, SessionExists, StartRefused>;

/// Starts attempts for the API, the scheduler and `require>` (spec/execution.md 3): one way for all. An attempt is durable when
/// `start` returns; where this server executes, its first tasks are handed out at once. Thread-safe.
class Starter {
 public:
  struct Options {
    std::int64_t attempt_limit = 100;  ///< executor.attempt_max_run: not-done attempts of a site (E-61)
    engine::AttemptOptions attempt;
    /// Session params around a session time, of workflows that have a schedule; `{}` of others (schedule::schedule_params).
    std::function<Value(const store::WorkflowDefinition&, Instant session_time)> times_around;
  };
  /// `executor` may be nullptr: then others execute (server.executor.enabled = false).
  Starter(Options options, store::Database& database, Executor* executor);
  ~Starter();

  StartAnswer start(const StartRequest& request);

  // ---- In the caller's transaction: a schedule moves on in the commit that starts its session ----

  /// A request that was compiled and looked up, before the transaction. Throws nothing that `insert` would not answer.
  class Prepared;
  std::unique_ptr<Prepared> prepare(const StartRequest& request);
  /// May be called again where the transaction is repeated.
  StartAnswer insert(store::Transaction& transaction, Prepared& prepared);
  /// After the commit, where `insert` gave Started.
  void committed(std::unique_ptr<Prepared> prepared);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
