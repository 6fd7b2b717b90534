#pragma once

#include <optional>
#include <string>

#include "base/value.h"
#include "client/rest_client.h"

namespace digdag::cli {

// What a person names, as the server knows it (spec/rest-api.md 15). They throw Error `Resource not found: …` where it is not there.

/// `Resource not found: project not found: nope`
Value project_named(client::RestClient& server, const std::string& name);
/// Of the latest revision, or of the one that is named.
Value workflow_named(client::RestClient& server, const std::string& project_id, const std::string& name,
                     const std::optional<std::string>& revision = std::nullopt);
/// The schedule of a workflow.
Value schedule_named(client::RestClient& server, const std::string& project, const std::string& workflow);
/// All schedules of a project.
Array schedules_of(client::RestClient& server, const std::string& project);

}  // namespace digdag::cli
