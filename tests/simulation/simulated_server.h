#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "executor/executor.h"
#include "fake_operators.h"
#include "simulated_database.h"
#include "store/attempt_store.h"

namespace digdag::simulation {

/// A workflow that histories start attempts of.
struct Workload {
  Workload(std::uint64_t seed, Random& random);

  Features features;
  Setup setup;
  store::WorkflowDefinition workflow;
  FakeOperators operators;
  /// What becomes of attempts that are not killed; nothing where that depends on when things happen.
  std::optional<Ends> ends;
};

class SimulatedServer;

/// What the servers of a history share, and what happens to them.
class World {
 public:
  struct Crash {};  ///< of the server that is at work

  virtual ~World() = default;
  /// A moment at which a server may die (throws Crash), be held up, or others get their turn.
  virtual void moment(SimulatedServer& server, const char* what) = 0;
  virtual bool chance(int percent) = 0;  ///< of a fault
  virtual void log(const std::string& line) = 0;

  Instant now{1'700'000'000'000};
  std::size_t most_rows_at_once = std::numeric_limits<std::size_t>::max(), rows_in_a_step = 1, events_in_a_round = 64;
  SimulatedDatabase database;
  std::set<std::string> registered;                   ///< rows of digdag_native_servers
  std::map<std::int64_t, const Workload*> workloads;  ///< by attempt
  Log* program_log = nullptr;
  const dig::TemplateEngine* templates = nullptr;
};

/// One process: a real executor; its rows in the simulated database; an agent that answers when the history says so; and the duties of
/// server take-over, each called by the history.
class SimulatedServer : private store::AttemptStore, private agent::TaskRunner, private executor::Keeper {
 public:
  SimulatedServer(World& world, std::string id, std::int64_t places);

  const std::string& id() const { return id_; }

  enum class How : std::uint8_t { here, in_loop, by_nobody };
  /// As executor::Starter does it.
  void start_attempt(const Workload& workload, How how);
  void step() {
    is_in_loop_ = true;
    executor_.step();
    is_in_loop_ = false;
  }
  bool is_in_loop() const { return is_in_loop_; }
  std::optional<Instant> next_due() const { return executor_.next_due(); }
  /// `is_read_too`: as it is read from the database at the same time, and handed over again later.
  void kill(std::int64_t attempt, std::int64_t event, bool is_read_too);

  // As executor::Takeover does it.
  void register_here();
  void lose() { executor_.drop_all(); }
  void take_over(const std::vector<std::string>& dead);
  void apply_events();
  void read_forgotten();
  bool has_work() const { return !to_read_.empty() || !to_end_.empty(); }
  void work_off();
  /// Large changes on their way, each of which the history lets go on.
  bool has_beside() const { return !beside_.empty(); }
  void write_beside();

  std::size_t runs() const { return runs_.size(); }
  void answer(std::size_t which, Random& random);

  /// What is killed or out of time was told to stop.
  void check_kills() const;
  /// Nothing is under way here any more, and all places are free.
  void check_idle();

 private:
  struct AgentRun {
    agent::RunRequest request;
    std::string key;
    bool is_stopped = false;
  };

  void number_tasks(store::AttemptRows& rows, std::size_t size) override;
  void commit(std::vector<store::AttemptChange>& changes) override;
  std::size_t most_rows_at_once() const override { return world_.most_rows_at_once; }
  void commit_in_steps(store::AttemptChange& change) override;
  void end_in_steps(store::AttemptChange& change);
  /// One transaction: it may fail before and after.
  void transaction(const std::string& what, const std::function<void()>& write);

  void run(agent::RunRequest request) override;
  void stop(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease, std::optional<std::int64_t> grace_seconds) override;

  void dropped(std::int64_t attempt_id) override { to_read_.push_back(attempt_id); }
  void broken(std::int64_t attempt_id, const std::string& cause) override;
  void ended(const executor::AttemptIdentity& attempt, bool success) override;

  void read(std::int64_t attempt);
  executor::AttemptIdentity identity_of(std::int64_t attempt) const;
  void log(const std::string& line) const { world_.log(id_ + ": " + line); }

  World& world_;
  const std::string id_;
  const std::int64_t places_;
  std::vector<std::int64_t> spare_ids_;  ///< descending
  std::deque<std::int64_t> to_read_, to_end_;
  std::set<std::int64_t> missing_before_;
  std::vector<store::AttemptEvent> read_too_;
  std::vector<AgentRun> runs_;
  std::deque<std::function<void()>> beside_;
  bool is_in_loop_ = false;
  executor::Executor executor_;
};

}  // namespace digdag::simulation
