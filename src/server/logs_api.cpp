#include <string>

#include "server/api.h"
#include "server/json.h"
#include "server/live_logs.h"
#include "server/lookup.h"
#include "store/sessions.h"

namespace digdag::server {
namespace {

constexpr std::uint64_t most_whole_bytes = 1 << 20;

store::LogAttempt requested_attempt(const Request& request, const Api& api) {
  return api.database.read([&](store::Transaction& transaction) {
    store::Sessions sessions(transaction, request.identity.site_id);
    const store::SessionAttempt attempt = attempt_with_id(sessions, request.number("id"));
    return store::LogAttempt::of(attempt);
  });
}

Response list_files(const Request& request, const Api& api) {
  const std::string prefix = request.query.text("task").value_or("");
  return Response::json(list_json("files", api.logs.list(requested_attempt(request, api), prefix), log_file_json));
}

/// A small file in one piece, with its length; a large one as it is read.
Response get_file(const Request& request, const Api& api) {
  store::LogAttempt attempt = requested_attempt(request, api);
  const std::string& name = request.parameter("name");
  std::string bytes;
  bool is_large = false;
  const bool found = api.logs.read(
      attempt, name, [&](std::uint64_t size) { is_large = size > most_whole_bytes; },
      [&](std::string_view piece) {
        if (!is_large) bytes += piece;
        return !is_large;
      });
  if (!found) throw HttpError(404, "Log file not found");
  Response response = Response::bytes("application/gzip", std::move(bytes));
  if (is_large) {
    response.stream = [&logs = api.live_logs, attempt = std::move(attempt), name](std::shared_ptr<BodyStream> stream) {
      logs.send(attempt, name, std::move(stream));
    };
  }
  return response;
}

/// Decisions R-30: ours, no client of the original's asks for it.
Response follow(const Request& request, const Api& api) {
  LiveLogs::Wanted wanted{
      .attempt_id = request.number("id"), .attempt = requested_attempt(request, api), .prefix = request.query.text("task").value_or("")};
  Response response;
  response.content_type = "application/x-ndjson";
  response.headers.add("Cache-Control", "no-store");
  response.headers.add("X-Accel-Buffering", "no");  // proxies shall not wait for more
  response.stream = [&logs = api.live_logs, wanted = std::move(wanted)](std::shared_ptr<BodyStream> stream) {
    logs.follow(wanted, std::move(stream));
  };
  return response;
}

}  // namespace

void add_log_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/logs/{id:long}/files", "getLogFiles", list_files));
  Route file = api_route(api, "GET", "/api/logs/{id:long}/files/{name}", "getLogFiles", get_file);
  file.produces = "application/gzip";
  router.add(std::move(file));
  Route live = api_route(api, "GET", "/api/v2/attempts/{id:long}/logs", "getLogFiles", follow);
  live.produces = "application/x-ndjson";
  router.add(std::move(live));
}

}  // namespace digdag::server
