#pragma once

#include "base/properties.h"
#include "engine/attempt.h"

namespace digdag::executor {

/// Limits of tasks and parameters as configured (`executor.task_max_run`, `executor.max_params_size`, `executor.group_check`), and which
/// operators clean up.
engine::AttemptOptions attempt_options(const SystemConfig& system);

}  // namespace digdag::executor
