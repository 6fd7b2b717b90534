#pragma once

#include "base/value.h"
#include "operators/operator.h"

namespace digdag::agent {

/// The runtime variables of a task (`session_time`, `task_name`, …; spec/language.md 7.5), in their order. `params` are looked
/// at for `last_session_time`, `next_session_time` and `last_executed_session_time`.
Value runtime_params(const operators::TaskIdentity& identity, const Value& params);

}  // namespace digdag::agent
