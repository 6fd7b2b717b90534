#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace digdag {

enum class LogLevel : std::uint8_t { error, warn, info, debug, trace };
/// `ERROR`, `WARN`, …
std::string_view level_name(LogLevel level);

/// Writes the log of the process and the output of tasks (spec/cli.md 3). Thread-safe; a line is never torn by another one.
///
/// Console lines go to standard output, like what tasks print, through one buffer that is written at every line while a
/// terminal looks on, else when it is full or `flush` is called. A live progress line (standard error) is erased before
/// anything else is printed and drawn again afterwards.
class Log {
 public:
  enum class Color { never, always, when_terminal };
  struct Options {
    LogLevel level = LogLevel::info;
    std::string file;                ///< empty: the console; else appended to, rolled at 10 MB into FILE.1.gz … FILE.5.gz
    bool console_to_stderr = false;  ///< --log-to stderr
    Color color = Color::when_terminal;
    bool quiet = false;  ///< -q: only warnings and errors on the console
    /// Nobody waits for who reads the console: of a program that must go on though a pipe is full. What is lost is told when it is read
    /// again.
    bool drops_unread = false;
  };
  explicit Log(Options options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  bool enabled(LogLevel level) const;
  /// `component`: one word without blanks in the place of the original's Java class: the room's name.
  /// `thread`: what stands in parentheses: `main`, `0016@[0:default:1:1]+w+two`. The message may have several lines.
  /// Other control characters, and those that turn the direction of writing, are shown as `\u001b`.
  void write(LogLevel level, std::string_view thread, std::string_view component, std::string_view message);
  /// What a task printed, as it is, to standard output.
  void task_output(std::string_view bytes);
  /// A line for the user on standard error (not a log line; a missing line end is added). What was printed before comes first.
  void user(std::string_view text);
  /// The live line at the bottom of a terminal; empty removes it. Nothing happens where no terminal looks on.
  void progress(std::string_view line);
  bool shows_progress() const;
  void flush();
  /// Whether something could not be written to standard output (a full disk; not a reader that went away).
  bool output_lost() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether a key says itself that its value is secret: its last segment is password, token, …
bool names_a_secret(std::string_view key);

/// Replaces the secrets that a task has read by `***`, also in base64, URL- and JSON-escaped form (spec/decisions.md V-33), and
/// single lines of them, in a stream of pieces: a secret that lies across two pieces is found. Not thread-safe.
class SecretMask {
 public:
  /// `key` decides how short a value is still masked (>= 8 bytes, or >= 4 where it names a secret).
  void add(std::string_view key, std::string_view value);
  bool empty() const { return needles_.empty(); }
  /// The part of the stream that can be shown now; the rest is kept until more comes or `finish`.
  std::string mask(std::string_view piece);
  std::string finish();
  /// A text that is complete.
  std::string mask_all(std::string_view text) const;

 private:
  /// Takes what can be shown out of `kept_`; all of it where nothing more comes.
  std::string take(bool last);

  std::vector<std::string> needles_;
  std::bitset<256> begins_;  ///< the first bytes of all needles
  std::string kept_;
  std::size_t covered_ = 0;  ///< so many bytes of `kept_` belong to a secret that is masked already
};

/// Writes what the log has not written yet, where the process cannot go on. Safe in a handler of a signal.
void rescue_logged_output();

}  // namespace digdag
