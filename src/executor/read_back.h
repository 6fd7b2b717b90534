#pragma once

#include <vector>

#include "dig/workflow.h"
#include "engine/attempt.h"
#include "executor/executor.h"
#include "store/attempt_store.h"
#include "store/owned_attempts.h"

namespace digdag::executor {

dig::Workflow workflow_of(const store::WorkflowDefinition& definition);

/// All rows of an attempt that was just started or, with an empty outcome, only made. Its runs in `given` have a place at the agent; the
/// others stand in the queue for whoever takes them, unless they wait for a place `here`.
store::AttemptChange first_change(store::AttemptRows& rows, const engine::Attempt& attempt, const engine::Outcome& outcome,
                                  const std::vector<engine::Run>& given, bool here = false);

/// Hands an attempt that was read from the database to the executor, with what happened to it meanwhile: rows of tasks, or none yet.
/// `params`: everything below the workflow's own exports. Throws Error where its rows make no sense.
void go_on(Executor& executor, AttemptIdentity identity, store::OwnedAttempt from, engine::Params params,
           const engine::AttemptOptions& options, Instant now);

}  // namespace digdag::executor
