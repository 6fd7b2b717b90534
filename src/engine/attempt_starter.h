#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/time.h"
#include "base/value.h"

namespace digdag::engine {

/// Starts attempts of other workflows and looks at them: what `require>` needs (spec/execution.md 31d). Implemented where
/// sessions are kept: by `digdag run` in memory. Thread-safe.
class AttemptStarter {
 public:
  virtual ~AttemptStarter() = default;

  struct Request {
    std::optional<std::int64_t> project_id;  ///< one of both; neither: the project of the requiring attempt
    std::optional<std::string> project_name;
    std::string workflow;
    Instant session_time;
    std::optional<std::string> retry_attempt_name;
    Value params;
    std::int64_t requiring_attempt = 0;  ///< to recognise chains that come back to themselves (O-12)
  };
  struct Found {
    std::int64_t session_id = 0, attempt_id = 0;
    bool created = false;  ///< by this call
    bool done = false, success = false;
    std::string failure;  ///< of its first failed task, `+w+task: message`; empty where it is not known
  };
  /// No such project or workflow.
  struct Missing {
    std::vector<std::string> workflows;  ///< those that there are, where the project is known
  };
  struct Refused {
    std::string message;
  };  ///< limit exceeded, a cycle, a broken file: the message says which
  using Answer = std::variant<Found, Missing, Refused>;

  /// Starts it, or finds the attempt that this session and retry name already have.
  virtual Answer start(const Request& request) = 0;
  /// Asks an attempt to end; returns at once. One that is done or unknown stays as it is.
  virtual void kill(std::int64_t attempt_id) = 0;
};

}  // namespace digdag::engine
