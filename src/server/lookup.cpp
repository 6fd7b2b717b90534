#include "server/lookup.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/text.h"

namespace digdag::server {
namespace {

template <typename Thing>
Thing found(std::optional<Thing> thing, const std::string& what) {
  if (!thing) throw missing(what);
  return *std::move(thing);
}

std::string number(std::int64_t n) { return std::to_string(n); }

}  // namespace

HttpError missing(const std::string& what) { return {404, "Resource does not exist: " + what}; }

store::Project live_project(store::Projects& projects, std::int64_t id) {
  store::Project project = found(projects.by_id(id), "project id=" + number(id));
  if (project.deleted_at) {
    throw HttpError(404, "Project id=" + number(id) + " is already deleted at " + format_instant(project.deleted_at->instant()));
  }
  return project;
}

store::Project project_named(store::Projects& projects, std::string_view name) {
  return found(projects.by_name(name), "project name=" + std::string(name));
}

store::Revision latest_revision(store::Projects& projects, const store::Project& project) {
  return found(projects.latest_revision(project.id), "revision in project id=" + number(project.id));
}

store::Revision requested_revision(store::Projects& projects, const store::Project& project, const Request& request) {
  const std::optional<std::string> name = request.query.text("revision");
  if (!name) return latest_revision(projects, project);
  return found(projects.revision(project.id, *name), "revision name=" + *name + " in project id=" + number(project.id));
}

store::WorkflowDefinition workflow_with_id(store::Projects& projects, std::int64_t id) {
  return found(projects.workflow(id), "workflow id=" + number(id));
}

store::WorkflowDefinition workflow_named(store::Projects& projects, const store::Revision& revision, std::string_view name) {
  return found(projects.workflow(revision.id, name), "workflow name=" + std::string(name) + " in revision id=" + number(revision.id));
}

store::SessionAttempt attempt_with_id(store::Sessions& sessions, std::int64_t id) {
  return found(sessions.attempt(id), "session attempt id=" + number(id));
}

store::SessionAttempt session_with_id(store::Sessions& sessions, std::int64_t id) {
  return found(sessions.session(id), "session id=" + number(id));
}

std::string required_parameter(const Request& request, std::string_view name) {
  std::optional<std::string> text = request.query.text(name);
  if (!text || text->empty()) throw HttpError(400, std::string(name) + "= is required");
  return *std::move(text);
}

std::int64_t requested_count(const Request& request) {
  const std::int64_t count = request.query.int32("count").value_or(100);
  if (count < 0) throw HttpError(400, "count must not be negative, but it is " + number(count));
  return count;
}

store::Sessions::Page requested_page(const Request& request, std::int64_t most) {
  store::Sessions::Page page;
  if (const std::optional<std::int64_t> last_id = request.query.int64("last_id")) page.before_id = *last_id;
  const std::optional<std::int32_t> size = request.query.int32("page_size");
  if (!size) return page;
  page.size = *size;
  if (page.size > most) {
    throw HttpError(400, "Your specified page_size is " + number(page.size) + ", but it is larger than MAX_PAGE_SIZE: " + number(most) +
                             ". You must specify page_size with a number which is smaller than " + number(most) + ".");
  }
  if (page.size < 0) throw HttpError(400, "page_size must not be negative, but it is " + number(page.size));
  return page;
}

store::Sessions::Filter requested_filter(const Request& request) {
  using Status = store::Sessions::Status;
  static constexpr std::array<std::pair<std::string_view, Status>, 4> states{
      {{"running", Status::running}, {"success", Status::success}, {"error", Status::error}, {"killed", Status::killed}}};
  store::Sessions::Filter filter;
  if (const std::optional<std::string> status = request.query.text("status")) {
    const auto found = std::find_if(states.begin(), states.end(), [&](const auto& one) { return one.first == *status; });
    if (found == states.end())
      throw HttpError(400, "status must be running, success, error or killed, but it is '" + visible(*status) + "'");
    filter.status = found->second;
  }
  if (const std::optional<std::string> since = request.query.text("since")) {
    filter.since = parse_instant(*since);
    if (!filter.since) throw HttpError(400, "since must be a time such as 2026-01-02T03:04:05Z, but it is '" + visible(*since) + "'");
  }
  filter.name_part = request.query.text("name").value_or("");
  const std::string order = request.query.text("order").value_or("desc");
  if (order != "asc" && order != "desc") throw HttpError(400, "parameter 'order' must be either 'asc' or 'desc'");
  filter.oldest_first = order == "asc";
  return filter;
}

}  // namespace digdag::server
