#include <optional>
#include <string>

#include "base/text.h"
#include "base/version.h"
#include "server/api.h"
#include "server/lookup.h"

namespace digdag::server {
namespace {

Response get_version(const Request&, const Api&) { return Response::json(Value::object({{"version", version}})); }

Response check_version(const Request& request, const Api& api) {
  const std::string text = required_parameter(request, "client");
  const std::optional<ClientVersion> client = ClientVersion::parse(text);
  if (!client) throw HttpError(400, "Invalid version string: " + visible(text));
  const auto older = [&](const std::optional<ClientVersion>& limit) { return limit && *client < *limit; };
  return Response::json(Value::object({{"serverVersion", version},
                                       {"upgradeRecommended", older(api.upgrade_if_older)},
                                       {"apiCompatible", !older(api.incompatible_if_older)}}));
}

}  // namespace

void add_version_routes(Router& router, const Api& api) {
  router.add(api_route(api, "GET", "/api/version", "", get_version));
  router.add(api_route(api, "GET", "/api/version/check", "", check_version));
}

}  // namespace digdag::server
