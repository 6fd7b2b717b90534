#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/time.h"

namespace digdag::executor {

/// What identifies an attempt to its tasks, besides the tasks themselves.
struct AttemptIdentity {
  std::int64_t site_id = 0, project_id = 1, session_id = 1, attempt_id = 1;
  std::string project_name = "default", workflow_name;
  std::string revision;  ///< its name; "" where the attempt has none
  std::optional<std::int64_t> revision_id, workflow_definition_id;
  std::string session_uuid;
  Instant session_time;
  Instant created_at;
  TimeZone timezone;
  std::optional<std::string> retry_attempt_name;
};

}  // namespace digdag::executor
