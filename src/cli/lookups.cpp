#include "cli/lookups.h"

#include "base/error.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

std::string path_of_project(const std::string& id) { return "/api/projects/" + client::path_part(id); }

/// The first row of a list. Whoever asks the wrong server sees by the cause which one was asked.
Value found(client::RestClient& server, const std::string& path, const client::RestClient::Query& query, const char* member,
            const std::string& missing) {
  const Array rows = list_at(server.get(path, query), member);
  if (rows.empty()) throw task_error("Resource not found: " + missing).because(task_error(server.question(path, query)));
  return Value(rows.front());
}

}  // namespace

Value project_named(client::RestClient& server, const std::string& name) {
  return found(server, "/api/projects", {{"name", name}}, "projects", "project not found: " + name);
}

Value workflow_named(client::RestClient& server, const std::string& project_id, const std::string& name,
                     const std::optional<std::string>& revision) {
  client::RestClient::Query query = {{"name", name}};
  if (revision) query.emplace_back("revision", *revision);
  const std::string where = revision ? "revision = " + *revision : "the latest revision";
  return found(server, path_of_project(project_id) + "/workflows", query, "workflows",
               "workflow not found in " + where + " of project id = " + project_id + ": " + name);
}

Value schedule_named(client::RestClient& server, const std::string& project, const std::string& workflow) {
  const std::string id = text_at(project_named(server, project), "id");
  return found(server, path_of_project(id) + "/schedules", {{"workflow", workflow}}, "schedules",
               "schedule not found in the latest revision of project id = " + id + ": " + workflow);
}

Array schedules_of(client::RestClient& server, const std::string& project) {
  const std::string path = path_of_project(text_at(project_named(server, project), "id")) + "/schedules";
  Array all;
  client::RestClient::Query query;
  while (true) {
    const Array page = list_at(server.get(path, query), "schedules");
    if (page.empty()) return all;
    all.insert(all.end(), page.begin(), page.end());
    query = {{"last_id", text_at(page.back(), "id")}};
  }
}

}  // namespace digdag::cli
