#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace digdag::simulation {

/// A test program that makes a random case of each seed, one after the other: `<program> [--<cases> N] [--first S] [--seed X] …`
struct SeededTest {
  std::string_view program, one, many;  ///< `simulation_test`, `seed`, `seeds`
  std::uint64_t usual, with_long;       ///< how many are tried
  std::string_view usage;
};

/// What the command line asks for of a case.
struct SeededRun {
  std::uint64_t seed = 0;
  bool is_long = false;
  std::string* events = nullptr;  ///< gets the case and what happens, where it is wanted
};

/// Runs what the command line wants and tells how to replay what fails, which `run` says by an exception. Gives the exit status.
int run_seeds(const SeededTest& test, int argc, char** argv, const std::function<void(const SeededRun&)>& run);

}  // namespace digdag::simulation
