#include <chrono>
#include <exception>
#include <string>

#include "server/api.h"
#include "server/metrics.h"

namespace digdag::server {
namespace {

Response state(bool good, const char* word) { return Response::json(Value::object({{"status", word}}), good ? 200 : 503); }

/// Alive: needs nothing but a thread that answers.
Response get_health(const Request&, const Api&) { return state(true, "ok"); }

/// Ready: the database answers, and what this server does is under way. Says no more, because nobody has to say who they are.
Response get_ready(const Request&, const Api& api) {
  constexpr std::chrono::milliseconds patience{2000};
  try {
    api.database.read([](store::Transaction& transaction) { transaction.query("select 1"); }, patience);
  } catch (const std::exception&) {
    return state(false, "database unavailable");
  }
  return api.ready() ? state(true, "ready") : state(false, "starting, waiting or ending");
}

Response get_metrics(const Request& request, const Metrics& metrics) {
  // They tell much, so they are for those who are known, and for those who can reach the admin listener.
  if (request.listener != ListenerKind::admin && request.identity.user.empty()) return Response::empty(404);
  return Response::bytes("text/plain; version=0.0.4; charset=utf-8", metrics.text());
}

}  // namespace

void add_operations_routes(Router& router, const Api& api, const Metrics& metrics) {
  router.add(api_route(api, "GET", "/api/health", "", get_health));
  router.add(api_route(api, "GET", "/api/ready", "", get_ready));
  Route text;
  text.method = "GET";
  text.pattern = "/metrics";
  text.handler = [&metrics](const Request& request) { return get_metrics(request, metrics); };
  text.produces = "";
  router.add(std::move(text));
}

}  // namespace digdag::server
