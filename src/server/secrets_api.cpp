#include <string>
#include <vector>

#include "server/api.h"
#include "server/body.h"
#include "server/json.h"
#include "server/lookup.h"
#include "store/projects.h"
#include "store/secrets.h"

namespace digdag::server {
namespace {

using store::Transaction;

std::string requested_key(const Request& request) {
  const std::string& key = request.parameter("key");
  if (!store::is_secret_key(key)) throw HttpError(400, "Invalid secret");
  return key;
}

store::Project requested_project(Transaction& transaction, const Request& request) {
  store::Projects projects(transaction, request.identity.site_id);
  return live_project(projects, request.number("id"));
}

Response list_secrets(const Request& request, const Api& api) {
  const auto keys = api.database.read([&](Transaction& transaction) {
    const store::Project project = requested_project(transaction, request);
    // Without a key they might as well not be there.
    return api.cipher == nullptr ? std::vector<std::string>()
                                 : store::Secrets(transaction, api.cipher, request.identity.site_id).keys(project.id);
  });
  return Response::json(list_json("secrets", keys, [](const std::string& key) { return Value::object({{"key", key}}); }));
}

Response put_secret(const Request& request, const Api& api) {
  const Body body(request);
  body.require({"value"});
  const std::string key = requested_key(request);
  const std::string value = body.secret("value");
  if (!store::is_secret_value(value)) throw HttpError(400, "Invalid secret");
  return api.database.write([&](Transaction& transaction) {
    const store::Project project = requested_project(transaction, request);
    store::Secrets(transaction, api.cipher, request.identity.site_id).put(project.id, key, value);
    return Response::json(secret_json(key, project));
  });
}

Response delete_secret(const Request& request, const Api& api) {
  const std::string key = requested_key(request);
  return api.database.write([&](Transaction& transaction) {
    const store::Project project = requested_project(transaction, request);
    store::Secrets(transaction, api.cipher, request.identity.site_id).remove(project.id, key);
    return Response::json(secret_json(key, project));
  });
}

}  // namespace

void add_secret_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/projects/{id:int}/secrets", "getProjectSecretList", list_secrets));
  router.add(api_route(api, "PUT", "/api/projects/{id:int}/secrets/{key}", "putProjectSecret", put_secret, Consumes::json));
  router.add(api_route(api, "DELETE", "/api/projects/{id:int}/secrets/{key}", "deleteProjectSecret", delete_secret));
}

}  // namespace digdag::server
