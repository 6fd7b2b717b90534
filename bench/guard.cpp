// What it costs to run commands through the guard process, against a bare loop of posix_spawn; what a thousand at a time
// need; and whether anything is left when we are killed.
//
//   bench_guard [COMMANDS]      100 commands in a row by default

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "command/command.h"

namespace {

using namespace digdag::command;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int rounds = 7;

double millis(Clock::duration d) { return std::chrono::duration<double, std::milli>(d).count(); }

double cpu_millis(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
         static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

struct Cost {
  double wall = 0, cpu = 0;  ///< milliseconds for one command; CPU of all processes
};

Cost median(std::vector<Cost> costs) {
  std::sort(costs.begin(), costs.end(), [](const Cost& a, const Cost& b) { return a.wall < b.wall; });
  return costs[costs.size() / 2];
}

void spawn_and_wait(const std::string& script) {
  std::array<int, 2> pipe{};
  if (pipe2(pipe.data(), O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipe[1], 2);
  std::string shell = "sh", path = script;
  std::array<char*, 3> arguments{shell.data(), path.data(), nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, "/bin/sh", &actions, nullptr, arguments.data(), environ) != 0) std::abort();
  posix_spawn_file_actions_destroy(&actions);
  close(pipe[1]);
  std::array<char, 4096> buffer;
  while (read(pipe[0], buffer.data(), buffer.size()) > 0) {
  }
  close(pipe[0]);
  waitpid(pid, nullptr, 0);
}

CommandRequest request_of(std::vector<std::string> arguments) {
  CommandRequest request{std::move(arguments), fs::current_path(), {}};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    request.environment.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return request;
}

CommandEnd run(CommandRunner& runner, CommandRequest request) {
  std::promise<CommandEnd> ended;
  auto end = ended.get_future();
  runner.start(
      std::move(request), [](std::string_view) {}, [&](CommandEnd e) { ended.set_value(std::move(e)); });
  return end.get();
}

Cost bare_loop(int commands, const std::string& script) {
  const auto begin = Clock::now();
  const double cpu = cpu_millis(RUSAGE_SELF) + cpu_millis(RUSAGE_CHILDREN);
  for (int i = 0; i < commands; ++i) spawn_and_wait(script);
  return {millis(Clock::now() - begin) / commands, (cpu_millis(RUSAGE_SELF) + cpu_millis(RUSAGE_CHILDREN) - cpu) / commands};
}

Cost through_guard(int commands, const std::string& script) {
  const auto begin = Clock::now();
  const double cpu = cpu_millis(RUSAGE_SELF) + cpu_millis(RUSAGE_CHILDREN);
  {
    CommandRunner runner;  // its start and end count too
    for (int i = 0; i < commands; ++i) {
      const auto end = run(runner, request_of({"/bin/sh", script}));
      if (end.exit_code != 0) {
        fmt::print(stderr, "error: a command failed: {}\n", end.failure);
        std::exit(1);
      }
    }
  }
  return {millis(Clock::now() - begin) / commands, (cpu_millis(RUSAGE_SELF) + cpu_millis(RUSAGE_CHILDREN) - cpu) / commands};
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  std::ifstream in(fmt::format("/proc/{}/task/{}/children", pid, pid));
  for (pid_t child; in >> child;) children.push_back(child);
  return children;
}

long pss_kib(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/smaps_rollup", pid));
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Pss:")) return std::strtol(line.c_str() + 4, nullptr, 10);
  }
  return 0;
}

void thousand_at_a_time() {
  const auto begin = Clock::now();
  CommandRunner runner;
  std::vector<std::future<CommandEnd>> ends;
  for (int i = 0; i < 1000; ++i) {
    auto ended = std::make_shared<std::promise<CommandEnd>>();
    ends.push_back(ended->get_future());
    runner.start(
        request_of({"sleep", "5"}), [](std::string_view) {}, [ended](CommandEnd e) { ended->set_value(std::move(e)); });
  }
  std::this_thread::sleep_for(std::chrono::seconds(4));
  long memory = pss_kib(getpid());
  std::size_t running = 0;
  for (const pid_t guard : children_of(getpid())) {
    memory += pss_kib(guard);
    running += children_of(guard).size();
  }
  int failed = 0;
  for (auto& end : ends) failed += end.get().exit_code != 0;
  fmt::print("1,000 `sleep 5` at a time: {:.2f} s, {} seen running, {} failed, {:.1f} MB of ours (PSS)\n",
             millis(Clock::now() - begin) / 1e3, running, failed, static_cast<double>(memory) / 1024);
}

/// A process that runs commands which do not listen, until it is killed; it writes the groups' numbers.
[[noreturn]] void victim(const std::string& directory) {
  CommandRunner runner;
  for (int i = 0; i < 20; ++i) {
    runner.start(
        request_of(
            {"/bin/sh", "-c", fmt::format("trap '' HUP INT; (sleep 60 & echo $! >> {0}/pids); echo $$ >> {0}/pids; sleep 60", directory)}),
        [](std::string_view) {}, [](CommandEnd) {});
  }
  for (;;) pause();
}

void orphan_check(const fs::path& directory) {
  std::string name = "bench_guard", option = "--victim", place = directory.string();
  std::array<char*, 4> arguments{name.data(), option.data(), place.data(), nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments.data(), environ) != 0) std::abort();
  std::vector<pid_t> pids;
  while (pids.size() < 40) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pids.clear();
    std::ifstream in(directory / "pids");
    for (pid_t one; in >> one;) pids.push_back(one);
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  const auto begin = Clock::now();
  std::size_t left = pids.size();
  while (left > 0 && Clock::now() - begin < std::chrono::seconds(15)) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    left = static_cast<std::size_t>(std::count_if(pids.begin(), pids.end(), [](pid_t one) { return kill(one, 0) == 0; }));
  }
  fmt::print("kill -9 of the main process with {} processes: {} left after {:.0f} ms\n", pids.size(), left, millis(Clock::now() - begin));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--guard") == 0) return guard_main();
  if (argc == 3 && std::strcmp(argv[1], "--victim") == 0) victim(argv[2]);
  const int commands = argc > 1 ? std::max(1, std::atoi(argv[1])) : 100;

  std::string directory = (fs::temp_directory_path() / "bench-guard-XXXXXX").string();
  if (mkdtemp(directory.data()) == nullptr) return 1;
  const std::string script = directory + "/runner.sh";
  std::ofstream(script) << "true\n";

  std::vector<Cost> bare, guarded;
  for (int i = 0; i < rounds; ++i) {
    bare.push_back(bare_loop(commands, script));
    guarded.push_back(through_guard(commands, script));
  }
  const Cost b = median(bare), g = median(guarded);
  fmt::print("{} commands in a row, each `/bin/sh FILE`, median of {} rounds\n", commands, rounds);
  fmt::print("  {:<28}{:>10}{:>10}\n", "", "ms each", "CPU ms");
  fmt::print("  {:<28}{:>10.3f}{:>10.3f}\n", "posix_spawn, pipe, waitpid", b.wall, b.cpu);
  fmt::print("  {:<28}{:>10.3f}{:>10.3f}\n", "through a new guard", g.wall, g.cpu);
  fmt::print("  {:<28}{:>9.2f}x{:>9.2f}x\n", "", g.wall / b.wall, g.cpu / b.cpu);
  thousand_at_a_time();
  orphan_check(directory);
  fs::remove_all(directory);
  return 0;
}
