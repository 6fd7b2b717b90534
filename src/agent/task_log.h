#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>

#include "base/log.h"
#include "operators/operator.h"

namespace digdag::agent {

/// The log of one run of one task as a file of its own (`--task-log DIR`; spec/server.md 15): lines of level DEBUG and above,
/// mixed with what the task prints, gzipped while it is written. The layout is the original's:
/// `<DIR>/<date>/<site>.<project id><workflow>@<session time>[_<retry name>]/<task>@<16 hex digits of the time>.<agent id>.log.gz`.
///
/// A log that cannot be written does not fail the task: the first fault is told once, in the log of the process. Thread-safe.
class TaskLog {
 public:
  /// Opens nothing yet. `agent_id`: `pid@host`.
  TaskLog(const std::filesystem::path& directory, const operators::TaskIdentity& identity, const std::string& agent_id, Log& process_log);
  ~TaskLog();
  TaskLog(const TaskLog&) = delete;
  TaskLog& operator=(const TaskLog&) = delete;

  void line(LogLevel level, std::string_view thread, std::string_view component, std::string_view message);
  void output(std::string_view bytes);

 private:
  void write(std::string_view bytes);
  void fault(const std::string& cause);

  std::filesystem::path file_;
  Log& process_log_;
  std::mutex mutex_;
  void* gzip_ = nullptr;  ///< a gzFile
  bool broken_ = false;
};

/// `pid@host`.
std::string agent_id();

}  // namespace digdag::agent
