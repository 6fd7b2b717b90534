#include "server/json.h"

#include <optional>
#include <utility>

#include "base/base64.h"

namespace digdag::server {
namespace {

Value id_json(std::int64_t id) { return std::to_string(id); }
Value optional_id_json(const std::optional<std::int64_t>& id) { return id ? id_json(*id) : Value(); }
Value object_or_empty(const Value& value) { return value.is_null() ? Value::object() : value; }

template <typename Time>
Value optional_instant(const std::optional<Time>& time) {
  return time ? Value(instant_text(*time)) : Value();
}

Value id_and_name(std::int64_t id, const std::string& name) { return Value::object({{"id", id_json(id)}, {"name", name}}); }

/// The workflow of a session or attempt: here the name comes first.
Value name_and_id(const store::SessionAttempt& attempt) {
  return Value::object({{"name", attempt.workflow_name}, {"id", optional_id_json(attempt.workflow_definition_id)}});
}

Value md5_json(const std::optional<std::string>& md5) { return md5 ? Value(base64(*md5)) : Value(); }

std::string status_of(const store::SessionAttempt& attempt) {
  if (attempt.success()) return "success";
  if (!attempt.done()) return "running";
  return attempt.cancel_requested() ? "killed" : "error";
}

Value text_or_null(const std::optional<std::string>& text) { return text ? Value(*text) : Value(); }

}  // namespace

std::string instant_text(Instant instant) { return format_instant(Instant::of_seconds(instant.seconds())); }
std::string instant_text(store::Timestamp time) { return instant_text(time.instant()); }

Value project_json(const store::Project& project, const store::Revision& revision) {
  return Value::object({{"id", id_json(project.id)},
                        {"name", project.name},
                        {"revision", revision.name},
                        {"createdAt", instant_text(project.created_at)},
                        {"updatedAt", instant_text(revision.created_at)},
                        {"deletedAt", optional_instant(project.deleted_at)},
                        {"archiveType", revision.archive_type},
                        {"archiveMd5", md5_json(revision.archive_md5)}});
}

Value revision_json(const store::Revision& revision) {
  return Value::object({{"revision", revision.name},
                        {"createdAt", instant_text(revision.created_at)},
                        {"archiveType", revision.archive_type},
                        {"archiveMd5", md5_json(revision.archive_md5)},
                        {"userInfo", object_or_empty(revision.user_info)}});
}

Value workflow_json(const store::WorkflowDefinition& workflow) {
  return Value::object({{"id", id_json(workflow.id)},
                        {"name", workflow.name},
                        {"project", id_and_name(workflow.project.id, workflow.project.name)},
                        {"revision", workflow.revision_name},
                        {"timezone", workflow.timezone.id()},
                        {"config", workflow.config}});
}

Value session_time_json(const store::WorkflowDefinition& workflow, Instant session_time) {
  return Value::object({{"project", id_and_name(workflow.project.id, workflow.project.name)},
                        {"revision", workflow.revision_name},
                        {"sessionTime", format_session_time(session_time, workflow.timezone)},
                        {"timezone", workflow.timezone.id()}});
}

Value schedule_json(const store::Schedule& schedule) {
  return Value::object({{"id", id_json(schedule.id)},
                        {"project", id_and_name(schedule.project_id, schedule.project_name)},
                        {"workflow", id_and_name(schedule.workflow_definition_id, schedule.workflow_name)},
                        {"nextRunTime", instant_text(schedule.next_run_time)},
                        {"nextScheduleTime", format_session_time(schedule.next_session_time, schedule.timezone)},
                        {"disabledAt", optional_instant(schedule.disabled_at)}});
}

Value schedule_summary_json(const store::Schedule& schedule) {
  return Value::object({{"id", id_json(schedule.id)},
                        {"project", id_and_name(schedule.project_id, schedule.project_name)},
                        {"workflow", id_and_name(schedule.workflow_definition_id, schedule.workflow_name)},
                        {"nextRunTime", instant_text(schedule.next_run_time)},
                        {"nextScheduleTime", format_session_time(schedule.next_session_time, schedule.timezone)},
                        {"createdAt", instant_text(schedule.created_at)},
                        {"updatedAt", instant_text(schedule.updated_at)},
                        {"disabledAt", optional_instant(schedule.disabled_at)}});
}

Value schedule_attempts_json(const store::Schedule& schedule, const std::vector<store::SessionAttempt>& attempts) {
  Value answer = Value::object({{"id", id_json(schedule.id)},
                                {"project", id_and_name(schedule.project_id, schedule.project_name)},
                                {"workflow", id_and_name(schedule.workflow_definition_id, schedule.workflow_name)}});
  merge(answer, list_json("attempts", attempts, attempt_json));
  return answer;
}

Value session_json(const store::SessionAttempt& last) {
  return Value::object({{"id", id_json(last.session_id)},
                        {"project", id_and_name(last.project_id, last.project_name)},
                        {"workflow", name_and_id(last)},
                        {"sessionUuid", last.session_uuid},
                        {"sessionTime", format_session_time(last.session_time, last.timezone)},
                        {"lastAttempt", Value::object({{"id", id_json(last.id)},
                                                       {"retryAttemptName", text_or_null(last.retry_attempt_name)},
                                                       {"done", last.done()},
                                                       {"success", last.success()},
                                                       {"cancelRequested", last.cancel_requested()},
                                                       {"params", object_or_empty(last.params)},
                                                       {"createdAt", instant_text(last.created_at)},
                                                       {"finishedAt", optional_instant(last.finished_at)}})}});
}

Value attempt_json(const store::SessionAttempt& attempt) {
  return Value::object({{"status", status_of(attempt)},
                        {"id", id_json(attempt.id)},
                        {"index", attempt.index},
                        {"project", id_and_name(attempt.project_id, attempt.project_name)},
                        {"workflow", name_and_id(attempt)},
                        {"sessionId", id_json(attempt.session_id)},
                        {"sessionUuid", attempt.session_uuid},
                        {"sessionTime", format_session_time(attempt.session_time, attempt.timezone)},
                        {"retryAttemptName", text_or_null(attempt.retry_attempt_name)},
                        {"done", attempt.done()},
                        {"success", attempt.success()},
                        {"cancelRequested", attempt.cancel_requested()},
                        {"params", object_or_empty(attempt.params)},
                        {"createdAt", instant_text(attempt.created_at)},
                        {"finishedAt", optional_instant(attempt.finished_at)}});
}

Value task_json(const engine::StoredTask& task) {
  Value config = object_or_empty(task.local);
  Value exported = object_or_empty(task.export_config);
  if (!exported.as_object().empty()) config.mutable_object().set("_export", exported);
  merge(exported, object_or_empty(task.export_params));
  Array upstreams;
  for (const std::int64_t id : task.upstreams) upstreams.push_back(id_json(id));
  return Value::object({{"id", id_json(task.id)},
                        {"fullName", task.full_name},
                        {"parentId", optional_id_json(task.parent_id)},
                        {"config", config},
                        {"upstreams", Value(std::move(upstreams))},
                        {"state", engine::to_string(task.state)},
                        {"cancelRequested", (task.flags & engine::cancel_requested) != 0},
                        {"exportParams", exported},
                        {"storeParams", object_or_empty(task.store_params)},
                        {"stateParams", object_or_empty(task.state_params)},
                        {"updatedAt", instant_text(task.updated_at)},
                        {"retryAt", optional_instant(task.retry_at)},
                        {"startedAt", optional_instant(task.started_at)},
                        {"error", object_or_empty(task.error)},
                        {"isGroup", task.is_group}});
}

Value log_file_json(const store::LogFile& file) {
  return Value::object({{"fileName", file.file_name},
                        {"fileSize", static_cast<std::int64_t>(file.bytes)},
                        {"taskName", file.parsed.task_name},
                        {"fileTime", instant_text(Instant::of_seconds(file.parsed.seconds))},
                        {"agentId", file.parsed.agent_id},
                        {"direct", Value()}});
}

Value secret_json(const std::string& key, const store::Project& project) {
  return Value::object({{"key", key}, {"project", id_and_name(project.id, project.name)}});
}

}  // namespace digdag::server
