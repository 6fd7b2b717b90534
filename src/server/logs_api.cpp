#include <string>

#include "server/api.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/sessions.h"

namespace digdag::server {
namespace {

store::LogAttempt requested_attempt(const Request& request, const Api& api) {
  return api.database.read([&](store::Transaction& transaction) {
    store::Sessions sessions(transaction, request.identity.site_id);
    const store::SessionAttempt attempt = attempt_with_id(sessions, request.number("id"));
    return store::LogAttempt{.site_id = attempt.site_id,
                             .project_id = attempt.project_id,
                             .workflow_name = attempt.workflow_name,
                             .session_time = attempt.session_time,
                             .timezone = attempt.timezone,
                             .retry_attempt_name = attempt.retry_attempt_name,
                             .created_at = attempt.created_at.instant()};
  });
}

Response list_files(const Request& request, const Api& api) {
  const std::string prefix = request.query.text("task").value_or("");
  return Response::json(list_json("files", api.logs.list(requested_attempt(request, api), prefix), log_file_json));
}

Response get_file(const Request& request, const Api& api) {
  std::string bytes;
  const bool found = api.logs.read(
      requested_attempt(request, api), request.parameter("name"), [&](std::uint64_t size) { bytes.reserve(size); },
      [&](std::string_view piece) {
        bytes += piece;
        return true;
      });
  if (!found) throw HttpError(404, "Log file not found");
  return Response::bytes("application/gzip", std::move(bytes));
}

}  // namespace

void add_log_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/logs/{id:long}/files", "getLogFiles", list_files));
  Route file = api_route(api, "GET", "/api/logs/{id:long}/files/{name}", "getLogFiles", get_file);
  file.produces = "application/gzip";
  router.add(std::move(file));
}

}  // namespace digdag::server
