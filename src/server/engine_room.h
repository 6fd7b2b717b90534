#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/properties.h"
#include "executor/session_starter.h"
#include "server/live_logs.h"
#include "server/metrics.h"
#include "store/database.h"
#include "store/log_storage.h"
#include "store/secret_cipher.h"

namespace digdag::server {

/// What moves workflows beside the API: executor, agent and scheduler, each where the configuration has it (spec/server.md 1). Made
/// before the API, ended before it. Thread-safe, but `start` and `shut_down` belong to one thread.
class EngineRoom {
 public:
  struct Parts {
    const SystemConfig& config;
    store::Database& database;
    store::LogStorage& logs;
    const store::SecretCipher* cipher;  ///< nullptr: secrets are disabled
    std::filesystem::path temporary_directory;
    int temporary_lock = -1;                                 ///< says that it is in use; held as long as a command of ours lives
    std::optional<std::filesystem::path> project_directory;  ///< where all tasks work (LocalProject); nothing: in their revisions' files
    Metrics& metrics;
    Log& log;
  };
  /// All that `parts` refers to must outlive it. Throws Error(config).
  explicit EngineRoom(const Parts& parts);
  /// As `shut_down`.
  ~EngineRoom();
  EngineRoom(const EngineRoom&) = delete;
  EngineRoom& operator=(const EngineRoom&) = delete;

  /// Takes over what is in the database and begins, beside the caller. Where a Java server has left locks in the queue it waits until they
  /// have expired (spec/decisions.md V-43); until then nothing runs, and `refuses_writes` says why.
  void start();
  /// Whether all that this server does is under way, and not to end.
  bool ready() const;
  std::optional<std::string> refuses_writes() const;

  executor::StartAnswer start_attempt(const executor::StartRequest& request);
  executor::SessionStarter& starter();
  LiveLogs& live_logs();
  void kill_requested(std::int64_t attempt_id, std::int64_t event);
  void schedules_changed();
  /// The time of the database (spec/decisions.md E-50).
  Instant now() const;

  /// Takes nothing new, waits for tasks that run (spec/server.md 20) and cuts off who reads logs. The API may still be called.
  void shut_down();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::server
