#include "server/front_door.h"

#include <algorithm>

#include "base/text.h"
#include "server/user_interface.h"
#include "store/database.h"

namespace digdag::server {
namespace {

/// Ours, in contrast to the user interface's.
bool is_api(const Request& request) {
  const std::vector<std::string> segments = path_segments(request.path);
  return !segments.empty() && (segments.front() == "api" || (segments.front() == "metrics" && segments.size() == 1));
}

bool changes_state(const Request& request) { return request.method != "GET" && request.method != "HEAD" && request.method != "OPTIONS"; }

/// `host:port` of an origin; empty where it is none of the web (`null`).
std::string authority_of(std::string_view origin) {
  const std::size_t slashes = origin.find("://");
  if (slashes == std::string_view::npos) return {};
  const std::string authority = lower(origin.substr(slashes + 3));
  const std::string_view usual_port = origin.starts_with("https") ? ":443" : ":80";
  return authority.ends_with(usual_port) ? authority.substr(0, authority.size() - usual_port.size()) : authority;
}

bool is_loopback_origin(std::string_view origin) {
  const std::string authority = authority_of(origin);
  const std::string host =
      authority.starts_with('[') ? authority.substr(0, authority.find(']') + 1) : authority.substr(0, authority.find(':'));
  return host == "localhost" || host == "127.0.0.1" || host == "[::1]";
}

Response not_now(const std::string& why) {
  Response response = error_response(503, why);
  response.headers.add("Retry-After", "5");
  return response;
}

}  // namespace

FrontDoor::FrontDoor(const SystemConfig& config, const Router& router, const Authenticator& authenticator, Log& log)
    : router_(router),
      authenticator_(authenticator),
      log_(log),
      headers_(config.below("server.http.headers.")),
      swagger_(config.boolean_or("server.enable-swagger", false)),
      allowed_origins_(config.list("server.cors.allow-origin")) {}

bool FrontDoor::allows_origin(std::string_view origin) const {
  if (std::find(allowed_origins_.begin(), allowed_origins_.end(), origin) != allowed_origins_.end()) return true;
  if (std::find(allowed_origins_.begin(), allowed_origins_.end(), "*") != allowed_origins_.end()) return true;
  // Where nobody has to say who they are, any page in anybody's browser could do anything.
  return swagger_ && allowed_origins_.empty() && (authenticator_.configured() || is_loopback_origin(origin));
}

bool FrontDoor::is_foreign_write(const Request& request) const {
  if (!changes_state(request)) return false;
  // The browser itself says so, and no page can make it say something else; a proxy may have changed the host.
  const std::string* site = request.header("Sec-Fetch-Site");
  if (site != nullptr && (*site == "same-origin" || *site == "none")) return false;
  const std::string* origin = request.header("Origin");
  if (origin == nullptr) return site != nullptr && *site == "cross-site";
  for (const std::string_view name : {"Host", "X-Forwarded-Host"}) {
    const std::string* host = request.header(name);
    if (host != nullptr && !host->empty() && authority_of(*origin) == authority_of(origin->substr(0, origin->find(':')) + "://" + *host))
      return false;
  }
  return !allows_origin(*origin);
}

Admission FrontDoor::admit(Request& request) {
  if (!is_api(request))
    return {request.method == "GET" || request.method == "HEAD" ? std::nullopt : std::optional(user_interface(request)), {}};
  const auto refused = [&](Response response) { return Admission{std::move(response), {}}; };
  if (std::optional<Response> unauthorized = authenticator_.authenticate(request)) return refused(*std::move(unauthorized));
  if (is_foreign_write(request))
    return refused(
        error_response(403, "A web page of another origin must not change anything here (server.cors.allow-origin names those that may)"));
  Router::Found found = router_.find(request);
  if (found.answer) return refused(*std::move(found.answer));
  if (changes_state(request)) {
    if (const auto why = writes_refused_()) return refused(not_now(*why));
  }
  request.route = found.route;
  return {.refusal = std::nullopt, .limit = found.route->limit};
}

Response FrontDoor::answer(Request& request) {
  if (request.route == nullptr) return user_interface(request);
  return answer_of_route(request);
}

Response FrontDoor::answer_of_route(const Request& request) const {
  std::string what = "Internal error", trouble;
  try {
    return request.route->handler(request);
  } catch (const HttpError& error) {
    return error.response();
  } catch (const store::DatabaseError& error) {
    if (error.why() == store::DatabaseError::Cause::unavailable) {
      log_.write(LogLevel::error, "http", "server", request.method + ' ' + request.path + ": " + error.chain());
      return not_now("The database is not available; try again");
    }
    trouble = error.chain();
  } catch (const Error& error) {
    if (const std::optional<int> status = status_of(error))
      return error_response(*status, error.position().known() ? error.report() : error.message());
    trouble = error.chain();
    if (error.kind() == "io") what = "The server cannot read or write one of its files; its log says which and why";
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  const std::string id = " (id=" + random_uuid().substr(0, 8) + ")";
  log_.write(LogLevel::error, "http", "server", "Internal error" + id + " in " + request.method + ' ' + request.path + ": " + trouble);
  return error_response(500, what + id);
}

void FrontDoor::add_headers(const Request& request, Response& response) {
  if (!is_api(request)) return;
  for (const auto& [name, value] : headers_) response.headers.set(name, value);
  if (swagger_ || !allowed_origins_.empty()) add_cors_headers(request, response);
}

void FrontDoor::add_cors_headers(const Request& request, Response& response) const {
  const std::string* origin = request.header("Origin");
  const bool everybody = allowed_origins_.empty()
                             ? authenticator_.configured()
                             : std::find(allowed_origins_.begin(), allowed_origins_.end(), "*") != allowed_origins_.end();
  if (!everybody) response.headers.add("Vary", "Origin");
  if (!everybody && (origin == nullptr || !allows_origin(*origin))) return;
  response.headers.add("Access-Control-Allow-Origin", everybody ? "*" : std::string_view(*origin));
  response.headers.add("Access-Control-Allow-Headers", "origin, content-type, accept, authorization");
  response.headers.add("Access-Control-Allow-Credentials", "true");
  response.headers.add("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS, HEAD");
  response.headers.add("Access-Control-Max-Age", "1209600");
}

}  // namespace digdag::server
