#include <optional>
#include <string>

#include "server/api.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::server {
namespace {

using store::Sessions;
using store::Transaction;

Response list_sessions(const Request& request, const Api& api) {
  const Sessions::Page page = requested_page(request, api.sessions_page_limit);
  const Sessions::Filter filter = requested_filter(request);
  const auto found =
      api.database.read([&](Transaction& transaction) { return Sessions(transaction, request.identity.site_id).sessions(filter, page); });
  return Response::json(list_json("sessions", found, session_json));
}

Response list_sessions_of_project(const Request& request, const Api& api) {
  const Sessions::Page page = requested_page(request, api.sessions_page_limit);
  Sessions::Filter filter = requested_filter(request);
  filter.workflow_name = request.query.text("workflow");
  const auto found = api.database.read([&](Transaction& transaction) {
    store::Projects projects(transaction, request.identity.site_id);
    filter.project_id = live_project(projects, request.number("id")).id;
    return Sessions(transaction, request.identity.site_id).sessions(filter, page);
  });
  return Response::json(list_json("sessions", found, session_json));
}

Response get_session(const Request& request, const Api& api) {
  return api.database.read([&](Transaction& transaction) {
    Sessions sessions(transaction, request.identity.site_id);
    return Response::json(session_json(session_with_id(sessions, request.number("id"))));
  });
}

Response list_attempts_of_session(const Request& request, const Api& api) {
  const Sessions::Page page = requested_page(request, api.attempts_page_limit);
  const Sessions::Filter filter = requested_filter(request);
  const auto found = api.database.read([&](Transaction& transaction) {
    Sessions sessions(transaction, request.identity.site_id);
    return sessions.attempts_of_session(session_with_id(sessions, request.number("id")).session_id, filter, page);
  });
  return Response::json(list_json("attempts", found, attempt_json));
}

}  // namespace

void add_session_routes(Router& router, const Api& api) {
  const auto get = [&](const char* pattern, const char* action, ApiHandler handler) {
    router.add(api_route(api, "GET", pattern, action, handler));
  };
  get("/api/sessions", "listSessionsOfSite", list_sessions);
  get("/api/projects/{id:int}/sessions", "listSessionsOfProject", list_sessions_of_project);
  get("/api/sessions/{id:long}", "getSession", get_session);
  get("/api/sessions/{id:long}/attempts", "getAttemptsFromSession", list_attempts_of_session);
}

}  // namespace digdag::server
