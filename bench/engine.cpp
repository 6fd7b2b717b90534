// What the engine alone costs: five shapes of an attempt, each with 1,000 and with 100,000 tasks, and a fake agent that
// answers every run at once. CPU time and memory for each task; nothing is started, written or evaluated.

#include <fmt/format.h>
#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "dig/compiler.h"
#include "engine/attempt.h"

namespace {

using digdag::Instant;
using digdag::Object;
using digdag::TimeZone;
using digdag::Value;
using namespace digdag::engine;  // NOLINT(google-build-using-namespace): a program of one page

Value group_of(int tasks, std::string_view name, const Value& parallel = Value()) {
  Object group;
  if (!parallel.is_null()) group.set("_parallel", parallel);
  for (int i = 0; i < tasks; ++i) group.set(fmt::format("+{}{}", name, i), Value::object({{"echo>", "hello"}}));
  return Value(std::move(group));
}

Value groups_of_100(int tasks) {
  Object groups;
  for (int i = 0; i < tasks / 100; ++i) groups.set(fmt::format("+group{}", i), group_of(100, "task"));
  return Value(std::move(groups));
}

struct Shape {
  std::string_view name;
  std::function<Value(int)> config;  ///< of the generating task's subtree, or of the workflow
  bool generated = false;            ///< made by one task while the attempt runs, as `loop>` does
  bool stores = false;               ///< each task stores a key of its own
};

struct Cost {
  double nanoseconds, bytes;
};

std::size_t allocated() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

double cpu_nanoseconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) * 1e9 + static_cast<double>(time.tv_nsec);
}

/// Runs the attempt to its end.
void play(Attempt& attempt, const Shape& shape, const Value& config) {
  std::deque<Run> runs;
  const auto take = [&](const Outcome& outcome) {
    for (const Effect& effect : outcome.effects) runs.push_back(std::get<Run>(effect));
  };
  const Instant now = Instant::of_seconds(1);
  take(attempt.start(now));
  while (!runs.empty()) {
    const Run run = runs.front();
    runs.pop_front();
    const Params params = attempt.params_of(run.task);  // as the executor asks for each run
    TaskResult result;
    if (shape.generated && run.task == 1) result.subtask_config = config;
    if (shape.stores) result.store_params = Value::object({{fmt::format("key{}", run.task), run.task}});
    take(attempt.apply(Succeeded{run.task, run.lease, std::move(result)}, now));
  }
  if (!attempt.success()) throw std::runtime_error("the attempt did not succeed");
}

Cost measure(const Shape& shape, int tasks) {
  AttemptOptions options;
  options.task_limit = 0;
  const std::size_t before = allocated();
  Value config = shape.config(tasks);
  auto tree = std::make_unique<digdag::dig::TaskTree>(
      digdag::dig::compile("", "+w", shape.generated ? Value::object({{"+loop", Value::object({{"loop>", tasks}})}}) : config));
  const double begin = cpu_nanoseconds();
  Attempt attempt(*tree, Params(), TimeZone(), options);
  play(attempt, shape, config);
  const double end = cpu_nanoseconds();
  // What is left is the attempt and the part of the workflow that it shares.
  tree.reset();
  config = Value();
  return Cost{(end - begin) / tasks, static_cast<double>(allocated() - before) / tasks};
}

Cost best_of(const Shape& shape, int tasks, int times) {
  Cost best = measure(shape, tasks);
  for (int i = 1; i < times; ++i) {
    const Cost next = measure(shape, tasks);
    best.nanoseconds = std::min(best.nanoseconds, next.nanoseconds);
    best.bytes = std::min(best.bytes, next.bytes);
  }
  return best;
}

}  // namespace

int main() {
  // Both sizes find a warm heap: what the kernel needs for fresh pages is not the engine's.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  const Shape shapes[] = {
      {"flat parallel loop", [](int n) { return group_of(n, "loop-", true); }, true},
      {"chain", [](int n) { return group_of(n, "task"); }},
      {"groups of 100", groups_of_100},
      {"_parallel: {limit: 50}",
       [](int n) {
         return group_of(n, "task", Value::object({{"limit", 50}}));
       }},
      {"chain, each stores a key", [](int n) { return group_of(n, "task"); }, false, true},
  };
  fmt::print("{:<26} {:>14} {:>14} {:>6} {:>14} {:>14}\n", "engine, cost of a task", "ns at 1,000", "ns at 100,000", "ratio",
             "bytes at 1,000", "at 100,000");
  for (const Shape& shape : shapes) {
    const Cost small = best_of(shape, 1'000, 20);
    const Cost large = best_of(shape, 100'000, 3);
    fmt::print("{:<26} {:>14.0f} {:>14.0f} {:>6.2f} {:>14.0f} {:>14.0f}\n", shape.name, small.nanoseconds, large.nanoseconds,
               large.nanoseconds / small.nanoseconds, small.bytes, large.bytes);
  }
}
