#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"
#include "store/database.h"

namespace digdag::store {

/// Which attempt a task log belongs to: what its directory is named after (spec/server.md 15).
struct LogAttempt {
  std::int64_t site_id = 0, project_id = 0;
  std::string workflow_name;
  Instant session_time;
  TimeZone timezone;  ///< of the workflow
  std::optional<std::string> retry_attempt_name;
  Instant created_at;  ///< of the attempt

  /// Of what names an attempt: the identity of one of its tasks, its own, its row.
  template <typename Named>
  static LogAttempt of(const Named& attempt) {
    return {.site_id = attempt.site_id,
            .project_id = attempt.project_id,
            .workflow_name = attempt.workflow_name,
            .session_time = attempt.session_time,
            .timezone = attempt.timezone,
            .retry_attempt_name = attempt.retry_attempt_name,
            .created_at = instant_of(attempt.created_at)};
  }

  /// `2026-03-04/0.1calc@20260304T000000-0500_again-4`.
  std::filesystem::path directory() const;

 private:
  static Instant instant_of(Instant time) { return time; }
  static Instant instant_of(Timestamp time) { return time.instant(); }
};

/// What the name of a log file says: `<task>@<8 hex digits of seconds><8 of nanoseconds>.<agent id>.log.gz`.
struct LogFileName {
  std::string task_name;
  std::int64_t seconds = 0;  ///< of its first line
  std::int64_t nanoseconds = 0;
  std::string agent_id;

  std::string text() const;
  /// Nothing where it has another form.
  static std::optional<LogFileName> parse(std::string_view text);
};

/// A complete file.
struct LogFile {
  std::string file_name;
  std::uint64_t bytes = 0;
  LogFileName parsed;
};

/// Where complete task logs are kept. Thread-safe.
class LogStorage {
 public:
  virtual ~LogStorage() = default;
  /// Files whose name begins with `prefix` (a task's full name; also its siblings `+a+bc` of `+a+b`), sorted bytewise.
  virtual std::vector<LogFile> list(const LogAttempt& attempt, std::string_view prefix) const = 0;
  /// The gzip file from `offset` on, in pieces: `piece` is called until it says false. Nothing (false) where there is no such file;
  /// Error(illegal argument) `Invalid file name: ../x` for a name that would lead elsewhere. `size` (of the whole) is told before the first
  /// piece.
  virtual bool read(const LogAttempt& attempt, std::string_view file_name, const std::function<void(std::uint64_t size)>& size,
                    const std::function<bool(std::string_view piece)>& piece, std::uint64_t offset = 0) const = 0;
  /// Takes a complete file over, or throws and leaves it. `attempt_directory` as LogAttempt gives it; the spool calls this.
  virtual void keep(const std::filesystem::path& attempt_directory, const std::string& file_name, const std::filesystem::path& file) = 0;
};

/// `log-server.type`: null keeps nothing, local keeps files below `log-server.local.path`. Error(config) `Unknown storage type: x`.
std::unique_ptr<LogStorage> open_log_storage(const SystemConfig& system);
std::unique_ptr<LogStorage> local_log_storage(const std::filesystem::path& directory);

}  // namespace digdag::store
