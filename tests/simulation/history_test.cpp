#include "history.h"
#include "base/log.h"
#include "base/temporary_directory_for_test.h"
#include "dig/script_worker.h"
#include "dig/template.h"
#include "seeded_runs.h"

namespace {

constexpr digdag::simulation::SeededTest test{.program = "history_test",
                                              .one = "history",
                                              .many = "histories",
                                              .usual = 10'000,
                                              .with_long = 100'000,
                                              .usage = R"(usage: history_test [--histories N] [--first S] [--long] [--all-failures]
       history_test --seed X [--verbose]

Runs random workflows on two simulated servers that share a simulated database, on a simulated clock, with faults at every step.
  --histories N    how many (10000; with --long 100000)
  --first S        the seed of the first one (1)
  --seed X         this one alone
  --verbose        prints the workflows and what happens
  --all-failures   goes on after one that fails, and counts
)"};

}  // namespace

int main(int argc, char** argv) {
  const digdag::TemporaryDirectory directory;
  digdag::Log log(digdag::Log::Options{.level = digdag::LogLevel::error, .file = (directory / "log").string(), .quiet = true});
  digdag::dig::ScriptWorker worker;
  const digdag::dig::TemplateEngine templates(worker, {});
  return digdag::simulation::run_seeds(test, argc, argv, [&](const digdag::simulation::SeededRun& run) {
    digdag::simulation::simulate_history(run.seed, log, templates, run.events);
  });
}
