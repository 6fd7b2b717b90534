#pragma once

#include <vector>

#include "engine/stored_task.h"
#include "record.h"

namespace digdag::simulation {

/// The rows of an attempt; task i has the id 100 + 3 i, as other attempts insert rows, too.
std::vector<engine::StoredTask> rows_of(const engine::Attempt& attempt);

/// What comes back of the rows of `attempt`. Throws Disagreement where it is another one, or where anything moves.
/// `as_java`: of rows such as Java writes them, without all that only we know; where that says something that Java has not (time
/// limits, lost agents, evaluated retries), of ours.
engine::Restored engine_of_rows(const engine::Attempt& attempt, const Setup& setup, Instant now, bool as_java);

}  // namespace digdag::simulation
