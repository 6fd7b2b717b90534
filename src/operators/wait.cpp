#include <algorithm>

#include "operators/operator.h"

namespace digdag::operators {
namespace {

constexpr std::string_view start_key = "wait_start_time_millis";
constexpr std::int64_t longest_seconds = Instant::most_millis / 1000;
constexpr std::int64_t shortest_poll_millis = 1000;

std::int64_t duration_millis(const Config& params) {
  const auto seconds = parse_duration(params.string("_command"));
  if (!seconds)
    throw config_error("Invalid configuration")
        .because(Error("date time parse", "Invalid duration"))
        .hint("write a duration such as 90s or 1h 30m");
  return std::min(*seconds, longest_seconds) * 1000;
}

/// wait>: ends when its duration has passed since its first run; holds no thread meanwhile (spec/operators.md 3.10).
class Wait : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Config params = task.params();
    const std::int64_t duration = duration_millis(params);
    const bool blocking = params.boolean_or("blocking", false);
    const auto interval = params.optional_duration("poll_interval");
    if (blocking && interval) throw config_error("poll_interval can't be specified with blocking:true");

    const Value* stored = task.state.find(start_key);
    const std::int64_t start = stored != nullptr && stored->is_integer() ? stored->as_integer() : task.now.millis;
    const std::int64_t remaining = start + duration - task.now.millis;
    if (remaining <= 0) {
      task.info("wait finished. start:" + format_instant(Instant{start}));
      return engine::TaskResult{};
    }
    Value state = task.state;
    state.mutable_object().set(start_key, start);
    if (!interval) return RetryLater{remaining, std::move(state)};
    return RetryLater{std::max(std::min(*interval, longest_seconds) * 1000, shortest_poll_millis), std::move(state)};
  }
};

}  // namespace

std::unique_ptr<Operator> make_wait() { return std::make_unique<Wait>(); }

}  // namespace digdag::operators
