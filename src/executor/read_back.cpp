#include "executor/read_back.h"

#include <algorithm>
#include <utility>

#include "dig/compiler.h"

namespace digdag::executor {

dig::Workflow workflow_of(const store::WorkflowDefinition& definition) {
  dig::Workflow workflow;
  workflow.name = definition.name;
  workflow.timezone = definition.timezone;
  workflow.has_timezone = true;
  workflow.config = definition.config;
  return workflow;
}

store::AttemptChange first_change(store::AttemptRows& rows, const engine::Attempt& attempt, const engine::Outcome& outcome,
                                  const std::vector<engine::Run>& given, bool here) {
  store::AttemptChange change{&rows, &attempt, {}, {}, {}, {}, outcome.finished};
  const auto size = static_cast<engine::TaskIndex>(attempt.size());
  for (engine::TaskIndex task = 0; task < size; ++task) change.changed.push_back(task);
  for (const engine::Effect& effect : outcome.effects) {
    const auto* run = std::get_if<engine::Run>(&effect);
    if (run == nullptr) continue;
    const bool taken = std::any_of(given.begin(), given.end(), [&](const engine::Run& other) { return other.task == run->task; });
    if (taken || !here) change.runs.push_back({run->task, run->lease, taken});
  }
  return change;
}

void go_on(Executor& executor, AttemptIdentity identity, store::OwnedAttempt from, engine::Params params,
           const engine::AttemptOptions& options, Instant now) {
  const std::int64_t id = from.attempt.id;
  if (from.tasks.empty()) {
    dig::Workflow workflow = workflow_of(*from.workflow);
    if (!from.stored.monitor) workflow.config.mutable_object().erase("sla");  // a backfill
    engine::Attempt attempt(dig::compile(workflow), std::move(params), from.attempt.timezone, options, std::move(from.stored.resumed));
    if (from.stored.monitor) attempt.continue_monitor(*from.stored.monitor);
    executor.add(std::move(identity), std::move(attempt), std::move(from.rows));
  } else {
    const bool is_unstarted = from.tasks[0].state == engine::TaskState::blocked;
    engine::Restored restored =
        engine::Attempt::restore(std::move(from.stored), std::move(from.tasks), std::move(params), from.attempt.timezone, options, now);
    if (is_unstarted)
      executor.add(std::move(identity), std::move(restored.attempt), std::move(from.rows));
    else
      executor.resume(std::move(identity), std::move(restored), std::move(from.rows), std::move(from.untaken));
  }
  for (const store::AttemptEvent& event : from.events) {
    if (event.kind == "kill") executor.kill(id, event.id);
  }
}

}  // namespace digdag::executor
