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

  /// `more`: what the file has grown by. `whole`: an unfinished last line is shown as well.
  std::vector<LogLine> of(std::string_view more, bool whole);

 private:
  const LogChoice* choice_;
  std::string unfinished_;
  bool shown_;
  Instant time_;
};

/// The logs of an attempt: what is new of them at each call.
class AttemptLog {
 public:
  AttemptLog(Remote& remote, const std::string& attempt_id, LogChoice choice);

  /// Task after task, by the time of their first file; `whole` as in LogLines. Given in pieces, so that a large log is not held.
  void read(bool whole, const std::function<void(std::vector<LogLine>)>& show);

  /// Whether there was a log at all, chosen lines or not.
  bool found_any() const { return !files_.empty(); }

  /// The same as it is written, until nothing more will be: what is there task after task, then whatever comes. `live` is called between
  /// them, once. At the latest after `seconds`; false where the server cannot do it, or the connection breaks too often: then `read` goes
  /// on where this has ended.
  bool follow(std::int64_t seconds, const std::function<void(std::vector<LogLine>)>& show, const std::function<void()>& live);

 private:
  struct File {
    std::int64_t size = -1;   ///< packed, as it was listed
    std::uint64_t bytes = 0;  ///< unpacked, that were read
    LogLines lines;
  };
  File& file_named(const std::string& name) { return files_.try_emplace(name, File{.lines = LogLines(choice_)}).first->second; }
  std::vector<LogLine> lines_of(const Value& piece);
  std::string download(const Value& file);

  Remote& remote_;
  const std::string path_, live_path_;
  const LogChoice choice_;
  std::map<std::string, File> files_;
};

}  // namespace digdag::cli
