#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/log.h"
#include "base/properties.h"
#include "executor/executor.h"
#include "executor/session_starter.h"
#include "schedule/schedule_control.h"
#include "store/database.h"
#include "store/log_storage.h"
#include "store/secret_cipher.h"

namespace digdag::server {

/// All that runs workflows in a server: executor, agent, scheduler (spec/server.md 1: the roles that can be switched off), made from
/// the configuration. Belongs to one thread, but for what it says.
class Execution {
 public:
  /// All must outlive it. `cipher` may be nullptr.
  Execution(const SystemConfig& config, store::Database& database, store::LogStorage& logs, const store::SecretCipher* cipher, Log& log);
  /// As `stop`.
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  /// Takes over what is there and begins. Where a Java server has left locks in the queue, waits for them in the background, and nothing
  /// runs until then (spec/decisions.md V-43).
  void start();
  /// Whether it has begun; from any thread.
  bool ready() const;
  /// Begins no task any more, and waits until those that run have ended and are stored (spec/server.md 20). `hurry`: from then on, once it says true,
  /// what runs is stopped.
  void drain(const std::function<bool()>& hurry);
  void stop();

  // From any thread:
  executor::StartAnswer start_attempt(const executor::StartRequest& request);
  void kill_requested(std::int64_t attempt_id);
  void schedules_changed();
  schedule::ScheduleControl& schedules();
  std::function<Instant()> clock() const;
  executor::Executor::Counts counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::server
