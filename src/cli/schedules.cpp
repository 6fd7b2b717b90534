#include <cstdint>
#include <iostream>
#include <limits>

#include "base/error.h"
#include "base/time.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

std::string with_difference(const Value& instant, TimeStyle style) {
  const std::string text = shown_instant(instant, style);
  const auto time = instant.is_string() ? parse_instant(instant.as_string()) : std::nullopt;
  return time ? text + " " + from_now(*time, now()) : text;
}

/// The time that stands for none: the schedule is past its `end` (spec/scheduling.md 6.6).
bool has_ended(const Value& schedule) {
  const Value run = value_at(schedule, "nextRunTime");
  return run.is_string() && parse_instant(run.as_string()) == Instant::of_seconds(253'370'764'800);
}

void print_times(const Value& schedule, TimeStyle style) {
  if (has_ended(schedule)) {
    std::cout << "  disabled at: " << with_difference(value_at(schedule, "disabledAt"), style) << "\n"
              << "  next session time: none, the schedule has ended\n"
              << "  next scheduled to run at: none, the schedule has ended\n\n";
    return;
  }
  std::cout << "  disabled at: " << with_difference(value_at(schedule, "disabledAt"), style) << "\n"
            << "  next session time: " << shown_session_time(value_at(schedule, "nextScheduleTime"), style) << "\n"
            << "  next scheduled to run at: " << with_difference(value_at(schedule, "nextRunTime"), style) << "\n\n";
}

int show_schedules(const Arguments& arguments, Remote& remote) {
  const Array schedules = fetch_rows(remote, arguments, {.path = "/api/schedules", .member = "schedules"});
  if (print_as_json(arguments, "schedules", schedules)) return 0;
  std::cout << "Schedules:\n";
  for (const Value& schedule : schedules) {
    std::cout << "  id: " << shown_at(schedule, "id") << "\n"
              << "  project: " << shown_at(schedule, "project.name") << "\n"
              << "  workflow: " << shown_at(schedule, "workflow.name") << "\n";
    print_times(schedule, time_style(arguments));
  }
  std::cout << schedules.size() << " entries.\n" << std::flush;
  std::cerr << "Use `digdag workflows [project-name] [name]` to show workflow details.\n";
  return 0;
}

/// The ids that `<schedule-id> | <project> [workflow]` names.
std::vector<std::string> schedules_named(client::RestClient& server, const std::vector<std::string>& words) {
  if (words.size() == 2) return {text_at(schedule_named(server, words[0], words[1]), "id")};
  if (is_id(words[0], std::numeric_limits<std::uint32_t>::max())) return {words[0]};
  std::vector<std::string> ids;
  for (const Value& schedule : schedules_of(server, words[0])) ids.push_back(text_at(schedule, "id"));
  return ids;
}

std::string path_of(const std::string& id, const char* action) { return "/api/schedules/" + client::path_part(id) + "/" + action; }

int disable(const Arguments& arguments, Remote& remote) {
  for (const std::string& id : schedules_named(remote.server(), arguments.positional())) {
    const Value schedule = remote.server().post(path_of(id, "disable"), Value::object());
    std::cout << "Disabled schedule id: " << shown_at(schedule, "id") << "\n";
  }
  return 0;
}

Value enabled(client::RestClient& server, const std::string& id, bool skip_missed) {
  if (skip_missed) {
    try {
      return server.post(path_of(id, "enable"), Value::object({{"skipSchedule", true}, {"nextTime", nullptr}}));
    } catch (const client::RestError& error) {
      if (error.status() != 409) throw;  // its next session is still to come: there is nothing to skip
    }
  }
  return server.post(path_of(id, "enable"), Value::object());
}

int enable(const Arguments& arguments, Remote& remote) {
  for (const std::string& id : schedules_named(remote.server(), arguments.positional())) {
    const Value schedule = enabled(remote.server(), id, arguments.has("--skip-missed"));
    std::cout << "Enabled schedule id: " << shown_at(schedule, "id") << "\n";
  }
  return 0;
}

Value optional_instant(std::string_view option, const std::optional<std::string>& text, bool allow_now) {
  return text ? Value(format_instant(given_time(option, *text, allow_now))) : Value();
}

Value skip_request(const Arguments& arguments) {
  const bool counts = arguments.has("-s");
  if (!counts && !arguments.has("-t")) throw UsageError{"-s or -t is required", true};
  if (counts && arguments.has("-t")) throw UsageError{"-s and -t can't be set together"};
  const Value run_at = optional_instant("-a, --run-at", arguments.text("-a"), true);
  return Value::object({{"count", counts ? Value(arguments.integer_or("-s", 0)) : Value()},
                        {"fromTime", counts ? Value(format_instant(Instant::of_seconds(now().seconds()))) : Value()},
                        {"nextTime", optional_instant("-t, --skip-to", arguments.text("-t"), true)},
                        {"nextRunTime", run_at},
                        {"dryRun", arguments.has("-d")}});
}

int reschedule(const Arguments& arguments, Remote& remote) {
  const auto& words = arguments.positional();
  const Value request = skip_request(arguments);
  if (words.size() == 1 && !is_id(words[0], std::numeric_limits<std::uint32_t>::max()))
    throw WrongWords{"reschedule needs the id of a schedule, or a project and a workflow: " + words[0]};
  const std::string id = schedules_named(remote.server(), words).at(0);
  const Value schedule = remote.server().post(path_of(id, "skip"), request);
  std::cout << "  id: " << shown_at(schedule, "id") << "\n"
            << "  workflow: " << shown_at(schedule, "workflow.name") << "\n";
  print_times(schedule, {});
  std::cout.flush();
  std::cerr << (arguments.has("-d") ? "Schedule is not updated.\n" : "Use `digdag schedules` to show schedules.\n");
  return 0;
}

}  // namespace

int schedule_command(const Invocation& invocation) {
  return client_command(invocation, "schedule", listing_options(), {0, 0}, show_schedules);
}

int disable_command(const Invocation& invocation) { return client_command(invocation, "disable", {}, {1, 2}, disable); }

int enable_command(const Invocation& invocation) {
  return client_command(invocation, "enable",
                        {{{"--skip-missed"}, Kind::flag, "", "do not run the sessions that were missed while it was disabled"}}, {1, 2},
                        enable);
}

int reschedule_command(const Invocation& invocation) {
  return client_command(
      invocation, "reschedule",
      {
          {{"-s", "--skip"}, Kind::integer, "N", "skip N sessions from now"},
          {{"-t", "--skip-to"}, Kind::text, "TIME", "skip until this time: \"yyyy-MM-dd HH:mm:ss Z\", Unix seconds or now"},
          {{"-a", "--run-at"}, Kind::text, "TIME", "run the next session at this time"},
          {{"-d", "--dry-run"}, Kind::flag, "", "show what would change"},
      },
      {1, 2}, reschedule);
}

}  // namespace digdag::cli
