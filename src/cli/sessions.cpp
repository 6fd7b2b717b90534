#include <algorithm>
#include <cstdint>
#include <iostream>
#include <limits>

#include "base/error.h"
#include "base/json.h"
#include "cli/attempt_block.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

std::vector<Option> page_options() {
  std::vector<Option> options = {
      {{"-i", "--last-id"}, Kind::integer, "ID", "show those older than this id"},
      {{"-s", "--page-size"}, Kind::integer, "N", "number of rows to ask for (default: 100)"},
      status_option(),
  };
  for (Option& option : listing_options()) options.push_back(std::move(option));
  return options;
}

PagedList page_of(const Arguments& arguments, std::string path, std::string member) {
  PagedList list{.path = std::move(path), .member = std::move(member), .page_size = arguments.integer_or("-s", 100)};
  if (const auto last = arguments.text("-i")) list.query.emplace_back("last_id", *last);
  if (const auto size = arguments.text("-s")) list.query.emplace_back("page_size", *size);
  return list;
}

void hint_at_start(const Array& rows) {
  std::cout.flush();
  if (rows.empty()) std::cerr << "Use `digdag start` to start a session.\n";
}

/// A killed attempt counts as an error here, as the original shows it.
std::string status_of_session(const Value& session) {
  const Value attempt = value_at(session, "lastAttempt");
  if (attempt.is_null()) return "pending";
  const std::string status = status_of_attempt(attempt);
  return status == "killed" ? "error" : status;
}

void print_session(const Value& session, TimeStyle times) {
  std::cout << "  session id: " << shown_at(session, "id") << "\n"
            << "  attempt id: " << shown_at(session, "lastAttempt.id") << "\n"
            << "  uuid: " << shown_at(session, "sessionUuid") << "\n"
            << "  project: " << shown_at(session, "project.name") << "\n"
            << "  workflow: " << shown_at(session, "workflow.name") << "\n"
            << "  session time: " << shown_session_time(value_at(session, "sessionTime"), times) << "\n"
            << "  retry attempt name: " << shown_at(session, "lastAttempt.retryAttemptName") << "\n"
            << "  params: " << shown_at(session, "lastAttempt.params") << "\n"
            << "  created at: " << shown_instant(value_at(session, "lastAttempt.createdAt"), times) << "\n"
            << "  kill requested: " << shown_at(session, "lastAttempt.cancelRequested") << "\n"
            << "  status: " << status_of_session(session) << "\n\n";
}

int show_session(const std::string& id, const Arguments& arguments, Remote& remote) {
  const Value session = remote.server().get("/api/sessions/" + id);
  if (!print_as_json(arguments, session)) print_session(session, time_style(arguments));
  return 0;
}

int show_sessions(const Arguments& arguments, Remote& remote) {
  const auto& words = arguments.positional();
  if (words.size() == 1 && is_id(words[0], std::numeric_limits<std::int64_t>::max())) return show_session(words[0], arguments, remote);
  const std::string status = status_wanted(arguments);
  PagedList list = page_of(arguments, "/api/sessions", "sessions");
  if (!words.empty()) {
    const std::string project = text_at(project_named(remote.server(), words[0]), "id");
    list.path = "/api/projects/" + client::path_part(project) + "/sessions";
  }
  if (words.size() == 2) list.query.emplace_back("workflow", words[1]);
  // Killed ones are shown as errors, which the server's filter does not know.
  if (!status.empty() && status != "error") list.query.emplace_back("status", status);
  if (status == "killed")
    list.wanted = [](const Value& session) { return status_of_attempt(value_at(session, "lastAttempt")) == "killed"; };
  else if (!status.empty())
    list.wanted = [&](const Value& session) { return status_of_session(session) == status; };
  Array sessions = fetch_rows(remote, arguments, list);
  std::reverse(sessions.begin(), sessions.end());
  if (print_as_json(arguments, "sessions", sessions)) return 0;
  std::cout << "Sessions:\n";
  for (const Value& session : sessions) print_session(session, time_style(arguments));
  hint_at_start(sessions);
  return 0;
}

