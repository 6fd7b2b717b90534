#include "executor/run_request.h"

#include <cstddef>

namespace digdag::executor {

operators::TaskIdentity identity_of(const AttemptIdentity& attempt) {
  operators::TaskIdentity identity;
  identity.site_id = attempt.site_id;
  identity.project_id = attempt.project_id;
  identity.session_id = attempt.session_id;
  identity.attempt_id = attempt.attempt_id;
  identity.project_name = attempt.project_name;
  identity.workflow_name = attempt.workflow_name;
  identity.revision = attempt.revision;
  identity.revision_id = attempt.revision_id;
  identity.workflow_definition_id = attempt.workflow_definition_id;
  identity.retry_attempt_name = attempt.retry_attempt_name;
  identity.session_uuid = attempt.session_uuid;
  identity.session_time = attempt.session_time;
  identity.created_at = attempt.created_at;
  identity.timezone = attempt.timezone;
  return identity;
}

operators::TaskIdentity identity_of(const Owned& owned, engine::TaskIndex task) {
  operators::TaskIdentity identity = identity_of(owned.identity);
  identity.task_id = owned.rows.task_ids[static_cast<std::size_t>(task)];
  identity.task_name = owned.attempt.full_name(task);
  return identity;
}

agent::RunRequest request_of(const Owned& owned, const engine::Run& run) {
  const engine::Attempt& attempt = owned.attempt;
  agent::RunRequest request;
  request.attempt = owned.identity.attempt_id;
  request.task = run.task;
  request.lease = run.lease;
  request.cleanup = run.cleanup;
  request.identity = identity_of(owned, run.task);
  request.params = attempt.params_of(run.task);
  request.local = attempt.local(run.task);
  request.own_export = attempt.export_config(run.task);
  request.state = attempt.state_params(run.task);
  request.retry_count = attempt.retry_count(run.task);
  request.started_at = attempt.started_at(run.task);
  request.kill_grace_seconds = attempt.kill_grace(run.task);
  request.lenient = attempt.in_handler(run.task);
  request.position = attempt.position(run.task);
  return request;
}

}  // namespace digdag::executor
