#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/time.h"
#include "base/value.h"
#include "store/database.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::executor {

/// Which attempt is wanted (spec/execution.md 3.1).
struct StartRequest {
  store::WorkflowDefinition workflow;
  Instant session_time;  ///< fractions of a second are cut off
  std::optional<std::string> retry_attempt_name;
  Value params;  ///< `last_session_time` and so on are put over them where the workflow has a schedule
  std::optional<Instant> last_executed_session_time;
  std::optional<Instant> run_time;  ///< from which `sla:` counts (spec/execution.md 18.2); nothing: now

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
  /// Why the session is passed over although it has no attempt (`_concurrency`, `on_limit: skip`); then `attempt` is one that runs.
  std::optional<std::string> skipped = {};
};
/// 400: a broken definition, a resume that cannot be, a task limit or `_concurrency` (`limit`), the attempt limit of the site
/// (`site_limit`); 404 with `not_found`.
struct StartRefused {
  enum class Why : std::uint8_t { invalid, limit, site_limit, not_found, not_its_turn } why;
  std::string message;
};
using StartAnswer = std::variant<Started, SessionExists, StartRefused>;

/// Starts attempts for the API, the scheduler and `require>` (spec/execution.md 3): one way for all. Where this
/// server executes, the first tasks of an attempt are handed out at once. Thread-safe.
class SessionStarter {
 public:
  virtual ~SessionStarter() = default;

  // In the caller's transaction: a schedule moves on in the commit that starts its session.

  /// A request that was compiled and looked up, before the transaction.
  class Prepared {
   public:
    virtual ~Prepared() = default;
  };
  /// Throws nothing that `insert` would not answer.
  virtual std::unique_ptr<Prepared> prepare(const StartRequest& request) = 0;
  /// May be called again where the transaction is repeated.
  virtual StartAnswer insert(store::Transaction& transaction, Prepared& prepared) = 0;
  /// After the commit, where `insert` gave Started.
  virtual void committed(std::unique_ptr<Prepared> prepared) = 0;

  /// Gives a delayed attempt its tasks and removes its row of `delayed_session_attempts`, in a transaction of its own, and hands its
  /// first tasks out. Started: it runs. StartRefused: `not_found`: it waits no longer (another server has started it,
  /// or it was killed); `site_limit`: the site has too many attempts, later it may start; `not_its_turn`: it waits for
  /// others again, or lets another one go first, which can start now (`_concurrency`); else it never can.
  virtual StartAnswer start_delayed(std::int64_t attempt_id) = 0;
};

}  // namespace digdag::executor
