#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/value.h"

namespace digdag::dig {

/// The JavaScript worker of `${…}`: a process of this binary (`digdag --js-worker`) that loads moment once and forks a
/// sandboxed child for each request (shared/stack.md "JavaScript in a fork server"). Started on first use; ends with us.
/// Thread-safe: requests of several threads are served by up to one worker per core.
class ScriptWorker {
 public:
  struct Limits {
    std::int64_t timeout_millis;
    std::int64_t memory_bytes;
  };

  ScriptWorker();
  ~ScriptWorker();
  ScriptWorker(const ScriptWorker&) = delete;
  ScriptWorker& operator=(const ScriptWorker&) = delete;

  /// Sends one request and waits for its answer. What stands in both is the business of template.cpp and of
  /// script_process.cpp. Throws Error(config) `evaluation took longer than 10s`, `evaluation died by signal N`,
  /// `evaluation needs more than 64 MiB`; the next request finds a working worker again.
  Value request(const Value& message, const Limits& limits);
  /// Ends the evaluations that run, at once; their requests and all later ones throw Error(config)
  /// `evaluation was interrupted`.
  void interrupt();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The main function of `digdag --js-worker`; speaks over file descriptor 3. Never returns to the caller's work.
int script_worker_main();

}  // namespace digdag::dig
