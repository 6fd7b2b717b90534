#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "dig/template.h"
#include "engine/attempt.h"
#include "engine/stored_task.h"
#include "executor/attempt_identity.h"
#include "executor/handouts.h"
#include "executor/statuses.h"
#include "store/attempt_store.h"

namespace digdag::executor {

/// Sees what happens to attempts: state files, the progress line, the summary.
class Listener {
 public:
  virtual ~Listener() = default;
  /// After the commit and before its effects, on the loop's thread. `changed`: ascending.
  virtual void committed(const AttemptIdentity& attempt, const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed) = 0;
  /// A run failed: its whole error, which the task's error object does not hold. Before the change that it causes is
  /// committed, on any thread.
  virtual void run_failed(const agent::RunRequest& request, const agent::RunFailed& failure) = 0;
};

/// The time of retries, time limits and polls: the clock of the machine as it was at the start, and from then on what has
/// passed since, sleep included. Setting the clock neither delays nor hastens anything (spec/decisions.md E-50).
std::function<Instant()> steady_clock();

/// What the executor says about attempts that it cannot go on with. On the loop's thread.
class Keeper {
 public:
  virtual ~Keeper() = default;
  /// Somebody else owns it, or its rows are not as we remember them: it was dropped, its runs were stopped. To be read back where it
  /// is still ours.
  virtual void dropped(std::int64_t attempt_id) = 0;
  /// The database refuses what it wants to store, again and again.
  virtual void broken(std::int64_t attempt_id, const std::string& cause) = 0;
  virtual void ended(const AttemptIdentity& attempt, bool success) = 0;
};

/// Owns running attempts: events in, engine, one commit, effects out (design "The executor"). `run` and `run_until_done` are the
/// loop, on the thread that calls them; what else may be called from where stands beside it.
class Executor {
 public:
  struct Options {
    /// Asked on the loop's thread; what it says must never go back.
    std::function<Instant()> clock = steady_clock();
    Handouts::Limits handouts = {.places = std::int64_t{1} << 40};  ///< of runs at the agent
    std::chrono::milliseconds database_pause{1000};                 ///< between two tries of a commit while the database cannot take it
    /// Does what would hold up the loop, the writing of large changes. Unset: a thread does.
    std::function<void(std::function<void()>)> beside = {};
    std::size_t events_in_a_round = 64;                                ///< of one attempt: the others wait for no more of a large one
    std::size_t remembered = std::numeric_limits<std::size_t>::max();  ///< attempts that are done and whose status is still known
  };
  /// All must outlive the executor. `listener` may be nullptr.
  Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener);
  Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, Options options);
  ~Executor();

  /// What runs the tasks; it must report to `ended` and `limits_evaluated`. Call before the loop.
  void use(agent::TaskRunner& runner);
  /// Whom it tells about attempts that end or cannot go on. Call before the loop.
  void use(Keeper& keeper);

  // From any thread:

  /// An attempt to be run that nobody has stored; the loop starts it. Its rows come into being with its first commit.
  void add(AttemptIdentity identity, engine::Attempt attempt) { add(std::move(identity), std::move(attempt), {}); }
  /// The same for one whose attempt is stored, but no task.
  void add(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows);
  /// An attempt that was started and stored: `outcome` are its effects, still to be performed. The runs in `given` have their place
  /// (`take_places`) and are stored as taken.
  void adopt(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows, engine::Outcome outcome,
             std::vector<engine::Run> given);
  /// An attempt that was read back. `untaken`: tasks whose run waits in the queue and was never given to anybody; all other runs that
  /// were under way are lost (E-45).
  void resume(AttemptIdentity identity, engine::Restored restored, store::AttemptRows rows, std::vector<engine::TaskIndex> untaken);
  /// Places for runs of an attempt of the site that is about to be adopted; at most `wanted`, perhaps none.
  std::int64_t take_places(std::int64_t site, std::int64_t wanted);
  void give_places_back(std::int64_t site, std::int64_t places);
  /// Whether tasks of the site run in this process at all; else all their runs wait in the queue for others.
  bool has_agent(std::int64_t site) const;

  void ended(const agent::RunRequest& request, agent::RunEnd end);
  void limits_evaluated(const agent::RunRequest& request, Value limits);
  /// `stored_event`: the row in which the kill is kept until it is applied, and which counts once; 0: none. Attempts that are not here are
  /// left alone.
  void kill(std::int64_t attempt_id, std::int64_t stored_event = 0);
  /// Forgets all attempts that it has now, stopping their runs: others may own them. What is added from now on is kept.
  void drop_all();
  /// While held nothing new is given to the agent; what runs goes on.
  void hold(bool held);
  /// Makes the loop return.
  void interrupt();
  /// Nothing new is given to the agent from now on: `run` returns when what runs has ended and is stored.
  void drain();

  AttemptStatus status(std::int64_t attempt_id) const;

  struct Counts {
    std::int64_t attempts = 0, running = 0, waiting = 0;  ///< attempts owned; runs at the agent; runs that wait for a place
    std::int64_t tasks_ended = 0;                         ///< since the start
  };
  Counts counts() const;
  /// Attempts stand still because the database, or its disk, takes nothing.
  bool waits_for_database() const;

  /// Runs until the attempt is done; false where `interrupt` came first.
  bool run_until_done(std::int64_t attempt_id);
  /// Runs until `interrupt`, or until all is over after `drain`.
  void run();
  /// One round of the loop: all that has arrived and is due, without waiting. For the loop's thread.
  void step();
  /// When the next round is due if nothing arrives. For the loop's thread.
  std::optional<Instant> next_due() const;
  /// The tasks of an attempt that is under way, or of the one that `run_until_done` waited for; nullptr else. On the loop's
  /// thread, or while it does not run.
  const engine::Attempt* tasks(std::int64_t attempt_id) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
