#include "agent/task_log.h"

#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/text.h"
#include "base/time.h"

namespace digdag::agent {
namespace {

std::string attempt_directory(const operators::TaskIdentity& identity) {
  const Instant session = identity.session_time;
  // The offset stands as +0000, also for UTC, which format_state_directory writes so too.
  std::string name = std::to_string(identity.site_id) + "." + std::to_string(identity.project_id) + identity.workflow_name + "@" +
                     format_state_directory(session, identity.timezone);
  if (identity.retry_attempt_name) name += "_" + *identity.retry_attempt_name;
  return name;
}

std::string file_name(const std::string& task, const std::string& agent_id) {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(since_epoch).count();
  char time[17];
  std::snprintf(time, sizeof time, "%08llx%08llx", static_cast<unsigned long long>(nanos / 1'000'000'000) & 0xffffffffu,
                static_cast<unsigned long long>(nanos % 1'000'000'000));
  return task + "@" + time + "." + agent_id + ".log.gz";
}

}  // namespace

std::string agent_id() {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  return std::to_string(getpid()) + "@" + host;
}

TaskLog::TaskLog(const std::filesystem::path& directory, const operators::TaskIdentity& identity, const std::string& agent_id,
                 Log& process_log)
    : file_(directory / format_date(identity.created_at, TimeZone()) / attempt_directory(identity) /
            file_name(identity.task_name, agent_id)),
      process_log_(process_log) {}

TaskLog::~TaskLog() {
  if (gzip_ && gzclose(static_cast<gzFile>(gzip_)) != Z_OK) fault("cannot be completed");
}

void TaskLog::line(LogLevel level, std::string_view thread, std::string_view component, std::string_view message) {
  if (level > LogLevel::debug) return;
  std::string text = format_log_time(now(), TimeZone::system(), true) + " [" + std::string(level_name(level)) + "] (";
  text += visible(thread) + ") " + std::string(component) + ": " + visible(message, "\n\t") + "\n";
  write(text);
}

void TaskLog::output(std::string_view bytes) { write(bytes); }

void TaskLog::write(std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (broken_ || bytes.empty()) return;
  if (!gzip_) {
    std::error_code failure;
    std::filesystem::create_directories(file_.parent_path(), failure);
    if (failure) return fault(failure.message());
    gzip_ = gzopen(file_.c_str(), "wbe");
    if (!gzip_) return fault(std::strerror(errno));
  }
  if (gzwrite(static_cast<gzFile>(gzip_), bytes.data(), static_cast<unsigned>(bytes.size())) == 0) fault(std::strerror(errno));
}

void TaskLog::fault(const std::string& cause) {
  broken_ = true;
  process_log_.write(LogLevel::error, "main", "agent", "The task log " + file_.string() + " cannot be written: " + cause);
}

}  // namespace digdag::agent
