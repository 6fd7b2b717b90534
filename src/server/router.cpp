#include "server/router.h"

#include <algorithm>
#include <cassert>
#include <charconv>

#include "base/text.h"

namespace digdag::server {
namespace {

bool is_parameter(std::string_view segment) { return segment.starts_with('{'); }

/// `{id:int}` → `id` and `int`.
std::pair<std::string, std::string> parameter_of(std::string_view segment) {
  const std::string_view inside = segment.substr(1, segment.size() - 2);
  const std::size_t colon = std::min(inside.find(':'), inside.size());
  return {std::string(inside.substr(0, colon)), std::string(inside.substr(std::min(colon + 1, inside.size())))};
}

template <typename Number>
bool is_number(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  Number number;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc() && end == text.data() + text.size();
}

/// In the order in which the original lists them.
std::string allowed_methods(const std::vector<Route>& routes) {
  std::vector<std::string> allowed;
  for (const std::string_view method : {"HEAD", "DELETE", "POST", "GET", "OPTIONS", "PUT"})
    if (method == "OPTIONS" ||
        std::any_of(routes.begin(), routes.end(), [&](const Route& route) { return route.method == (method == "HEAD" ? "GET" : method); }))
      allowed.emplace_back(method);
  return join(allowed, ", ");
}

/// The media type of a header's value, without its parameters.
std::string media_type(std::string_view value) { return lower(trim(value.substr(0, value.find(';')))); }

bool accepts_body(const Route& route, const Request& request) {
  if (route.consumes == Consumes::anything) return true;
  const std::string* type = request.header("Content-Type");
  return type != nullptr && media_type(*type) == (route.consumes == Consumes::json ? "application/json" : "application/gzip");
}

bool is_excluded(std::string_view range) {
  for (const std::string& parameter : split(range, ';')) {
    const std::string text = lower(replace_all(parameter, " ", ""));
    if (text.starts_with("q=")) return text.find_first_not_of("0.", 2) == std::string::npos;
  }
  return false;
}

/// Whether an `Accept` header lets a media type pass; without one every type does.
bool is_acceptable(const Request& request, std::string_view type) {
  const std::string accept = request.headers.joined("Accept");
  if (type.empty() || is_blank(accept)) return true;
  const std::vector<std::string> ranges = split(accept, ',');
  return std::any_of(ranges.begin(), ranges.end(), [&](const std::string& range) {
    const std::string wanted = media_type(range);
    const std::string_view family = type.substr(0, type.find('/') + 1);
    return !is_excluded(range) && (wanted == type || wanted == "*/*" || wanted == "*" || wanted == std::string(family) + "*");
  });
}

}  // namespace

void Router::add(Route route) {
  const std::vector<std::string> segments = path_segments(route.pattern);
  const auto found = std::find_if(paths_.begin(), paths_.end(), [&](const Path& path) { return path.segments == segments; });
  Path& path = found != paths_.end() ? *found : paths_.emplace_back(Path{segments, {}});
  assert(std::none_of(path.routes.begin(), path.routes.end(), [&](const Route& other) { return other.method == route.method; }));
  path.routes.push_back(std::move(route));
}

const Router::Path* Router::path_of(const std::vector<std::string>& segments) const {
  const auto literals = [](const Path& path) {
    return std::count_if(path.segments.begin(), path.segments.end(), std::not_fn(is_parameter));
  };
  const Path* best = nullptr;
  for (const Path& path : paths_) {
    const bool fits = std::equal(path.segments.begin(), path.segments.end(), segments.begin(), segments.end(),
                                 [](const std::string& pattern, const std::string& segment) {
                                   return is_parameter(pattern) ? !segment.empty() : pattern == segment;
                                 });
    if (fits && (best == nullptr || literals(path) > literals(*best))) best = &path;
  }
  return best;
}

Router::Found Router::find(Request& request) const {
  const std::vector<std::string> segments = path_segments(request.path);
  const Path* path = path_of(segments);
  if (path == nullptr) return {nullptr, Response::empty(404)};
  const std::string_view method = request.method == "HEAD" ? "GET" : std::string_view(request.method);
  const auto route = std::find_if(path->routes.begin(), path->routes.end(), [&](const Route& one) { return one.method == method; });
  if (route == path->routes.end()) {
    const std::string allowed = allowed_methods(path->routes);
    Response answer = method == "OPTIONS" ? Response::bytes("text/plain", allowed) : Response::empty(405);
    answer.headers.add("Allow", allowed);
    return {nullptr, std::move(answer)};
  }
  if (!accepts_body(*route, request)) return {nullptr, error_response(400, "RESTEASY003065: Cannot consume content type")};
  if (!is_acceptable(request, route->produces)) return {nullptr, Response::empty(406)};
  request.parameters.clear();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (!is_parameter(path->segments[i])) continue;
    auto [name, kind] = parameter_of(path->segments[i]);
    const bool fits = kind == "int" ? is_number<std::int32_t>(segments[i]) : kind == "long" ? is_number<std::int64_t>(segments[i]) : true;
    if (!fits) return {nullptr, Response::empty(404)};
    request.parameters.emplace_back(std::move(name), segments[i]);
  }
  if (route->admin_listener_only) {
    if (request.listener != ListenerKind::admin) return {nullptr, Response::empty(404)};
    if (!request.identity.admin) return {nullptr, Response::empty(403)};
  }
  return {&*route, std::nullopt};
}

std::vector<Router::Described> Router::described() const {
  std::vector<Described> all;
  for (const Path& path : paths_) {
    Described one;
    for (const std::string& segment : path.segments) {
      one.path += '/';
      if (!is_parameter(segment)) {
        one.path += segment;
        continue;
      }
      auto [name, type] = parameter_of(segment);
      one.path += '{' + name + '}';
      one.parameters.push_back({std::move(name), std::move(type)});
    }
    for (const Route& route : path.routes) one.routes.push_back(&route);
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const Described& a, const Described& b) { return a.path < b.path; });
  return all;
}

}  // namespace digdag::server
