#include "seed.h"

#include <set>
#include <vector>

#include "base/json.h"
#include "dig/compiler.h"
#include "engine/resume_source.h"
#include "engine/task_archive.h"
#include "generator.h"
#include "record.h"
#include "resume_law.h"
#include "simulation.h"
#include "stored_rows.h"

namespace digdag::simulation {

using engine::Attempt;
using engine::TaskIndex;
using engine::TaskState;

namespace {

/// After a retry: what was taken over did not run, everything else that had to did.
void check_law(const Simulation& simulation, const Setup& setup) {
  const auto& attempt = simulation.engine();
  std::set<std::string> seen;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    const std::string name = attempt.full_name(i);
    if (!seen.insert(name).second) continue;
    const bool ran = simulation.ran().count(name + "#0") > 0;
    const bool taken = setup.resumed.count(name) > 0;
    if (taken && ran) throw Disagreement(name + " was taken over but ran");
    if (taken && !attempt.is_group(i) && attempt.state(i) != TaskState::success)
      throw Disagreement(name + " was taken over but is " + text_of(attempt.state(i)));
    if (!taken && !attempt.is_group(i) && attempt.state(i) == TaskState::success && !ran)
      throw Disagreement(name + " was not taken over and did not run");
  }
}

void log_resumed(const Setup& setup, std::string* log) {
  if (!log) return;
  std::set<std::string> names;
  for (const auto& [name, task] : setup.resumed) names.insert(name);
  *log += "taken over:";
  for (const auto& name : names) *log += " " + name;
  *log += "\n";
}

void simulate_retry(const Setup& setup, const Value& content, const Attempt& cut, Features features, Random& random, std::string* log) {
  if (cut.done() && cut.success()) return;  // 16.2: refused
  Setup again = setup;
  again.resumed = taken_over(cut);
  again.pool = engine::resume_failed(engine::from_archive(engine::to_archive(1, rows_of(cut))));
  again.options.task_limit = 0;
  if (random.chance(25)) {
    const Value changed = with_new_task(content, random);
    if (log) *log += "---- with a new task\n" + to_yaml(changed);
    again.tree = dig::compile(workflow_of(changed));
    again.params_are_fixed = false;
  }
  log_resumed(again, log);
  if (random.chance(60)) features.fail_percent = 0;
  if (random.chance(70)) features.kill_percent = 0;
  Simulation retried(again, features, random, log);
  retried.run();
  check_law(retried, again);
}

}  // namespace

void simulate_seed(std::uint64_t seed, const SeedOptions& options) {
  Random random(seed);
  const Features features = Features::of(random);
  const Value content = random_workflow(random, features);
  if (options.log) *options.log += to_yaml(content);
  Setup setup;
  setup.tree = dig::compile(workflow_of(content));
  std::int64_t counter = 0;
  setup.params = random_params(random, counter);
  setup.options.task_limit = features.task_limit ? static_cast<std::int64_t>(setup.tree.tasks.size()) + 1 + random.below(8) : 0;
  setup.options.group_check = features.group_check;
  setup.options.has_cleanup = has_cleanup;
  setup.options.max_lost_runs = 3;

  Simulation simulation(setup, features, random, options.log);
  simulation.run();
  const auto& events = simulation.events();
  const auto again = replay(setup, events, events.size());
  if (picture_of(again) != picture_of(simulation.engine())) throw Disagreement("the same events give another attempt");
  if (simulation.engine().success()) return;

  std::vector<std::size_t> cuts{events.size()};
  if (options.all_cuts) {
    for (std::size_t i = 1; i < events.size(); ++i) cuts.push_back(i);
  } else if (events.size() > 1) {
    cuts.push_back(1 + static_cast<std::size_t>(random.below(static_cast<int>(events.size()) - 1)));
  }
  for (auto cut : cuts) {
    if (options.log) *options.log += "---- retry after " + std::to_string(cut) + " events\n";
    simulate_retry(setup, content, replay(setup, events, cut), features, random, options.log);
  }
}

}  // namespace digdag::simulation
