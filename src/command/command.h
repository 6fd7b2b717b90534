#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace digdag::command {

/// A command line to run: what sh>, py>, rb> and embulk> ask for (spec/operators.md 4).
struct CommandRequest {
  std::vector<std::string> arguments;  ///< the program and its arguments; looked up in PATH
  std::filesystem::path working_directory;
  std::vector<std::pair<std::string, std::string>> environment;  ///< the whole environment, not only additions
  std::string input = {};                                        ///< its standard input
  std::int64_t timeout_millis = 0;                               ///< then it is ended: SIGTERM, SIGKILL a second later; 0 = no limit
};

/// How a command ended.
struct CommandEnd {
  /// Exactly one is set: an exit code, a signal, or why it could not be run at all (no such program, guard gone, …).
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string failure;
  bool timed_out = false;   ///< because its time limit had passed
  bool stopped = false;     ///< because we stopped it (kill, `_timeout`, Ctrl-C)
  std::string last_output;  ///< the end of what it printed, whole lines, at most 8 KiB
  std::int64_t millis = 0;  ///< how long it ran
};

/// Runs commands through the guard: a small process of this binary that owns all of them and ends them, with all that they
/// started in whatever group or session, when we die (spec/decisions.md E-37). Each command has a session of its own. A running command
/// holds no thread: one thread of this object serves all of them.
///
/// Standard input is /dev/null where the request gives none; standard output and error are one pipe, read as it comes (10 GiB pass in flat
/// memory). When the program has ended, its output is awaited for one second more; what it left running then stays
/// (spec/clarifications.md 1.8). Thread-safe.
class CommandRunner {
 public:
  using OnOutput = std::function<void(std::string_view bytes)>;  ///< on the runner's thread; must be quick
  using OnEnd = std::function<void(CommandEnd end)>;             ///< once, on the runner's thread; must be quick
  using Id = std::uint64_t;

  CommandRunner();
  /// Orderly: waits for nothing; what tasks left running on purpose stays. Commands that still run are stopped, and their
  /// callbacks not called any more.
  ~CommandRunner();
  CommandRunner(const CommandRunner&) = delete;
  CommandRunner& operator=(const CommandRunner&) = delete;

  /// Starts it; the guard is started with the first one. Errors come through `on_end`.
  Id start(CommandRequest request, OnOutput on_output, OnEnd on_end);
  /// Keeps a duplicate of this descriptor open in the guard until all that it ran and has to end is gone: a lock on the file
  /// outlives us as long as our commands do.
  void hold(int fd);
  /// Ends a `hold`, before that descriptor is closed.
  void release(int fd);
  /// SIGTERM to it and all that it started, SIGKILL after `grace_seconds` (0 = at once). Does nothing where it has ended.
  void stop(Id command, std::int64_t grace_seconds);
  /// Stops all of them and waits until they are gone (Ctrl-C).
  void stop_all(std::int64_t grace_seconds);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The main function of `digdag --guard`; speaks over file descriptor 3.
int guard_main();

}  // namespace digdag::command
