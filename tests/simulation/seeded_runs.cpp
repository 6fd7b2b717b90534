#include "seeded_runs.h"

#include <chrono>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <optional>

namespace digdag::simulation {
namespace {

struct Arguments {
  std::uint64_t first = 1, count = 0;
  bool is_long = false, verbose = false, go_on = false;
};

/// Nothing where they are wrong.
std::optional<Arguments> parse(const SeededTest& test, int argc, char** argv) {
  const std::string how_many = "--" + std::string(test.many);
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--long") {
      arguments.is_long = true;
    } else if (option == "--verbose") {
      arguments.verbose = true;
    } else if (option == "--all-failures") {
      arguments.go_on = true;
    } else if ((option == how_many || option == "--first" || option == "--seed") && i + 1 < argc) {
      const std::uint64_t n = std::strtoull(argv[++i], nullptr, 10);
      (option == how_many ? arguments.count : arguments.first) = n;
      if (option == "--seed") arguments.count = 1;
    } else {
      return std::nullopt;
    }
  }
  if (arguments.count == 0) arguments.count = arguments.is_long ? test.with_long : test.usual;
  return arguments;
}

/// "" where there is none.
std::string failure_of(const std::function<void(const SeededRun&)>& run, const SeededRun& wanted) {
  try {
    run(wanted);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

int run_seeds(const SeededTest& test, int argc, char** argv, const std::function<void(const SeededRun&)>& run) {
  const auto arguments = parse(test, argc, argv);
  if (!arguments) {
    std::cerr << test.usage;
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t failures = 0, count = 0;
  for (; count < arguments->count; ++count) {
    const std::uint64_t seed = arguments->first + count;
    std::string events;
    const std::string failure =
        failure_of(run, {.seed = seed, .is_long = arguments->is_long, .events = arguments->verbose ? &events : nullptr});
    std::cout << events;
    if (failure.empty()) continue;
    ++failures;
    std::cout << test.one << " " << seed << ": " << failure << "\n  replay: " << test.program << " --seed " << seed
              << (arguments->is_long ? " --long" : "") << " --verbose\n";
    if (!arguments->go_on) break;
  }
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::cout << count << " " << test.many << " from " << arguments->first << ", " << failures << " failed, " << seconds << " s\n";
  return failures ? 1 : 0;
}

}  // namespace digdag::simulation
