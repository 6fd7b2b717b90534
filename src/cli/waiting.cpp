#include "cli/waiting.h"

#include <algorithm>
#include <iostream>
#include <thread>

#include "base/config.h"
#include "cli/attempt_block.h"
#include "cli/attempt_log.h"

namespace digdag::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int exit_failed = 3, exit_killed = 4, exit_timed_out = 5;

int exit_code_of(const std::string& status) {
  if (status == "success") return 0;
  return status == "killed" ? exit_killed : exit_failed;
}

/// `attempt 12: 3/10 done, 2 running`
std::string progress_of(client::RestClient& server, const std::string& id) {
  std::size_t all = 0, done = 0, running = 0;
  for (const Value& task : list_at(server.get("/api/attempts/" + id + "/tasks"), "tasks")) {
    if (text_at(task, "isGroup") == "true") continue;
    const std::string state = text_at(task, "state");
    ++all;
    running += state == "running";
    done += state == "success" || state == "error" || state == "group_error" || state == "canceled";
  }
  return "attempt " + id + ": " + std::to_string(done) + "/" + std::to_string(all) + " done, " + std::to_string(running) + " running";
}

class Waiter {
 public:
  Waiter(Remote& remote, const Waiting& waiting) : remote_(remote), waiting_(waiting) {}

  int wait_for(const std::string& id) {
    AttemptLog log(remote_, id, {});
    const bool is_followed = waiting_.follow && follow(log);
    Pause pause;
    while (true) {
      const std::string status = status_of_attempt(remote_.server().get("/api/attempts/" + id));
      const bool ended = status != "running";
      if (waiting_.follow && !is_followed && print_new(log, ended)) pause.reset();
      if (ended) return tell("Attempt " + id + " has ended: " + status, exit_code_of(status));
      if (waiting_.limit && Clock::now() - begun_ >= *waiting_.limit)
        return tell("error: attempt " + id + " is still running after " + std::to_string(waiting_.limit->count()) + " s", exit_timed_out);
      if (remote_.log().shows_progress()) remote_.log().progress(progress_of(remote_.server(), id));
      pause.wait();
    }
  }

 private:
  /// False where the server cannot tell it as it comes.
  bool follow(AttemptLog& log) {
    const auto left = waiting_.limit ? *waiting_.limit - std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - begun_)
                                     : std::chrono::seconds::max();
    return log.follow(
        left.count(), [this](const std::vector<LogLine>& lines) { print(lines); }, [] {});
  }

  bool print_new(AttemptLog& log, bool whole) {
    bool news = false;
    log.read(whole, [&](const std::vector<LogLine>& lines) {
      news = true;
      print(lines);
    });
    remote_.log().flush();
    return news;
  }

  void print(const std::vector<LogLine>& lines) {
    std::string text;
    for (const LogLine& line : lines) text += line.text + "\n";
    remote_.log().task_output(text);
    remote_.log().flush();
  }

  int tell(const std::string& text, int code) {
    remote_.log().progress("");
    remote_.log().user(text);
    return code;
  }

  Remote& remote_;
  const Waiting waiting_;
  const Clock::time_point begun_ = Clock::now();
};

}  // namespace

void Pause::wait() {
  std::this_thread::sleep_for(next_);
  next_ = std::min(next_ * 2, longest);
}

std::vector<Option> waiting_options() {
  return {
      {{"--wait"}, Option::Kind::optional_text, "[=DURATION]", "wait for the end: exit code 0 success, 3 failed, 4 killed, 5 time is up"},
      {{"--follow"}, Option::Kind::flag, "", "wait for the end and print the logs as they come"},
  };
}

std::optional<Waiting> waiting_of(const Arguments& arguments) {
  if (!arguments.has("--wait") && !arguments.has("--follow")) return std::nullopt;
  Waiting waiting{.follow = arguments.has("--follow")};
  if (const std::string limit = arguments.text_or("--wait", ""); !limit.empty()) {
    const auto seconds = parse_duration(limit);
    if (!seconds) throw UsageError{"--wait must be a duration such as 90s or 1h 30m: " + limit};
    waiting.limit = std::chrono::seconds(*seconds);
  }
  return waiting;
}

int wait_for(Remote& remote, const std::vector<std::string>& attempt_ids, const Waiting& waiting) {
  std::cout.flush();
  Waiter waiter(remote, waiting);
  int code = 0;
  for (const std::string& id : attempt_ids) code = std::max(code, waiter.wait_for(id));
  return code;
}

}  // namespace digdag::cli
