#include "agent/task_log.h"

#include <unistd.h>

#include "base/text.h"
#include "base/time.h"

namespace digdag::agent {

std::string agent_id() {
  char host[256] = "localhost";
  gethostname(host, sizeof host - 1);
  return std::to_string(getpid()) + "@" + host;
}

TaskLog::TaskLog(store::LogSpool& logs, const operators::TaskIdentity& identity)
    : writer_(logs.open(store::LogAttempt::of(identity), identity.task_name)) {}

void TaskLog::line(LogLevel level, std::string_view thread, std::string_view component, std::string_view message) {
  if (level > LogLevel::debug) return;
  std::string text = format_log_time(now(), TimeZone::system(), true) + " [" + std::string(level_name(level)) + "] (";
  text += visible(thread) + ") " + std::string(component) + ": " + visible(message, "\n\t") + "\n";
  writer_->write(text);
}

void TaskLog::output(std::string_view bytes) { writer_->write(bytes); }

}  // namespace digdag::agent
