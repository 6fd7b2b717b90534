#include <iostream>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/attempt_block.h"
#include "cli/listing.h"
#include "cli/lookups.h"
#include "cli/remote.h"
#include "cli/settings.h"
#include "cli/waiting.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

/// What --session says, as the server takes it.
struct SessionQuery {
  std::string time;  ///< an instant, or a local time in the zone of the workflow
  std::string mode;  ///< `hour` or `day` where it is to be truncated
};

SessionQuery session_query(const Arguments& arguments) {
  const auto expression = arguments.text("--session");
  if (!expression) throw UsageError{"--session option is required", true};
  if (*expression == "now") return {format_instant(now()), ""};
  if (*expression == "hourly") return {format_instant(now()), "hour"};
  if (*expression == "daily") return {format_instant(now()), "day"};
  const auto local = parse_local_time(*expression);
  if (!local) throw task_error("--session must be hourly, daily, now, \"yyyy-MM-dd\", or \"yyyy-MM-dd HH:mm:SS\" format: " + *expression);
  const TimeZone utc;  // only carries the fields
  return {replace_all(format_local_time(utc.instant(*local), utc), " ", "T"), ""};
}

Value truncated(client::RestClient& server, const std::string& workflow_id, const SessionQuery& session) {
  client::RestClient::Query query = {{"session_time", session.time}};
  if (!session.mode.empty()) query.emplace_back("mode", session.mode);
  return value_at(server.get("/api/workflows/" + client::path_part(workflow_id) + "/truncated_session_time", query), "sessionTime");
}

/// A session time of the server, as it takes it back.
Value as_instant(const Value& session_time) {
  const auto time = session_time.is_string() ? parse_instant(session_time.as_string()) : std::nullopt;
  return time ? Value(format_instant(*time)) : session_time;
}

Value optional_text(const std::optional<std::string>& text) { return text ? Value(*text) : Value(); }

/// The attempt that a conflict names; nothing where the server answers in another way.
Value attempt_in_the_way(const client::RestError& error) {
  if (error.status() != 409) return {};
  try {
    const Value attempt = parse_json(error.body());
    return attempt.find("sessionId") ? attempt : Value();
  } catch (const Error&) {
    return {};
  }
}

std::string ids_of(const Value& attempt) {
  return "(session_id=" + text_at(attempt, "sessionId") + ", attempt_id=" + text_at(attempt, "id") +
         ", session_time=" + text_at(attempt, "sessionTime") + ")";
}

void print_dry_run(const std::string& project, const Value& request, const std::string& workflow) {
  std::cout << "Session attempt:\n"
            << "  session id: (dry run)\n  attempt id: (dry run)\n  uuid: (dry run)\n"
            << "  project: " << project << "\n  workflow: " << workflow << "\n"
            << "  session time: " << shown_instant(value_at(request, "sessionTime"), {}) << "\n"
            << "  retry attempt name: " << shown_at(request, "retryAttemptName") << "\n"
            << "  params: " << shown_at(request, "params") << "\n\n"
            << std::flush;
  std::cerr << "Session attempt is not started.\n";
}

int started(const Value& attempt, const Arguments& arguments, Remote& remote) {
  if (!print_as_json(arguments, attempt)) print_started(attempt, time_style(arguments));
  const auto waiting = waiting_of(arguments);
  return waiting ? wait_for(remote, {text_at(attempt, "id")}, *waiting) : 0;
}

int start(const Arguments& arguments, Remote& remote) {
  const SessionQuery session = session_query(arguments);
  waiting_of(arguments);  // refuses a wrong value before anything is started
  const Value params = load_params(arguments, remote.system());
  client::RestClient& server = remote.server();
  const Value project = project_named(server, arguments.positional()[0]);
  const Value workflow = workflow_named(server, text_at(project, "id"), arguments.positional()[1], arguments.text("--revision"));
  const Value request = Value::object({{"workflowId", value_at(workflow, "id")},
                                       {"sessionTime", as_instant(truncated(server, text_at(workflow, "id"), session))},
                                       {"retryAttemptName", optional_text(arguments.text("--retry"))},
                                       {"resume", nullptr},
                                       {"params", params}});
  if (arguments.has("-d")) {
    print_dry_run(shown_at(project, "name"), request, shown_at(workflow, "name"));
    return 0;
  }
  try {
    return started(server.put("/api/attempts", request), arguments, remote);
  } catch (const client::RestError& error) {
    const Value existing = attempt_in_the_way(error);
    if (existing.is_null()) throw;
    throw task_error("A session for the requested session_time already exists " + ids_of(existing))
        .hint("use `digdag retry " + text_at(existing, "id") +
              " --latest-revision --all` command to run the session again for the same session_time");
  }
}

