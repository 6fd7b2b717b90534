#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/properties.h"
#include "base/value.h"
#include "dig/loader.h"
#include "dig/workflow.h"
#include "engine/attempt_starter.h"
#include "executor/executor.h"

namespace digdag::cli {

/// The attempts of one `digdag run`: that of the workflow, and those that its `require>` tasks start in the same process
/// (spec/execution.md 31d, decisions.md O-12). The project is `default`, its id 1; ids count from 1.
class LocalAttempts : public engine::AttemptStarter {
 public:
  /// Called before an attempt starts; false: its turn has not come, it is asked for again.
  using Admission = std::function<bool(const executor::AttemptIdentity&)>;

  /// `project_params`: those of the command line. All must outlive this object.
  LocalAttempts(const dig::Project& project, const Value& project_params, const SystemConfig& system, executor::Executor& executor,
                Admission admission);

  /// Starts the workflow of this run; `tree`: its tasks, or the subtree that was asked for. Returns the attempt's id.
  /// Throws Error: parameters that `_params` refuses, too many tasks.
  std::int64_t start_main(const dig::Workflow& workflow, const dig::TaskTree& tree, Instant session_time);

  Answer start(const Request& request) override;
  void kill(std::int64_t attempt_id) override;

 private:
  struct Session {
    std::int64_t id;
    std::map<std::string, std::int64_t> attempts;  ///< by retry name, "" without one
    std::int64_t last_attempt = 0;
  };
  std::int64_t add(const dig::Workflow& workflow, const dig::TaskTree& tree, Instant session_time,
                   const std::optional<std::string>& retry_name, const Value& params);
  /// Hands an attempt to the executor, or lets it wait for its turn: `_concurrency` (spec/decisions.md E-62), or another process runs
  /// the session.
  void start_or_wait(const dig::Workflow& workflow, executor::AttemptIdentity identity, engine::Attempt attempt);
  /// Starts waiting attempts whose turn has come, the earliest session first. Called whenever a `require>` looks again.
  void start_waiting();
  bool has_free_place(const std::string& workflow, std::int64_t limit) const;
  Found found(const Session& session, std::int64_t attempt) const;
  /// The chain of workflows through which `attempt` waits for `waiting`, `a -> b -> a`; "" where it does not.
  std::string chain_back(std::int64_t attempt, std::int64_t waiting) const;
  std::string chain_back(std::int64_t attempt, std::int64_t waiting, std::set<std::int64_t>& visited) const;

  const dig::Project& project_;
  const Value& project_params_;
  const SystemConfig& system_;
  executor::Executor& executor_;
  const Admission admission_;

  std::mutex mutex_;
  std::map<std::pair<std::string, std::int64_t>, Session> sessions_;  ///< by workflow and session time (seconds)
  std::map<std::int64_t, std::string> workflow_of_;                   ///< by attempt
  std::map<std::int64_t, std::set<std::int64_t>> waits_for_;          ///< attempt → attempts that it requires
  struct Waiting {
    std::int64_t limit;
    executor::AttemptIdentity identity;
    engine::Attempt attempt;
  };
  std::multimap<std::int64_t, Waiting> waiting_;  ///< by session time (seconds)
  std::map<std::int64_t, std::string> refused_;   ///< attempts that had to wait and then could not start, and why
  std::int64_t next_session_ = 1, next_attempt_ = 1;
};

}  // namespace digdag::cli
