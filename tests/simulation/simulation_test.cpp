#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "seed.h"

namespace {

constexpr const char* usage = R"(usage: simulation_test [--seeds N] [--first S] [--long] [--all-failures]
       simulation_test --seed X [--long] [--verbose]

Runs random workflows on a simulated clock and demands that the engine agrees with the reference model.
  --seeds N        how many seeds (20000; with --long 60000)
  --first S        the first of them (1)
  --long           more seeds, and a retry from every prefix of each failed run
  --seed X         this one alone
  --verbose        prints the workflow and the events
  --all-failures   goes on after a seed that fails, and counts
)";

struct Arguments {
  std::uint64_t first = 1, seeds = 0;
  bool all_cuts = false, verbose = false, go_on = false;
};

/// Nothing where they are wrong.
bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--long") {
      arguments.all_cuts = true;
    } else if (option == "--verbose") {
      arguments.verbose = true;
    } else if (option == "--all-failures") {
      arguments.go_on = true;
    } else if ((option == "--seeds" || option == "--first" || option == "--seed") && i + 1 < argc) {
      const std::uint64_t n = std::strtoull(argv[++i], nullptr, 10);
      (option == "--seeds" ? arguments.seeds : arguments.first) = n;
      if (option == "--seed") arguments.seeds = 1;
    } else {
      return false;
    }
  }
  if (arguments.seeds == 0) arguments.seeds = arguments.all_cuts ? 60'000 : 20'000;
  return true;
}

/// The failure of a seed; "" where there is none.
std::string failure_of(std::uint64_t seed, const digdag::simulation::SeedOptions& options) {
  try {
    digdag::simulation::simulate_seed(seed, options);
    return "";
  } catch (const std::exception& e) {
    return e.what();
  }
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::cerr << usage;
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t failures = 0, count = 0;
  for (; count < arguments.seeds; ++count) {
    const std::uint64_t seed = arguments.first + count;
    std::string log;
    digdag::simulation::SeedOptions options;
    options.all_cuts = arguments.all_cuts;
    if (arguments.verbose) options.log = &log;
    const std::string failure = failure_of(seed, options);
    std::cout << log;
    if (failure.empty()) continue;
    ++failures;
    std::cout << "seed " << seed << ": " << failure << "\n  replay: simulation_test --seed " << seed
              << (arguments.all_cuts ? " --long" : "") << " --verbose\n";
    if (!arguments.go_on) break;
  }
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::cout << count << " seeds from " << arguments.first << ", " << failures << " failed, " << seconds << " s\n";
  return failures ? 1 : 0;
}
