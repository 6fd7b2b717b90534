#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/attempt.h"
#include "generator.h"
#include "model.h"

namespace digdag::simulation {

/// What is wrong between the engine, the model and the specification.
struct Disagreement : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What an attempt is made of.
struct Setup {
  dig::TaskTree tree;
  Value params;
  engine::AttemptOptions options;
  std::unordered_map<std::string, engine::ResumedTask> resumed;
  /// Whether what a task sees is fixed when it starts. Not so where a taken-over group got a new task: that runs beside what
  /// stands behind its taken-over siblings.
  bool params_are_fixed = true;
};

/// The operators with something to clean up after a kill.
bool has_cleanup(std::string_view type);

/// Events of an attempt with their times, and what the engine answered, as text.
struct Recorded {
  std::optional<engine::Event> event;  ///< nothing: the start
  Instant at;
  std::string answer;
};

/// All that can be read of an attempt, one row a line.
std::string picture_of(const engine::Attempt& attempt);
/// The same attempt, `count` of its events given to a new engine.
engine::Attempt replay(const Setup& setup, const std::vector<Recorded>& events, std::size_t count);
/// What a retry of this attempt takes over, by the law of spec/decisions.md 3.2.
std::unordered_map<std::string, engine::ResumedTask> taken_over(const engine::Attempt& attempt);

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
  void answer(std::size_t in_flight);
  void answer_evaluation(std::size_t pending);
  void stale_event();
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
  std::set<std::pair<engine::TaskIndex, engine::Lease>> stopped_;  ///< ever

  // Rows by full name and generation, in the engine and in the model.
  std::vector<std::string> task_keys_, row_keys_;
  std::map<std::string, int> task_counts_, row_counts_;
  std::map<std::string, engine::TaskIndex> task_of_key_;
  std::map<std::string, int> row_of_key_;
};

/// All of one seed: a random workflow, its attempt, its replay, and retries from points where it was cut. Throws Disagreement.
struct SeedOptions {
  bool all_cuts = false;        ///< resume from every prefix, not from a few
  std::string* log = nullptr;
};
void simulate_seed(std::uint64_t seed, const SeedOptions& options);

}  // namespace digdag::simulation
