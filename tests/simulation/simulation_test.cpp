#include "seed.h"
#include "seeded_runs.h"

namespace {

constexpr digdag::simulation::SeededTest test{.program = "simulation_test",
                                              .one = "seed",
                                              .many = "seeds",
                                              .usual = 20'000,
                                              .with_long = 60'000,
                                              .usage = R"(usage: simulation_test [--seeds N] [--first S] [--long] [--all-failures]
       simulation_test --seed X [--long] [--verbose]

Runs random workflows on a simulated clock and demands that the engine agrees with the reference model.
  --seeds N        how many seeds (20000; with --long 60000)
  --first S        the first of them (1)
  --long           more seeds, and a retry from every prefix of each failed run
  --seed X         this one alone
  --verbose        prints the workflow and the events
  --all-failures   goes on after a seed that fails, and counts
)"};

}  // namespace

int main(int argc, char** argv) {
  return digdag::simulation::run_seeds(test, argc, argv, [](const digdag::simulation::SeededRun& run) {
    digdag::simulation::SeedOptions options;
    options.all_cuts = run.is_long;
    options.log = run.events;
    digdag::simulation::simulate_seed(run.seed, options);
  });
}
