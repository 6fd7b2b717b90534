#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "dig/names.h"
#include "server/api.h"
#include "server/json.h"
#include "server/lookup.h"
#include "server/revision_content.h"
#include "store/projects.h"

namespace digdag::server {
namespace {

using store::Projects;
using store::Transaction;

// ---- Push (spec/rest-api.md 5.1) ----

/// What a push stores, checked before its transaction.
struct Push {
  std::string project_name, revision_name;
  store::Upload upload;
  std::optional<RevisionContent> content;
};

void check_names(const std::string& project, const std::string& revision) {
  if (const std::vector<std::string> faults = dig::faults_of_workflow_name(project); !faults.empty()) {
    throw HttpError(400, "Validating project failed\n" + join(faults, "\n"));
  }
  if (is_blank(revision)) throw HttpError(400, "Validating revision failed\nname must not be blank: \"" + visible(revision) + "\"");
  if (utf16_length(revision) > 255) throw HttpError(400, "Validating revision failed\nname must not be longer than 255 characters");
}

Push checked_push(const Request& request, const Api& api) {
  Push push;
  push.project_name = required_parameter(request, "project");
  push.revision_name = required_parameter(request, "revision");
  const schedule::PushOptions options{
      .schedule_from = schedule::parse_schedule_from(request.query.text("schedule_from").value_or(""), api.clock()),
      .clear = request.query.all("clear_schedule"),
      .clear_all = request.query.flag("clear_schedule_all"),
      .now = api.clock()};
  push.upload = store::check_upload(request.body, api.archive_limits, api.temporary_directory);
  if (const std::string faults = faults_of(push.upload.project); !faults.empty())
    throw HttpError(400, "Validating project failed" + faults);
  // As the original's: an archive that was packed once more (`Content-Encoding`) is refused (spec/server.md 5).
  if (request.content_length && *request.content_length != request.body.size()) {
    throw HttpError(400, "Content-Length header doesn't match with uploaded data size");
  }
  push.content.emplace(push.upload.project, options);
  check_names(push.project_name, push.revision_name);
  return push;
}

RevisionContent::Stored store_push(Transaction& transaction, int site_id, const Push& push, const std::string& archive) {
  Projects projects(transaction, site_id);
  const std::optional<RevisionContent::Stored> stored = push.content->insert(
      projects, transaction, push.project_name, {.name = push.revision_name, .archive_type = "db", .archive_md5 = push.upload.md5});
  if (!stored) {
    const std::int64_t id = projects.by_name(push.project_name).value().id;
    throw HttpError(409, "Resource already exists: revision=" + push.revision_name + " in project id=" + std::to_string(id));
  }
  projects.insert_archive(stored->revision.id, archive);
  transaction.notify(store::schedules_notice);
  return *stored;
}

Response put_project(const Request& request, const Api& api) {
  const Push push = checked_push(request, api);
  const RevisionContent::Stored stored =
      api.database.write([&](Transaction& transaction) { return store_push(transaction, request.identity.site_id, push, request.body); });
  api.schedules_changed();
  Response response = Response::json(project_json(stored.project, stored.revision));
  if (const std::int64_t missed = stored.missed_sessions; missed > 0)
    response.headers.add("Digdag-Missed-Sessions",
                         std::to_string(missed) + (missed < schedule::PushedSchedules::most_counted ? "" : " or more"));
  return response;
}

// ---- Reading ----

Response list_projects(const Request& request, const Api& api) {
  const std::optional<std::string> name = request.query.text("name");
  const Projects::Page page{.after_id = request.query.int32("last_id").value_or(0), .size = requested_count(request)};
  const std::string name_part = request.query.text("name_pattern").value_or("");
  const auto found = api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    if (!name) return projects.list(page, name_part);
    std::vector<store::LatestRevision> one;
    if (const auto project = projects.by_name(*name)) {
      if (const auto revision = projects.latest_revision(project->id)) one.push_back({*project, *revision});
    }
    return one;
  });
  return Response::json(
      list_json("projects", found, [](const store::LatestRevision& one) { return project_json(one.project, one.revision); }));
}

