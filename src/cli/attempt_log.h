#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "cli/remote.h"

namespace digdag::cli {

/// Which lines of task logs are shown, and in which order (spec/cli.md 8.16, decisions.md C-31).
struct LogChoice {
  std::string task;              ///< only tasks whose full name begins so; empty: all
  bool verbose = false;          ///< lines below INFO too
  std::optional<Instant> since;  ///< only lines from then on
  bool merged = false;           ///< lines of all tasks by time, not task after task
};

struct LogLine {
  Instant time;      ///< its own, or that of the line before it
  std::string text;  ///< without line end
};

/// Chooses lines of one file, which may come in pieces: a line without level or time goes with the line before it.
class LogLines {
 public:
  explicit LogLines(const LogChoice& choice) : choice_(&choice), shown_(!choice.since) {}

  /// `content`: the whole file as it is now, which may have grown since. `whole`: an unfinished last line is shown as well.
  std::vector<LogLine> of(std::string_view content, bool whole);

 private:
  const LogChoice* choice_;
  std::size_t read_ = 0;
  bool shown_;
  Instant time_;
};

/// The logs of an attempt: what is new of them at each call.
class AttemptLog {
 public:
  AttemptLog(Remote& remote, const std::string& attempt_id, LogChoice choice);

  /// Task after task, by the time of their first file; `whole` as in LogLines. Given in pieces, so that a large log is not held.
  void read(bool whole, const std::function<void(std::vector<LogLine>)>& show);

 private:
  struct File {
    std::int64_t size = -1;
    LogLines lines;
  };
  std::string download(const Value& file);

  Remote& remote_;
  const std::string path_;
  const LogChoice choice_;
  std::map<std::string, File> files_;
};

}  // namespace digdag::cli
