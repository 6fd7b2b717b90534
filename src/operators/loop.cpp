#include "operators/subtasks.h"

namespace digdag::operators {
namespace {

/// loop>: `_do` N times, with `i` from 0 (spec/operators.md 3.4).
class Loop : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Config params = task.params();
    const std::int64_t command = params.integer("_command");
    const std::int64_t count = params.integer_or("count", command);
    if (params.has("count") && task.local.find("count") == nullptr)
      task.warn("The inherited parameter 'count' (" + std::to_string(count) + ") overrides loop>: " + std::to_string(command) + ".");
    if (count > 0) check_count(task, "loop subtasks", static_cast<std::uint64_t>(count));
    Subtasks subtasks(task);
    if (count > 0) subtasks.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) subtasks.add("+loop-" + std::to_string(i), {{"i", i}});
    return std::move(subtasks).result();
  }
};

}  // namespace

std::unique_ptr<Operator> make_loop() { return std::make_unique<Loop>(); }

}  // namespace digdag::operators
