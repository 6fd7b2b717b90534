#include "executor/attempt_options.h"

#include "operators/operator.h"

namespace digdag::executor {

engine::AttemptOptions attempt_options(const SystemConfig& system) {
  engine::AttemptOptions options;
  options.task_limit =
      system.integer_or("executor.task_max_run", system.integer_or("io.digdag.limits.maxWorkflowTasks", options.task_limit));
  options.params_size_limit = system.integer_or("executor.max_params_size", options.params_size_limit);
  options.max_lost_runs = static_cast<std::uint32_t>(system.integer_or("agent.max-lost-leases", options.max_lost_runs));
  options.group_check = system.boolean_or("executor.group_check", false);
  options.has_cleanup = [](std::string_view type) {
    const operators::OperatorType* found = operators::find_operator(type);
    return found && found->has_cleanup;
  };
  return options;
}

}  // namespace digdag::executor