/// One option of each kind must be there (spec/cli.md 8.5).
void check_choices(const Arguments& arguments) {
  const auto count = [&](std::initializer_list<const char*> options) {
    int given = 0;
    for (const char* option : options) given += arguments.has(option);
    return given;
  };
  const int revisions = count({"--latest-revision", "--keep-revision", "--revision"});
  const int extents = count({"--all", "--resume", "--resume-from"});
  std::string error;
  if (revisions == 0) error += "--keep-revision, --latest-revision, or --revision <name> option is required. ";
  if (revisions > 1) error += "Setting --keep-revision, --latest-revision, or --revision together is invalid. ";
  if (extents == 0) error += "--all, --resume, or --resume-from <+name> option is required. ";
  if (extents > 1) error += "Setting --all, --resume, or --resume-from together is invalid. ";
  if (arguments.has("--changed") && arguments.has("--all")) error += "--changed is for --resume and --resume-from. ";
  if (!error.empty()) throw UsageError{error, true};
}

Value resume_of(const Arguments& arguments, const std::string& attempt) {
  Value resume;
  if (arguments.has("--resume")) resume = Value::object({{"mode", "failed"}, {"attemptId", attempt}});
  if (const auto from = arguments.text("--resume-from"))
    resume = Value::object({{"mode", "from"}, {"from", *from}, {"attemptId", attempt}});
  if (arguments.has("--changed") && !resume.is_null()) resume.mutable_object().set("invalidate", "changed");
  return resume;
}

Value workflow_id_of(const Value& attempt, const Arguments& arguments, client::RestClient& server) {
  if (!arguments.has("--keep-revision"))
    return value_at(workflow_named(server, text_at(attempt, "project.id"), text_at(attempt, "workflow.name"), arguments.text("--revision")),
                    "id");
  Value id = value_at(attempt, "workflow.id");
  if (id.is_null()) throw task_error("The workflow of attempt " + text_at(attempt, "id") + " is not stored").hint("use --latest-revision");
  return id;
}

int retry(const Arguments& arguments, Remote& remote) {
  const std::string id = id_word(arguments.positional()[0]);
  check_choices(arguments);
  waiting_of(arguments);
  const Value given = load_params(arguments, remote.system());
  client::RestClient& server = remote.server();
  const Value attempt = server.get("/api/attempts/" + id);
  Value params = value_at(attempt, "params");
  if (!params.is_object()) params = Value::object();
  merge(params, given);
  const std::string name = arguments.text("--name").value_or(random_uuid());
  const Value request = Value::object({{"workflowId", workflow_id_of(attempt, arguments, server)},
                                       {"sessionTime", as_instant(value_at(attempt, "sessionTime"))},
                                       {"retryAttemptName", name},
                                       {"resume", resume_of(arguments, id)},
                                       {"params", params}});
  try {
    return started(server.put("/api/attempts", request), arguments, remote);
  } catch (const client::RestError& error) {
    const Value existing = attempt_in_the_way(error);
    if (existing.is_null()) throw;
    throw task_error("Request conflicted: An attempt named '" + name + "' already exists " + ids_of(existing)).hint("use another --name");
  }
}

std::vector<Option> with_results(std::vector<Option> options) {
  for (Option& option : waiting_options()) options.push_back(std::move(option));
  for (Option& option : output_options()) options.push_back(std::move(option));
  return options;
}

}  // namespace

int start_command(const Invocation& invocation) {
  return client_command(
      invocation, "start",
      with_results({
          {{"--session"}, Kind::text, "EXPR", "session time: hourly, daily, now, \"yyyy-MM-dd\" or \"yyyy-MM-dd HH:mm:ss\" (required)"},
          {{"--revision"}, Kind::text, "NAME", "use a past revision"},
          {{"--retry"}, Kind::text, "NAME", "name of the attempt, to run a session again"},
          {{"-d", "--dry-run"}, Kind::flag, "", "show what would be started"},
          {{"-p", "--param"}, Kind::list, "KEY=VALUE", "add a session parameter (use multiple times to set many parameters)"},
          {{"-P", "--params-file"}, Kind::text, "PATH.yml", "read session parameters from a YAML file"},
      }),
      {2, 2}, start);
}

int retry_command(const Invocation& invocation) {
  return client_command(
      invocation, "retry",
      with_results({
          {{"--name"}, Kind::text, "NAME", "name of the new attempt (default: random)"},
          {{"--latest-revision"}, Kind::flag, "", "use the latest revision"},
          {{"--keep-revision"}, Kind::flag, "", "use the revision of the attempt"},
          {{"--revision"}, Kind::text, "NAME", "use this revision"},
          {{"--all"}, Kind::flag, "", "run all tasks again"},
          {{"--resume"}, Kind::flag, "", "skip the tasks that have succeeded"},
          {{"--resume-from"}, Kind::text, "+NAME", "run this task and those after it"},
          {{"--changed"}, Kind::flag, "", "with --resume or --resume-from: run tasks that have changed, and those after them, too"},
          {{"-p", "--param"}, Kind::list, "KEY=VALUE", "overwrite a session parameter (use multiple times to set many parameters)"},
          {{"-P", "--params-file"}, Kind::text, "PATH.yml", "read session parameters from a YAML file"},
      }),
      {1, 1}, retry);
}

}  // namespace digdag::cli
