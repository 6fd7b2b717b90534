#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/attempt.h"
#include "generator.h"
#include "model.h"
#include "record.h"

namespace digdag::simulation {

/// One attempt on a simulated clock: gives random answers of operators, late, doubled, out of order and stale, kills and ticks to
/// the engine and to the model, and demands after each that both agree.
class Simulation {
 public:
  /// `log` gets the events; nullptr = none.
  Simulation(Setup setup, const Features& features, Random& random, std::string* log);

  /// Until the attempt is done. Throws Disagreement.
  void run();

  const engine::Attempt& engine() const { return engine_; }
  const std::vector<Recorded>& events() const { return events_; }
  /// Full name and generation of each task that ran.
  const std::set<std::string>& ran() const { return ran_; }

 private:
  struct InFlight {
    engine::TaskIndex task;
    engine::Lease lease;
    int row;
    engine::Lease row_lease;
    bool cleanup;
  };
  struct Seen;

  void next_event();
  bool tells_limits(const InFlight& run);
  void answer(std::size_t in_flight);
  void answer_evaluation(std::size_t pending);
  void wake();
  void stale_event();
  void lose(std::size_t in_flight);
  /// The engine leaves memory and comes back of its rows.
  void leave_memory();
  void kill();
  void settle();

  /// Gives the event to the engine and checks what it says; the model gets it from `to_model`.
  template <typename ToModel>
  void apply(const engine::Event& event, ToModel to_model);
  void take(const engine::Outcome& outcome, const std::vector<Seen>& before);
  void must_change_nothing(const engine::Event& event);
  std::vector<Seen> look() const;
  void agree();
  void agree_on_runs();
  void agree_on_row(engine::TaskIndex task, int row);
  void final_checks();
  void learn_rows();

  engine::TaskResult random_result(const Value& local);
  Value random_error();
  Value evaluated_retry(const std::string& full_name, const Value& retry) const;
  std::string key_of(engine::TaskIndex task) const { return task_keys_[static_cast<std::size_t>(task)]; }
  [[noreturn]] void disagree(const std::string& what) const;
  void log(const std::string& line);

  Setup setup_;
  const Features& features_;
  Random& random_;
  std::string* log_;
  engine::Attempt engine_;
  Model model_;
  Instant now_{1'700'000'000'000};
  std::vector<Recorded> events_;
  std::vector<engine::Event> past_;
  std::vector<InFlight> in_flight_;
  std::set<std::pair<engine::TaskIndex, engine::Lease>> told_;  ///< runs that had their turn to tell their time limits
  std::vector<InFlight> polls_;                                 ///< runs that ended with RetryLater
  std::vector<std::pair<engine::TaskIndex, int>> evaluations_;
  std::set<std::string> ran_;
  bool killed_ = false;
  int kill_at_ = -1;
  std::int64_t counter_ = 5000;

  // What the engine wanted since the last agreement.
  struct Runs {
    engine::Lease lease;
    bool cleanup;
  };
  std::map<engine::TaskIndex, Runs> engine_runs_;
  std::set<engine::TaskIndex> engine_evaluations_;
  /// Ever stopped, with the grace.
  std::map<std::pair<engine::TaskIndex, engine::Lease>, std::optional<std::int64_t>> stopped_, model_stopped_;

  // Rows by full name and generation, in the engine and in the model.
  std::vector<std::string> task_keys_, row_keys_;
  std::map<std::string, int> task_counts_, row_counts_;
  std::map<std::string, engine::TaskIndex> task_of_key_;
  std::map<std::string, int> row_of_key_;
};

}  // namespace digdag::simulation
