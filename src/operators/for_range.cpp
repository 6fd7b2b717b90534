#include <algorithm>

#include "operators/subtasks.h"

namespace digdag::operators {
namespace {

/// At least 1, or an error that names the option.
std::int64_t positive(const Config& range, std::string_view key) {
  const std::int64_t n = range.long_integer(key);
  if (n < 1) throw config_error(std::string(key) + " option must be same or greater than 1 but got " + std::to_string(n));
  return n;
}

struct Range {
  std::int64_t from, to;
  std::uint64_t step;

  std::uint64_t width() const { return to > from ? static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from) : 0; }
  std::uint64_t slices() const { return width() / step + (width() % step != 0 ? 1 : 0); }
};

Range range_of(const Value& command) {
  const Config config(command);
  Range range{.from = config.long_integer("from"), .to = config.long_integer("to"), .step = 1};
  const bool by_step = config.optional_string("step").has_value();
  const bool by_slices = config.optional_string("slices").has_value();
  if (by_step && by_slices) throw config_error("Setting both step and slices options to for_range is invalid");
  if (!by_step && !by_slices) throw config_error("step or slices option is required for for_range");
  if (by_step) {
    range.step = static_cast<std::uint64_t>(positive(config, "step"));
  } else {
    const auto slices = static_cast<std::uint64_t>(positive(config, "slices"));
    range.step = std::max<std::uint64_t>(1, range.width() / slices + (range.width() % slices != 0 ? 1 : 0));
  }
  return range;
}

/// for_range>: `_do` for each slice of an interval (spec/operators.md 3.6).
class ForRange : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Range range = range_of(task.params().parse_nested("_command"));
    const std::uint64_t count = range.slices();
    check_count(task, "for_range subtasks (" + std::to_string(count) + ")", count);
    Subtasks subtasks(task);
    subtasks.reserve(count);
    for (std::uint64_t index = 0; index < count; ++index) {
      const std::uint64_t start = index * range.step;
      const std::uint64_t end = range.width() - start < range.step ? range.width() : start + range.step;
      const auto from = static_cast<std::int64_t>(static_cast<std::uint64_t>(range.from) + start);
      const auto to = static_cast<std::int64_t>(static_cast<std::uint64_t>(range.from) + end);
      subtasks.add("+range-from=" + std::to_string(from) + "&to=" + std::to_string(to),
                   {{"range", Value::object({{"from", from}, {"to", to}, {"index", static_cast<std::int64_t>(index)}})}});
    }
    return std::move(subtasks).result();
  }
};

}  // namespace

std::unique_ptr<Operator> make_for_range() { return std::make_unique<ForRange>(); }

}  // namespace digdag::operators
