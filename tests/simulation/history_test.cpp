#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

#include "base/log.h"
#include "dig/script_worker.h"
#include "dig/template.h"
#include "history.h"

namespace {

constexpr const char* usage = R"(usage: history_test [--histories N] [--first S] [--long] [--all-failures]
       history_test --seed X [--verbose]

Runs random workflows on two simulated servers that share a simulated database, on a simulated clock, with faults at every step.
  --histories N    how many (10000; with --long 100000)
  --first S        the seed of the first one (1)
  --seed X         this one alone
  --verbose        prints the workflows and what happens
  --all-failures   goes on after one that fails, and counts
)";

struct Arguments {
  std::uint64_t first = 1, histories = 0;
  bool is_long = false, verbose = false, go_on = false;
};

/// False where they are wrong.
bool parse(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--long") {
      arguments.is_long = true;
    } else if (option == "--verbose") {
      arguments.verbose = true;
    } else if (option == "--all-failures") {
      arguments.go_on = true;
    } else if ((option == "--histories" || option == "--first" || option == "--seed") && i + 1 < argc) {
      const std::uint64_t n = std::strtoull(argv[++i], nullptr, 10);
      (option == "--histories" ? arguments.histories : arguments.first) = n;
      if (option == "--seed") arguments.histories = 1;
    } else {
      return false;
    }
  }
  if (arguments.histories == 0) arguments.histories = arguments.is_long ? 100'000 : 10'000;
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!parse(argc, argv, arguments)) {
    std::cerr << usage;
    return 2;
  }
  const auto began = std::chrono::steady_clock::now();
  std::string directory = (std::filesystem::temp_directory_path() / "digdag-histories-XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return 2;
  std::uint64_t failures = 0, count = 0;
  {
    digdag::Log log(digdag::Log::Options{.level = digdag::LogLevel::error, .file = directory + "/log", .quiet = true});
    digdag::dig::ScriptWorker worker;
    const digdag::dig::TemplateEngine templates(worker, {});
    for (; count < arguments.histories; ++count) {
      const std::uint64_t seed = arguments.first + count;
      std::string events, failure;
      try {
        digdag::simulation::simulate_history(seed, log, templates, arguments.verbose ? &events : nullptr);
      } catch (const std::exception& error) {
        failure = error.what();
      }
      std::cout << events;
      if (failure.empty()) continue;
      ++failures;
      std::cout << "history " << seed << ": " << failure << "\n  replay: history_test --seed " << seed << " --verbose\n";
      if (!arguments.go_on) break;
    }
  }
  std::filesystem::remove_all(directory);
  const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::cout << count << " histories from " << arguments.first << ", " << failures << " failed, " << seconds << " s\n";
  return failures ? 1 : 0;
}
