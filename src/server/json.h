#pragma once

#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "engine/stored_task.h"
#include "store/log_storage.h"
#include "store/projects.h"
#include "store/schedules.h"
#include "store/sessions.h"

/// The objects of the REST API, fields in the order of the wire (spec/rest-api.md 3).
namespace digdag::server {

/// `2026-11-21T00:19:21Z`: a fraction is cut off.
std::string instant_text(Instant instant);
std::string instant_text(store::Timestamp time);

Value project_json(const store::Project& project, const store::Revision& revision);
Value revision_json(const store::Revision& revision);
Value workflow_json(const store::WorkflowDefinition& workflow);
Value session_time_json(const store::WorkflowDefinition& workflow, Instant session_time);
Value schedule_json(const store::Schedule& schedule);
Value schedule_summary_json(const store::Schedule& schedule);
Value schedule_attempts_json(const store::Schedule& schedule, const std::vector<store::SessionAttempt>& attempts);
/// A session is shown by its last attempt.
Value session_json(const store::SessionAttempt& last_attempt);
Value attempt_json(const store::SessionAttempt& attempt);
/// Every upstream must stand in `upstreams`.
Value task_json(const engine::StoredTask& task);
Value log_file_json(const store::LogFile& file);
Value secret_json(const std::string& key, const store::Project& project);

/// `{"projects":[…]}`.
template <typename Things, typename Json>
Value list_json(std::string_view name, const Things& things, Json json) {
  Array list;
  list.reserve(things.size());
  for (const auto& thing : things) list.push_back(json(thing));
  return Value::object({{name, Value(std::move(list))}});
}

}  // namespace digdag::server
