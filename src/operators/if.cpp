#include "operators/operator.h"

namespace digdag::operators {
namespace {

bool condition_of(const Config& params) {
  try {
    return params.boolean("_command");
  } catch (const Error& error) {
    throw Error(error).hint("a condition stands whole inside of ${…}, as in `if>: ${a == b}`");
  }
}

/// if>: the subtasks of `_do` or those of `_else_do` (spec/operators.md 3.7).
class If : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const Config params = task.params();
    const bool condition = condition_of(params);
    Value then = params.nested_or_empty("_do");
    Value otherwise = params.nested_or_empty("_else_do");
    if (then.as_object().empty() && otherwise.as_object().empty())
      throw config_error("Both _do and _else_do are not specified.")
          .hint("the tasks of if> stand in `_do` and `_else_do`, with an underscore");
    return engine::TaskResult{.subtask_config = condition ? std::move(then) : std::move(otherwise)};
  }
};

}  // namespace

std::unique_ptr<Operator> make_if() { return std::make_unique<If>(); }

}  // namespace digdag::operators
