#include "operators/operator.h"

namespace digdag::operators {
namespace {

/// fail>: fails with its text (spec/operators.md 3.8).
class Fail : public Operator {
 public:
  Outcome run(TaskContext& task) override { throw task_error(task.params().string_or("_command", "")); }
};

}  // namespace

std::unique_ptr<Operator> make_fail() { return std::make_unique<Fail>(); }

}  // namespace digdag::operators
