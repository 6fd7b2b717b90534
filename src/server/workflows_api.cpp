#include <memory>
#include <optional>
#include <string>

#include "base/text.h"
#include "schedule/requested_time.h"
#include "schedule/scheduler.h"
#include "server/api.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/projects.h"

namespace digdag::server {
namespace {

using store::Projects;
using store::Transaction;

Response list_workflows(const Request& request, const Api& api) {
  const std::string order = request.query.text("order").value_or("asc");
  if (order != "asc" && order != "desc") throw HttpError(400, "parameter 'order' must be either 'asc' or 'desc'");
  const Projects::WorkflowFilter filter{.name_part = request.query.text("name_pattern").value_or(""),
                                        .search_project_name = request.query.flag("search_project_name"),
                                        .descending = order == "desc",
                                        .last_id = request.query.int64("last_id"),
                                        .size = requested_count(request)};
  const auto found =
      api.database.read([&](Transaction& transaction) { return Projects(transaction, request.identity.site_id).latest_workflows(filter); });
  return Response::json(list_json("workflows", found, workflow_json));
}

Response get_workflow(const Request& request, const Api& api) {
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    return Response::json(workflow_json(workflow_with_id(projects, request.number("id"))));
  });
}

Response get_workflow_by_name(const Request& request, const Api& api) {
  const std::string project_name = required_parameter(request, "project");
  const std::string name = required_parameter(request, "name");
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Project project = project_named(projects, project_name);
    return Response::json(workflow_json(workflow_named(projects, requested_revision(projects, project, request), name)));
  });
}

Response get_truncated_session_time(const Request& request, const Api& api) {
  const std::optional<std::string> text = request.query.text("session_time");
  if (!text) throw HttpError(400, "session_time= is required");
  const std::optional<schedule::RequestedTime> time = schedule::RequestedTime::parse(*text);
  const std::optional<std::string> mode_text = request.query.text("mode");
  const auto mode = mode_text ? schedule::parse_truncation(*mode_text) : schedule::Truncation::none;
  if (!time || !mode) throw HttpError::empty(404);
  const store::WorkflowDefinition workflow = api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    return workflow_with_id(projects, request.number("id"));
  });
  const std::unique_ptr<schedule::Scheduler> scheduler = schedule::scheduler_of(workflow.config, workflow.timezone);
  const Instant session = schedule::truncated_session_time(time->in(workflow.timezone), *mode, workflow.timezone, scheduler.get());
  return Response::json(session_time_json(workflow, session));
}

}  // namespace

void add_workflow_routes(Router& router, const Api& api) {
  const auto get = [&](const char* pattern, const char* action, ApiHandler handler) {
    router.add(api_route(api, "GET", pattern, action, handler));
  };
  get("/api/workflows", "listWorkflowsOfSite", list_workflows);
  get("/api/workflow", "getWorkflow", get_workflow_by_name);
  get("/api/workflows/{id:long}", "getWorkflow", get_workflow);
  get("/api/workflows/{id:long}/truncated_session_time", "getWorkflow", get_truncated_session_time);
}

}  // namespace digdag::server
