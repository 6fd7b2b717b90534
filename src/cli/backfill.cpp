#include <cstdint>
#include <iostream>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"
#include "cli/waiting.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

/// `2026-01-01T00:00:00`, in the zone of the workflow.
std::string from_of(const Arguments& arguments) {
  const auto text = arguments.text("-f");
  if (!text) throw UsageError{"--from option is required"};
  const auto local = parse_local_time(*text);
  if (!local) throw task_error("--from option must be \"yyyy-MM-dd HH:mm:ss\" or \"yyyy-MM-dd\" format: " + *text);
  const TimeZone utc;  // only carries the fields
  return replace_all(format_local_time(utc.instant(*local), utc), " ", "T");
}

Value schedule_of(const std::vector<std::string>& words, client::RestClient& server) {
  if (words.size() == 2) return schedule_named(server, words[0], words[1]);
  if (!is_id(words[0], std::numeric_limits<std::uint32_t>::max()))
    throw WrongWords{"backfill needs the id of a schedule, or a project and a workflow: " + words[0]};
  return server.get("/api/schedules/" + words[0]);
}

Value request_of(const Arguments& arguments, const Value& first_session) {
  const auto time = first_session.is_string() ? parse_instant(first_session.as_string()) : std::nullopt;
  Value request = Value::object({{"fromTime", time ? Value(format_instant(*time)) : first_session},
                                 {"dryRun", arguments.has("-d")},
                                 {"attemptName", arguments.text("--name").value_or(random_uuid())},
                                 {"count", arguments.has("--count") ? Value(arguments.integer_or("--count", 0)) : Value()}});
  // Only where it is asked for: what other servers do not know they need not be sent.
  if (arguments.has("--parallel")) request.mutable_object().set("parallel", arguments.integer_or("--parallel", 1));
  return request;
}

void print_attempts(const Array& attempts, TimeStyle times) {
  std::cout << "Session attempts:\n";
  for (const Value& attempt : attempts) {
    std::cout << "  id: " << shown_at(attempt, "id") << "\n"
              << "  uuid: " << shown_at(attempt, "sessionUuid") << "\n"
              << "  project: " << shown_at(attempt, "project.name") << "\n"
              << "  workflow: " << shown_at(attempt, "workflow.name") << "\n"
              << "  session time: " << shown_session_time(value_at(attempt, "sessionTime"), times) << "\n"
              << "  retry attempt name: " << shown_at(attempt, "retryAttemptName") << "\n"
              << "  params: " << shown_at(attempt, "params") << "\n"
              << "  created at: " << shown_instant(value_at(attempt, "createdAt"), times) << "\n\n";
  }
  std::cout.flush();
}

int backfill(const Arguments& arguments, Remote& remote) {
  const std::string from = from_of(arguments);
  const auto waiting = waiting_of(arguments);
  if (arguments.has("--parallel") && arguments.integer_or("--parallel", 1) < 1) throw UsageError{"--parallel must be 1 or more"};
  client::RestClient& server = remote.server();
  const Value schedule = schedule_of(arguments.positional(), server);
  const std::string workflow = client::path_part(text_at(schedule, "workflow.id"));
  const Value first =
      value_at(server.get("/api/workflows/" + workflow + "/truncated_session_time", {{"session_time", from}}), "sessionTime");
  const std::string path = "/api/schedules/" + client::path_part(text_at(schedule, "id")) + "/backfill";
  const Array attempts = list_at(server.post(path, request_of(arguments, first)), "attempts");
  if (!print_as_json(arguments, "attempts", attempts)) print_attempts(attempts, time_style(arguments));
  if (attempts.empty() || arguments.has("-d")) {
    std::cerr << "No session attempts started.\n";
    if (attempts.empty())
      std::cerr << "The schedule has no session from " << shown_session_time(first, time_style(arguments))
                << " on that is before its next one, " << shown_session_time(value_at(schedule, "nextScheduleTime"), time_style(arguments))
                << ".\n";
    return 0;
  }
  std::cerr << "Backfill session attempts started.\nUse `digdag sessions` to show the session attempts.\n";
  std::vector<std::string> ids;
  for (const Value& attempt : attempts) ids.push_back(text_at(attempt, "id"));
  return waiting ? wait_for(remote, ids, *waiting) : 0;
}

}  // namespace

int backfill_command(const Invocation& invocation) {
  std::vector<Option> options = {
      {{"-f", "--from"}, Kind::text, "TIME", "first session: \"yyyy-MM-dd\" or \"yyyy-MM-dd HH:mm:ss\" (required)"},
      {{"--name"}, Kind::text, "NAME", "name of the attempts (default: random)"},
      {{"--count"}, Kind::integer, "N", "number of sessions (default: all until the next one of the schedule)"},
      {{"--parallel"}, Kind::integer, "N", "run N sessions at the same time (default: one after the other)"},
      {{"-d", "--dry-run"}, Kind::flag, "", "show what would be started"},
  };
  for (Option& option : waiting_options()) options.push_back(std::move(option));
  for (Option& option : output_options()) options.push_back(std::move(option));
  return client_command(invocation, "backfill", std::move(options), {1, 2}, backfill);
}

}  // namespace digdag::cli
