#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/log.h"
#include "operators/operator.h"
#include "store/log_spool.h"

namespace digdag::agent {

/// The log of one run of one task (spec/server.md 15): lines of level DEBUG and above, mixed with what the task prints. Thread-safe.
class TaskLog {
 public:
  TaskLog(store::LogSpool& logs, const operators::TaskIdentity& identity);

  void line(LogLevel level, std::string_view thread, std::string_view component, std::string_view message);
  void output(std::string_view bytes);

 private:
  const std::unique_ptr<store::LogSpool::Writer> writer_;
};

/// `pid@host`.
std::string agent_id();

}  // namespace digdag::agent
