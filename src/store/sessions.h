#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "store/database.h"

namespace digdag::store {

/// `session_attempts.state_flags` (spec/server.md 10).
enum AttemptFlag : std::uint8_t { attempt_cancel_requested = 1, attempt_done = 2, attempt_success = 4 };

/// An attempt with the session that it belongs to, as the API shows it.
struct SessionAttempt {
  std::int64_t id = 0;
  std::int64_t index = 0;  ///< 1, 2, 3, … in its session
  std::int64_t site_id = 0, project_id = 0;
  std::string project_name;  ///< of a deleted project: the name that it had
  std::string workflow_name;
  std::optional<std::int64_t> workflow_definition_id;
  std::int64_t session_id = 0;
  std::string session_uuid;  ///< lower case
  Instant session_time;      ///< whole seconds
  TimeZone timezone;         ///< as it was when the attempt was created
  std::optional<std::string> retry_attempt_name;
  std::uint8_t flags = 0;  ///< AttemptFlag
  Value params;
  Timestamp created_at;
  std::optional<Timestamp> finished_at;

  bool done() const { return (flags & attempt_done) != 0; }
  bool success() const { return (flags & attempt_success) != 0; }
  bool cancel_requested() const { return (flags & attempt_cancel_requested) != 0; }
};

}  // namespace digdag::store
