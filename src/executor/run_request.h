#pragma once

#include "agent/agent.h"
#include "executor/round.h"

namespace digdag::executor {

/// What is known about an attempt where no task of it is meant.
operators::TaskIdentity identity_of(const AttemptIdentity& attempt);
/// What a task knows about itself and its attempt.
operators::TaskIdentity identity_of(const Owned& owned, engine::TaskIndex task);

/// What the agent is given to run it.
agent::RunRequest request_of(const Owned& owned, const engine::Run& run);

}  // namespace digdag::executor
