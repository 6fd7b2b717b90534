#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "server/http.h"
#include "store/projects.h"
#include "store/sessions.h"

/// Things that a request names. What is not there is HttpError(404) `Resource does not exist: project id=1` (spec/rest-api.md 2).
namespace digdag::server {

HttpError missing(const std::string& what);

/// One that is not deleted; a deleted one is 404 with the time when.
store::Project live_project(store::Projects& projects, std::int64_t id);
store::Project project_named(store::Projects& projects, std::string_view name);
store::Revision latest_revision(store::Projects& projects, const store::Project& project);
/// The one of the parameter `revision`, else the latest one.
store::Revision requested_revision(store::Projects& projects, const store::Project& project, const Request& request);
store::WorkflowDefinition workflow_with_id(store::Projects& projects, std::int64_t id);
store::WorkflowDefinition workflow_named(store::Projects& projects, const store::Revision& revision, std::string_view name);
store::SessionAttempt attempt_with_id(store::Sessions& sessions, std::int64_t id);
store::SessionAttempt session_with_id(store::Sessions& sessions, std::int64_t id);

/// A parameter that must be there and not be empty; else HttpError(400) `name= is required`.
std::string required_parameter(const Request& request, std::string_view name);
/// The parameter `count`: not negative, default 100.
std::int64_t requested_count(const Request& request);
/// The parameters `last_id` and `page_size` of sessions and attempts.
store::Sessions::Page requested_page(const Request& request, std::int64_t most);

/// The parameters `status`, `since`, `name` and `order` of sessions and attempts, which are ours (spec/decisions.md R-14): HttpError(400)
/// where one means nothing.
store::Sessions::Filter requested_filter(const Request& request);

}  // namespace digdag::server
