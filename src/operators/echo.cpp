#include "operators/operator.h"

namespace digdag::operators {
namespace {

/// echo>: prints its text (spec/operators.md 3.9).
class Echo : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    task.output(task.params().string("_command") + '\n');
    return engine::TaskResult{};
  }
};

}  // namespace

std::unique_ptr<Operator> make_echo() { return std::make_unique<Echo>(); }

}  // namespace digdag::operators
