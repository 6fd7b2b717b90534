#include <algorithm>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/attempt_block.h"
#include "cli/attempt_log.h"
#include "cli/remote.h"
#include "cli/waiting.h"

namespace digdag::cli {
namespace {

using Kind = Option::Kind;

/// `10m` ago, or a time.
Instant since_of(const std::string& text) {
  if (const auto seconds = parse_duration(text)) return now().plus_seconds(-*seconds);
  if (const auto time = parse_instant(text)) return *time;
  if (const auto local = parse_local_time(text)) return TimeZone::system().instant(*local);
  return given_time("--since", text);
}

LogChoice choice_of(const Arguments& arguments) {
  LogChoice choice{.verbose = arguments.has("-v"), .merged = arguments.has("--merge")};
  if (arguments.positional().size() > 1) choice.task = arguments.positional()[1];
  if (const auto since = arguments.text("--since")) choice.since = since_of(*since);
  return choice;
}

/// Standard output is a pipe that nobody reads any more, as of `digdag log -f ID | head`.
struct NobodyReads {};

void print(const std::vector<LogLine>& lines) {
  for (const LogLine& line : lines) std::cout << line.text << '\n';
  if (!std::cout.flush()) throw NobodyReads();
}

/// Whether nothing more will be logged: the attempt has ended, or no task of that name is still to run.
bool is_over(client::RestClient& server, const std::string& id, const std::string& task) {
  const std::string path = "/api/attempts/" + id;
  if (status_of_attempt(server.get(path)) != "running") return true;
  if (task.empty()) return false;
  const Array tasks = list_at(server.get(path + "/tasks"), "tasks");
  return std::none_of(tasks.begin(), tasks.end(), [&](const Value& row) {
    const std::string state = text_at(row, "state");
    return text_at(row, "fullName").starts_with(task) && (state == "blocked" || state == "ready" || state == "retry_waiting" ||
                                                          state == "group_retry_waiting" || state == "running" || state == "planned");
  });
}

/// Of what is there at first only the last lines are printed, where that is wanted; then all.
class LastLines {
 public:
  /// -1: all.
  explicit LastLines(std::int64_t wanted) : wanted_(wanted) {}
  void add(std::vector<LogLine> lines) {
    if (wanted_ < 0) return print(lines);
    std::move(lines.begin(), lines.end(), std::back_inserter(last_));
    if (std::cmp_greater(last_.size(), wanted_)) last_.erase(last_.begin(), last_.end() - wanted_);
  }
  void end() {
    print(last_);
    last_.clear();
    wanted_ = -1;
  }

 private:
  std::int64_t wanted_;
  std::vector<LogLine> last_;
};

/// On standard error why there is nothing to show, as far as that is known; the exit code stays 0 as the original's.
void explain_nothing(client::RestClient& server, const std::string& id, const std::string& task) {
  std::cout.flush();
  if (!task.empty()) {
    std::vector<std::string> similar;
    for (const Value& row : list_at(server.get("/api/attempts/" + id + "/tasks"), "tasks")) {
      const std::string name = text_at(row, "fullName");
      if (name.starts_with(task)) return explain_nothing(server, id, "");
      if (name.ends_with(task)) similar.push_back(name);
    }
    std::cerr << "Attempt " << id << " has no task whose name begins with '" << visible(task) << "'"
              << (similar.empty() ? ". Use `digdag tasks " + id + "` to show its tasks."
                                  : "; did you mean " + visible(similar.front()) + "?")
              << "\n";
    return;
  }
  std::cerr << "No log is there of attempt " << id
            << ": its tasks have not run, or this server keeps no logs (server --task-log DIR, or log-server.type in its configuration).\n";
}

int show_lines(const Arguments& arguments, Remote& remote) {
  const std::string id = id_word(arguments.positional()[0]);
  const std::int64_t tail = arguments.integer_or("--tail", -1);
  if (arguments.has("--tail") && tail < 0) throw UsageError{"--tail must not be negative: " + std::to_string(tail)};
  const LogChoice choice = choice_of(arguments);
  AttemptLog log(remote, id, choice);
  const bool follows = arguments.has("-f");
  LastLines last(tail);
  const auto show = [&](std::vector<LogLine> lines) { last.add(std::move(lines)); };
  if (follows && log.follow(INT64_MAX, show, [&] { last.end(); })) {
    if (!log.found_any()) explain_nothing(remote.server(), id, choice.task);
    return 0;
  }
  bool over = !follows || is_over(remote.server(), id, choice.task);
  log.read(over, show);
  last.end();
  Pause pause;
  while (!over) {
    pause.wait();
    over = is_over(remote.server(), id, choice.task);
    log.read(over, [&](const std::vector<LogLine>& lines) {
      print(lines);
      pause.reset();
    });
  }
  if (!log.found_any()) explain_nothing(remote.server(), id, choice.task);
  return 0;
}

int show_log(const Arguments& arguments, Remote& remote) {
  try {
    return show_lines(arguments, remote);
  } catch (const NobodyReads&) {
    return 1;
  }
}

}  // namespace

int log_command(const Invocation& invocation) {
  return client_command(
      invocation, "log",
      {
          {{"-v", "--verbose"}, Kind::flag, "", "show debug and trace lines, too"},
          {{"-f", "--follow"}, Kind::flag, "", "go on until the attempt has ended"},
          {{"--merge"}, Kind::flag, "", "show the lines of all tasks by time, not task after task"},
          {{"--tail"}, Kind::integer, "N", "show only the last N lines of what is there"},
          {{"--since"}, Kind::text, "TIME", "show only lines since then: 10m, \"yyyy-MM-dd HH:mm:ss\", with a zone, or Unix seconds"},
      },
      {1, 2}, show_log);
}

}  // namespace digdag::cli
