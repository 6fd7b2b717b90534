#pragma once

#include <string>

#include "operators/operator.h"

namespace digdag::operators {

/// The time of a notification, as it stands in it: without a fraction.
std::string notification_time(Instant now);

/// The notification about a task, in the keys and order of spec/execution.md 20.2; absent values are null.
Value notification_of(const TaskIdentity& identity, const std::string& message, const std::string& timestamp);

/// Sends a notification as `notification.http.*` says. Error(kind "notification") `Failed to send HTTP notification: status=…`.
void notify_over_http(const SystemConfig& system, const Value& notification, const std::atomic<bool>* stopped);

/// Sends it as `notification.mail.*` says.
void notify_by_mail(const SystemConfig& system, const Value& notification, const TaskContext& task);

/// How long to wait before the next try, after so many retries (`notification.min_retry_wait`, `max_retry_wait`).
std::int64_t notification_wait_millis(const SystemConfig& system, std::int64_t retries);

/// The command that hands it to `notification.shell.command` on standard input, for at most `notification.shell.timeout`.
command::CommandRequest notification_command(const SystemConfig& system, const Value& notification, const TaskContext& task);
/// Error(kind "notification") where that command failed.
void check_notification_command(const SystemConfig& system, const command::CommandEnd& end);

}  // namespace digdag::operators
