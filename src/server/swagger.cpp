// `/api/swagger.json` and `/api/swagger.yaml` (spec/rest-api.md 14): the router's table as a Swagger 2.0 document.
#include <string>

#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "server/api.h"

namespace digdag::server {
namespace {

Value path_parameter(const Router::Parameter& parameter) {
  Value described = Value::object({{"name", parameter.name}, {"in", "path"}, {"required", true}});
  if (parameter.type.empty()) {
    described.mutable_object().set("type", "string");
  } else {
    described.mutable_object().set("type", "integer");
    described.mutable_object().set("format", parameter.type == "long" ? "int64" : "int32");
  }
  return described;
}

Value operation(const Route& route, const Array& path_parameters) {
  Value described = Value::object({{"responses", Value::object({{"200", Value::object({{"description", "done"}})}})}});
  Array parameters = path_parameters;
  if (route.consumes != Consumes::anything) {
    described.mutable_object().set("consumes", Value(Array{route.consumes == Consumes::json ? "application/json" : "application/gzip"}));
    parameters.push_back(
        Value::object({{"name", "body"}, {"in", "body"}, {"required", true}, {"schema", Value::object({{"type", "object"}})}}));
  }
  if (!route.produces.empty()) described.mutable_object().set("produces", Value(Array{route.produces}));
  if (!parameters.empty()) described.mutable_object().set("parameters", Value(std::move(parameters)));
  return described;
}

Value document(const Router& router) {
  Value paths = Value::object();
  for (const Router::Described& path : router.described()) {
    Array parameters;
    for (const Router::Parameter& parameter : path.parameters) parameters.push_back(path_parameter(parameter));
    Value operations = Value::object();
    for (const Route* route : path.routes) {
      if (!route->admin_listener_only) operations.mutable_object().set(lower(route->method), operation(*route, parameters));
    }
    if (!operations.as_object().empty()) paths.mutable_object().set(path.path, operations);
  }
  return Value::object(
      {{"swagger", "2.0"}, {"info", Value::object({{"title", "digdag"}, {"version", version}})}, {"basePath", "/"}, {"paths", paths}});
}

}  // namespace

void add_swagger_routes(Router& router) {
  // JSON is YAML, too.
  for (const auto& [path, type] : {std::pair{"/api/swagger.json", "application/json"}, {"/api/swagger.yaml", "application/yaml"}}) {
    Route route;
    route.method = "GET";
    route.pattern = path;
    route.produces = type;
    route.handler = [&router, type](const Request&) { return Response::bytes(type, to_json(document(router))); };
    router.add(std::move(route));
  }
}

}  // namespace digdag::server
