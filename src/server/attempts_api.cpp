#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/text.h"
#include "engine/stored_task.h"
#include "server/api.h"
#include "server/body.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/attempt_events.h"
#include "store/projects.h"
#include "store/schedules.h"
#include "store/sessions.h"
#include "store/tasks.h"

namespace digdag::server {
namespace {

using store::Sessions;
using store::Transaction;

// ---- Reading ----

Response list_attempts(const Request& request, const Api& api) {
  const Sessions::Page page = requested_page(request, api.attempts_page_limit);
  const std::optional<std::string> project_name = request.query.text("project");
  Sessions::Filter filter = requested_filter(request);
  filter.workflow_name = request.query.text("workflow");
  const bool retried = request.query.flag("include_retried");
  const auto found = api.database.read([&](Transaction& transaction) {
    if (project_name) {
      store::Projects projects(transaction, request.identity.site_id);
      filter.project_id = project_named(projects, *project_name).id;
    }
    return Sessions(transaction, request.identity.site_id).attempts(filter, retried, page);
  });
  return Response::json(list_json("attempts", found, attempt_json));
}

Response get_attempt(const Request& request, const Api& api) {
  return api.database.read([&](Transaction& transaction) {
    Sessions sessions(transaction, request.identity.site_id);
    return Response::json(attempt_json(attempt_with_id(sessions, request.number("id"))));
  });
}

Response list_retries(const Request& request, const Api& api) {
  const auto found = api.database.read([&](Transaction& transaction) {
    Sessions sessions(transaction, request.identity.site_id);
    return sessions.retries(attempt_with_id(sessions, request.number("id")).session_id);
  });
  return Response::json(list_json("attempts", found, attempt_json));
}

Response list_tasks(const Request& request, const Api& api) {
  auto tasks = api.database.read([&](Transaction& transaction) {
    Sessions sessions(transaction, request.identity.site_id);
    const std::int64_t id = attempt_with_id(sessions, request.number("id")).id;
    // A kill that was answered is seen at once, also before the attempt's owner has noted it in the tasks.
    const bool killed = store::kill_is_due(transaction, id);
    std::vector<engine::StoredTask> found = store::tasks_of_attempt(transaction, id);
    for (engine::StoredTask& task : found) {
      if (killed && !engine::is_done(task.state)) task.flags |= engine::cancel_requested;
    }
    return found;
  });
  engine::expand_barriers(tasks);
  return Response::json(list_json("tasks", tasks, task_json));
}

// ---- Start (spec/rest-api.md 9.2) ----

executor::StartRequest::Resume resume_of(const Body& body) {
  body.require({"mode", "attemptId"});
  executor::StartRequest::Resume resume{.attempt_id = body.id("attemptId")};
  const std::string mode = body.text("mode");
  if (mode == "from") {
    body.require({"from"});
    resume.from = body.text("from");
  } else if (mode != "failed") {
    throw HttpError(400, "Field 'resume.mode' must be 'failed' or 'from', but it is '" + visible(mode) + "'");
  }
  if (const std::optional<std::string> invalidate = body.optional_text("invalidate")) {
    if (*invalidate != "changed")
      throw HttpError(400, "Field 'resume.invalidate' can only be 'changed', but it is '" + visible(*invalidate) + "'");
    resume.changed = true;
  }
  return resume;
}

void check_retry_attempt_name(const std::string& name) {
  if (is_blank(name)) {
    throw HttpError(400, "Validating attempt request failed\nretry attempt name must not be blank: \"" + visible(name) + "\"");
  }
  if (utf16_length(name) > 255) {
    throw HttpError(400, "Validating attempt request failed\nretry attempt name must not be longer than 255 characters");
  }
}

store::WorkflowDefinition startable_workflow(Transaction& transaction, int site_id, std::int64_t id) {
  store::Projects projects(transaction, site_id);
  store::WorkflowDefinition workflow = workflow_with_id(projects, id);
  if (workflow.project.deleted_at) {
    throw HttpError(404, "Project id=" + std::to_string(workflow.project.id) + " name=" + workflow.project.name + " is already deleted");
  }
  return workflow;
}

Response answer_of(const executor::Started& started) { return Response::json(attempt_json(started.attempt)); }
Response answer_of(const executor::SessionExists& exists) { return Response::json(attempt_json(exists.attempt), 409); }
Response answer_of(const executor::StartRefused& refused) {
  throw HttpError(refused.why == executor::StartRefused::Why::not_found ? 404 : 400, refused.message);
}

Response start_attempt(const Request& request, const Api& api) {
  const Body body(request);
  body.require({"workflowId", "sessionTime", "params"});
  const std::int64_t workflow_id = body.id("workflowId");
  executor::StartRequest start;
  start.session_time = Instant::of_seconds(body.instant("sessionTime").seconds());
  start.params = body.object("params");
  start.retry_attempt_name = body.optional_text("retryAttemptName");
  if (start.retry_attempt_name) check_retry_attempt_name(*start.retry_attempt_name);
  if (body.has("resume")) start.resume = resume_of(Body(body.object("resume")));
  start.workflow =
      api.database.read([&](Transaction& transaction) { return startable_workflow(transaction, request.identity.site_id, workflow_id); });
  return std::visit([](const auto& answer) { return answer_of(answer); }, api.start(start));
}

// ---- Kill (spec/rest-api.md 9.4, decisions.md E-32) ----

Response kill_attempt(const Request& request, const Api& api) {
  const std::int64_t id = request.number("id");
  std::optional<std::int64_t> event;
  const store::SessionAttempt before = api.database.write([&](Transaction& transaction) {
    event.reset();
    Sessions sessions(transaction, request.identity.site_id);
    std::optional<store::SessionAttempt> attempt = sessions.lock_attempt(id);
    if (!attempt) throw missing("session attempt id=" + std::to_string(id));
    if (attempt->done()) throw HttpError(409, "Session attempt already killed or finished");
    if (!store::end_delayed_attempt(transaction, id, store::attempt_cancel_requested)) {
      sessions.request_cancel(id);
      event = store::insert_kill(transaction, id);
    }
    return *std::move(attempt);
  });
  if (event) api.kill_requested(id, *event);
  return Response::json(attempt_json(before));
}

}  // namespace

void add_attempt_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/attempts", "listSessionsOfSite", list_attempts));
  router.add(api_route(api, "PUT", "/api/attempts", "runWorkflow", start_attempt, Consumes::json));
  router.add(api_route(api, "GET", "/api/attempts/{id:long}", "getAttempt", get_attempt));
  router.add(api_route(api, "GET", "/api/attempts/{id:long}/retries", "getAttempt", list_retries));
  router.add(api_route(api, "GET", "/api/attempts/{id:long}/tasks", "getTasksFromAttempt", list_tasks));
  router.add(api_route(api, "POST", "/api/attempts/{id:long}/kill", "killAttempt", kill_attempt));
}

}  // namespace digdag::server
