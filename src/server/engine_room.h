#pragma once

#include <cstdint>
#include <memory>

#include "base/log.h"
#include "base/properties.h"
#include "executor/starter.h"
#include "schedule/session_starter.h"
#include "server/metrics.h"
#include "store/database.h"

namespace digdag::server {

/// What moves workflows beside the API: executor, agent and scheduler, each where the configuration has it (spec/server.md 1). Made
/// before the API, ended before it. Thread-safe.
class EngineRoom {
 public:
  /// All must outlive it.
  EngineRoom(const SystemConfig& config, store::Database& database, Metrics& metrics, Log& log);
  ~EngineRoom();

  executor::StartAnswer start(const executor::StartRequest& request);
  schedule::SessionStarter& starter();
  void kill_requested(std::int64_t attempt_id);
  void schedules_changed();
  /// Whether all that this server does is under way.
  bool ready() const;

  /// Takes nothing new and waits for tasks that run (spec/server.md 20). The API may still be called.
  void shut_down();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::server
