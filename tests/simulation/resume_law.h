#pragma once

#include <string>

#include "engine/attempt.h"

namespace digdag::simulation {

/// What a retry of this attempt takes over, by the law of spec/decisions.md 3.2: of each name the newest row, if it succeeded and
/// is no handler; with an operator task its newest generation of subtasks.
engine::ResumedTasks taken_over(const engine::Attempt& attempt);

}  // namespace digdag::simulation
