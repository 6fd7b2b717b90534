#include "cli/attempt_block.h"

#include <algorithm>
#include <array>
#include <iostream>

#include "base/json.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

constexpr std::array<std::string_view, 5> states = {"running", "success", "error", "killed", "pending"};

bool is_true(const Value& attempt, std::string_view name) {
  const Value* value = attempt.find(name);
  return value && value->is_boolean() && value->as_boolean();
}

}  // namespace

Option status_option() {
  return {{"--status"}, Option::Kind::text, "STATUS", "show only those that are running, success, error (or failed) or killed"};
}

std::string status_wanted(const Arguments& arguments) {
  std::string status = arguments.text_or("--status", "");
  if (status == "failed") status = "error";
  if (!status.empty() && std::find(states.begin(), states.end(), status) == states.end())
    throw UsageError{"--status must be running, success, error, failed or killed: " + status};
  return status;
}

std::string status_of_attempt(const Value& attempt) {
  if (is_true(attempt, "success")) return "success";
  if (!is_true(attempt, "done")) return "running";
  return is_true(attempt, "cancelRequested") ? "killed" : "error";
}

std::string attempt_lines(const Value& attempt, TimeStyle times) {
  return "  session id: " + shown_at(attempt, "sessionId") + "\n  attempt id: " + shown_at(attempt, "id") +
         "\n  uuid: " + shown_at(attempt, "sessionUuid") + "\n  project: " + shown_at(attempt, "project.name") +
         "\n  workflow: " + shown_at(attempt, "workflow.name") +
         "\n  session time: " + shown_session_time(value_at(attempt, "sessionTime"), times) +
         "\n  retry attempt name: " + shown_at(attempt, "retryAttemptName") + "\n  params: " + shown_at(attempt, "params") + "\n";
}

void print_started(const Value& attempt, TimeStyle times) {
  std::cout << "Started a session attempt:\n"
            << attempt_lines(attempt, times) << "  created at: " << shown_instant(value_at(attempt, "createdAt"), times) << "\n\n"
            << std::flush;
  const std::string id = text_at(attempt, "id");
  std::cerr << "* Use `digdag session " << shown_at(attempt, "sessionId") << "` to show session status.\n"
            << "* Use `digdag task " << id << "` and `digdag log " << id << "` to show task status and logs.\n";
}

}  // namespace digdag::cli