Response get_project(const Request& request, const Api& api) {
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Project project = live_project(projects, request.number("id"));
    return Response::json(project_json(project, latest_revision(projects, project)));
  });
}

Response get_project_by_name(const Request& request, const Api& api) {
  const std::string name = required_parameter(request, "name");
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Project project = project_named(projects, name);
    return Response::json(project_json(project, latest_revision(projects, project)));
  });
}

Response delete_project(const Request& request, const Api& api) {
  return api.database.write([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Project project = live_project(projects, request.number("id"));
    const store::Revision revision = latest_revision(projects, project);
    // Somebody else may have deleted it since it was read.
    if (!projects.remove(project.id)) live_project(projects, project.id);
    return Response::json(project_json(project, revision));
  });
}

Response list_revisions(const Request& request, const Api& api) {
  const std::optional<std::string> name = request.query.text("name");
  const std::optional<std::int32_t> last_id = request.query.int32("last_id");
  const auto found = api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Project project = live_project(projects, request.number("id"));
    if (!name) return projects.revisions(project.id, last_id);
    std::vector<store::Revision> one;
    if (auto revision = projects.revision(project.id, *name)) one.push_back(*std::move(revision));
    return one;
  });
  return Response::json(list_json("revisions", found, revision_json));
}

Response get_archive(const Request& request, const Api& api) {
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Revision revision = requested_revision(projects, live_project(projects, request.number("id")), request);
    if (revision.archive_type == "none") throw HttpError(404, "Archive is not stored");
    std::optional<std::string> archive = projects.archive(revision.id);
    if (!archive) throw HttpError(404, "Archive file not found");
    return Response::bytes("application/gzip", *std::move(archive));
  });
}

// ---- Workflows of a project ----

Response list_project_workflows(const Request& request, const Api& api) {
  const std::optional<std::string> name = request.query.text("name");
  const auto found = api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Revision revision = requested_revision(projects, live_project(projects, request.number("id")), request);
    if (!name) return projects.workflows(revision.id);
    std::vector<store::WorkflowDefinition> one;
    if (auto workflow = projects.workflow(revision.id, *name)) one.push_back(*std::move(workflow));
    return one;
  });
  return Response::json(list_json("workflows", found, workflow_json));
}

Response get_project_workflow(const Request& request, const Api& api, const std::string& name) {
  return api.database.read([&](Transaction& transaction) {
    Projects projects(transaction, request.identity.site_id);
    const store::Revision revision = requested_revision(projects, live_project(projects, request.number("id")), request);
    return Response::json(workflow_json(workflow_named(projects, revision, name)));
  });
}

}  // namespace

void add_project_routes(Router& router, const Api& api) {
  const auto get = [&](const char* pattern, const char* action, ApiHandler handler) {
    router.add(api_route(api, "GET", pattern, action, handler));
  };
  get("/api/projects", "listProjectsOfSite", list_projects);
  get("/api/project", "getProject", get_project_by_name);
  get("/api/projects/{id:int}", "getProject", get_project);
  get("/api/projects/{id:int}/revisions", "getProject", list_revisions);
  get("/api/projects/{id:int}/workflows", "listWorkflowsOfProject", list_project_workflows);
  get("/api/projects/{id:int}/workflow", "getWorkflow", [](const Request& request, const Api& services) {
    return get_project_workflow(request, services, required_parameter(request, "name"));
  });
  get("/api/projects/{id:int}/workflows/{name}", "getWorkflow",
      [](const Request& request, const Api& services) { return get_project_workflow(request, services, request.parameter("name")); });
  router.add(api_route(api, "DELETE", "/api/projects/{id:int}", "deleteProject", delete_project));

  Route archive = api_route(api, "GET", "/api/projects/{id:int}/archive", "getProjectArchive", get_archive);
  archive.produces = "application/gzip";
  router.add(std::move(archive));

  Route push = api_route(api, "PUT", "/api/projects", "putProject", put_project, Consumes::gzip);
  push.limit = {.bytes = api.archive_limits.bytes,
                .status = 400,
                .message = "Size of the uploaded archive file exceeds limit (" + std::to_string(api.archive_limits.bytes) + " bytes)"};
  router.add(std::move(push));
}

}  // namespace digdag::server
