#include "operators/notification.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "client/http.h"
#include "client/mail.h"

namespace digdag::operators {
namespace {

constexpr std::int64_t http_timeout_seconds = 60;
constexpr std::int64_t shell_timeout_millis = 30'000;

constexpr std::string_view default_mail_body =
    "Digdag Notification\n\n"
    "Message: ${message}\n"
    "Date: ${timestamp}\n\n"
    "Site Id: ${site_id}\n"
    "Project Name: ${project_name}\n"
    "Project Id: ${project_id}\n"
    "Workflow Name: ${workflow_name}\n"
    "Revision: ${revision}\n"
    "Attempt Id: ${attempt_id}\n"
    "Session Id: ${session_id}\n"
    "Task Name: ${task_name}\n"
    "Time Zone: ${timezone}\n"
    "Session Uuid: ${session_uuid}\n"
    "Session Time: ${session_time}\n";

Error failed(std::string message) { return Error("notification", std::move(message)); }

std::string required(const SystemConfig& system, std::string_view key) {
  const auto value = system.get(key);
  if (!value || is_blank(*value)) throw config_error("Parameter '" + std::string(key) + "' is required but not set");
  return *value;
}

/// One address, several separated by commas, or a JSON list.
std::vector<std::string> addresses(const SystemConfig& system, std::string_view key) {
  const std::string text(trim(system.get_or(key, "")));
  return text.starts_with('[') ? Config(Value::object({{key, parse_json(text)}})).strings_or_empty(key) : system.list(key);
}

std::string shell_command(const SystemConfig& system) { return required(system, "notification.shell.command"); }

}  // namespace

std::string notification_time(Instant now) { return format_instant(Instant::of_seconds(now.seconds())); }

Value notification_of(const TaskIdentity& identity, const std::string& message, const std::string& timestamp) {
  return Value::object({{"timestamp", timestamp},
                        {"message", message},
                        {"site_id", identity.site_id},
                        {"project_id", identity.project_id},
                        {"project_name", identity.project_name},
                        {"workflow_name", identity.workflow_name},
                        {"revision", identity.revision.empty() ? Value() : Value(identity.revision)},
                        {"attempt_id", identity.attempt_id},
                        {"session_id", identity.session_id},
                        {"task_name", identity.task_name},
                        {"timezone", identity.timezone.id()},
                        {"session_uuid", identity.session_uuid},
                        {"session_time", format_session_time(identity.session_time, identity.timezone)},
                        {"workflow_definition_id", identity.workflow_definition_id ? Value(*identity.workflow_definition_id) : Value()}});
}

void notify_over_http(const SystemConfig& system, const Value& notification, const std::atomic<bool>* stopped) {
  client::HttpRequest request;
  request.method = system.get_or("notification.http.method", "POST");
  request.url = required(system, "notification.http.url");
  request.headers = system.below("notification.http.headers.");
  request.headers.emplace_back("Content-Type", "application/json");
  request.body = to_json(notification);
  request.has_body = true;
  request.timeout_seconds = http_timeout_seconds;
  request.needed_by = "notify>";
  request.most_response_bytes = 0;
  request.stopped = stopped;
  const client::HttpResponse response = client::http_request(request);
  if (response.status < 200 || response.status > 299)
    throw failed("Failed to send HTTP notification: status=" + std::to_string(response.status));
}

void notify_by_mail(const SystemConfig& system, const Value& notification, const TaskContext& task) {
  const std::string prefix = "notification.mail.";
  const client::SmtpServer server{.host = required(system, prefix + "host"),
                                  .port = static_cast<int>(system.integer_or(prefix + "port", 25)),
                                  .starttls = system.boolean_or(prefix + "tls", true),
                                  .tls = system.boolean_or(prefix + "ssl", false),
                                  .username = system.get_or(prefix + "username", ""),
                                  .password = system.get_or(prefix + "password", "")};
  const auto file = system.get(prefix + "body_template_file");
  const std::string body = file && !is_blank(*file) ? read_file(*file) : std::string(default_mail_body);
  client::send_mail(server,
                    {.from = required(system, prefix + "from"),
                     .to = addresses(system, prefix + "to"),
                     .cc = addresses(system, prefix + "cc"),
                     .bcc = addresses(system, prefix + "bcc"),
                     .subject = system.get_or(prefix + "subject", "Digdag Notification"),
                     .body = task.templates->render(body, notification, task.identity.timezone),
                     .html = system.boolean_or(prefix + "html", false)},
                    task.stopped);
}

std::int64_t notification_wait_millis(const SystemConfig& system, std::int64_t retries) {
  const std::int64_t most = system.integer_or("notification.max_retry_wait", 30'000);
  std::int64_t wait = system.integer_or("notification.min_retry_wait", 1000);
  for (std::int64_t i = 0; i < retries && wait < most; ++i) wait *= 3;
  return std::min(wait, most);
}

command::CommandRequest notification_command(const SystemConfig& system, const Value& notification, const TaskContext& task) {
  command::CommandRequest request;
  request.arguments = {"/bin/sh", "-c", R"(exec /bin/sh -c "$1" > /dev/null 2>&1)", "notify", shell_command(system)};
  request.input = to_json(notification);
  request.timeout_millis = std::max<std::int64_t>(1, system.integer_or("notification.shell.timeout", shell_timeout_millis));
  request.working_directory = std::filesystem::current_path();
  if (task.environment != nullptr) request.environment = *task.environment;
  return request;
}

void check_notification_command(const SystemConfig& system, const command::CommandEnd& end) {
  const std::string command = shell_command(system);
  if (end.timed_out) throw failed("Notification shell command timed out: " + command);
  if (end.exit_code == 0) return;
  const std::string how = end.exit_code ? "exit code = " + std::to_string(*end.exit_code)
                          : end.signal  ? "signal = " + std::to_string(*end.signal)
                                        : end.failure;
  throw failed("Notification shell command failed: " + command + ", " + how);
}

}  // namespace digdag::operators
