#pragma once

#include <cstdint>
#include <string>

namespace digdag::simulation {

struct SeedOptions {
  bool all_cuts = false;       ///< retries from every prefix of a failed run, not from a few
  std::string* log = nullptr;  ///< gets the workflow and the events
};

/// All of one seed: a random workflow, its attempt, its replay, and retries from points where it was cut. Throws Disagreement.
void simulate_seed(std::uint64_t seed, const SeedOptions& options);

}  // namespace digdag::simulation
