#include <optional>

#include "server/api.h"
#include "server/lookup.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::server {
namespace {

Response get_user_info(const Request& request, const Api& api) {
  return api.database.read([&](store::Transaction& transaction) {
    store::Sessions sessions(transaction, request.identity.site_id);
    const store::SessionAttempt attempt = attempt_with_id(sessions, request.number("id"));
    std::optional<store::Revision> revision;
    if (attempt.workflow_definition_id) {
      revision = store::Projects(transaction, request.identity.site_id).revision_of_workflow(*attempt.workflow_definition_id);
    }
    return Response::json(revision ? revision->user_info : Value::object());
  });
}

}  // namespace

void add_admin_routes(Router& router, const Api& api) {
  Route user_info = api_route(api, "GET", "/api/admin/attempts/{id:long}/userinfo", "", get_user_info);
  user_info.admin_listener_only = true;
  router.add(std::move(user_info));
}

}  // namespace digdag::server
