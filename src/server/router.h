#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace digdag::server {

/// What a route wants its body to be; anything else is 400 `RESTEASY003065: Cannot consume content type` (spec/rest-api.md 1.2).
enum class Consumes : std::uint8_t {
  anything,  ///< the body is not read
  json,      ///< `application/json`, with parameters
  gzip       ///< `application/gzip`
};

/// One method of one path.
struct Route {
  std::string method;  ///< `GET` (which gives HEAD as well), `PUT`, `POST`, `DELETE`
  /// `/api/projects/{id:int}/secrets/{key}`: `:int` is a number of 32 bits, `:long` of 64 (others: 404 without body), none any text
  /// without a slash.
  std::string pattern;
  std::function<Response(const Request&)> handler;
  std::string action;  ///< the permission it needs, by the names of spec/server.md 6: `putProject`
  Consumes consumes = Consumes::anything;
  std::string produces = "application/json";  ///< 406 without body where `Accept` excludes it; empty: any
  BodyLimit limit;
  bool admin_listener_only = false;  ///< 404 at the other listener, then 403 for those who are no admin; both without body
};

/// Finds the route of a request, and answers what belongs to none (spec/rest-api.md 2, in its order): unknown path 404, method 405 with
/// `Allow`, OPTIONS, content type, `Accept`, numbers in the path. One slash at the end is accepted.
///
/// All routes are added before the first request; then it is thread-safe.
class Router {
 public:
  /// A literal segment wins over a parameter. Asserts that no other route has this method and path.
  void add(Route route);

  struct Found {
    const Route* route = nullptr;
    std::optional<Response> answer;  ///< set where there is no route, or nothing to be done by it
  };
  /// Sets the path's parameters in the request.
  Found find(Request& request) const;

  struct Parameter {
    std::string name, type;  ///< type: `int`, `long` or none
  };
  struct Described {
    std::string path;  ///< `/api/projects/{id}`
    std::vector<Parameter> parameters;
    std::vector<const Route*> routes;
  };
  /// The table, by path.
  std::vector<Described> described() const;

 private:
  struct Path {
    std::vector<std::string> segments;  ///< a parameter begins with `{`
    std::vector<Route> routes;
  };
  const Path* path_of(const std::vector<std::string>& segments) const;

  std::vector<Path> paths_;
};

}  // namespace digdag::server