void print_attempt(const Value& attempt, TimeStyle times) {
  std::cout << attempt_lines(attempt, times) << "  created at: " << shown_instant(value_at(attempt, "createdAt"), times) << "\n"
            << "  finished at: " << shown_instant(value_at(attempt, "finishedAt"), times) << "\n"
            << "  kill requested: " << shown_at(attempt, "cancelRequested") << "\n"
            << "  status: " << status_of_attempt(attempt) << "\n\n";
}

int show_attempts(const Arguments& arguments, Remote& remote) {
  const auto& words = arguments.positional();
  const std::string status = status_wanted(arguments);
  PagedList list = page_of(arguments, words.empty() ? "/api/attempts" : "/api/sessions/" + id_word(words[0]) + "/attempts", "attempts");
  if (!status.empty()) {
    list.query.emplace_back("status", status);
    // A server of the original does not choose.
    list.wanted = [&](const Value& attempt) { return status_of_attempt(attempt) == status; };
  }
  Array attempts = fetch_rows(remote, arguments, list);
  std::reverse(attempts.begin(), attempts.end());
  if (print_as_json(arguments, "attempts", attempts)) return 0;
  std::cout << "Session attempts:\n";
  for (const Value& attempt : attempts) print_attempt(attempt, time_style(arguments));
  hint_at_start(attempts);
  return 0;
}

int show_attempt(const Arguments& arguments, Remote& remote) {
  const Value attempt = remote.server().get("/api/attempts/" + id_word(arguments.positional()[0]));
  if (!print_as_json(arguments, attempt)) print_attempt(attempt, time_style(arguments));
  return 0;
}

void print_task(const Value& task, TimeStyle times) {
  const std::string parent = shown_at(task, "parentId");
  std::string upstreams;
  for (const Value& id : list_at(task, "upstreams"))
    upstreams += (upstreams.empty() ? "" : ", ") + (id.is_string() ? id.as_string() : to_json(id));
  std::cout << "   id: " << shown_at(task, "id") << "\n"
            << "   name: " << shown_at(task, "fullName") << "\n"
            << "   state: " << shown_at(task, "state") << "\n"
            << "   started: " << shown_instant(value_at(task, "startedAt"), times) << "\n"
            << "   updated: " << shown_instant(value_at(task, "updatedAt"), times) << "\n"
            << "   config: " << shown_at(task, "config") << "\n"
            << "   parent: " << (parent.empty() ? "null" : parent) << "\n"
            << "   upstreams: [" << upstreams << "]\n"
            << "   export params: " << shown_at(task, "exportParams") << "\n"
            << "   store params: " << shown_at(task, "storeParams") << "\n"
            << "   state params: " << shown_at(task, "stateParams") << "\n";
  if (const Value error = value_at(task, "error"); error.is_object() && !error.as_object().empty())
    std::cout << "   error: " << to_json(error) << "\n";
  std::cout << "\n";
}

int show_tasks(const Arguments& arguments, Remote& remote) {
  const std::string attempt = "/api/attempts/" + id_word(arguments.positional()[0]);
  Array tasks = list_at(remote.server().get(attempt + "/tasks"), "tasks");
  if (tasks.empty()) remote.server().get(attempt);  // an error where there is no such attempt
  if (const auto state = arguments.text("--status"))
    std::erase_if(tasks, [&](const Value& task) { return text_at(task, "state") != *state; });
  if (print_as_json(arguments, "tasks", tasks)) return 0;
  for (const Value& task : tasks) print_task(task, time_style(arguments));
  std::cout << tasks.size() << " entries.\n";
  return 0;
}

}  // namespace

int session_command(const Invocation& invocation) { return client_command(invocation, "session", page_options(), {0, 2}, show_sessions); }

int attempts_command(const Invocation& invocation) { return client_command(invocation, "attempts", page_options(), {0, 1}, show_attempts); }

int attempt_command(const Invocation& invocation) { return client_command(invocation, "attempt", output_options(), {1, 1}, show_attempt); }

int task_command(const Invocation& invocation) {
  std::vector<Option> options = {{{"--status"}, Kind::text, "STATE", "show only tasks in this state: running, error, blocked, …"}};
  for (Option& option : output_options()) options.push_back(std::move(option));
  return client_command(invocation, "task", std::move(options), {1, 1}, show_tasks);
}

}  // namespace digdag::cli
