#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/fd.h"

namespace digdag::command {

using CommandId = std::uint64_t;

// What the main process tells its guard.

/// First of all: the soft limit of open files that commands get (ours is raised).
struct Hello {
  std::uint64_t open_files = 0;
  static void fields(auto& m, auto& f) { f(m.open_files); }
};
/// Hands over a file descriptor that the guard keeps open until all that it ran and has to end is gone: a lock on the file
/// outlives us as long as our commands do.
struct Hold {
  std::int32_t id = 0;  ///< the descriptor's number in the main process
  static void fields(auto& m, auto& f) { f(m.id); }
};
/// Ends a Hold.
struct Release {
  std::int32_t id = 0;
  static void fields(auto& m, auto& f) { f(m.id); }
};
/// Starts a program; the writing end of its output pipe comes along.
struct Start {
  CommandId id = 0;
  std::string program;                   ///< path of the file to execute
  std::vector<std::string> arguments;    ///< argv, the name first
  std::vector<std::string> environment;  ///< `NAME=value`
  std::string working_directory;
  std::string input = {};  ///< its standard input
  static void fields(auto& m, auto& f) { f(m.id, m.program, m.arguments, m.environment, m.working_directory, m.input); }
};
/// Ends a command and all below it: SIGTERM, SIGKILL `grace_millis` later (0 = SIGKILL at once).
struct Stop {
  CommandId id = 0;
  std::int64_t grace_millis = 0;
  static void fields(auto& m, auto& f) { f(m.id, m.grace_millis); }
};
/// Ends all that descends from the guard, also what ended commands left behind; answered with AllStopped.
struct StopAll {
  std::int64_t grace_millis = 0;
  static void fields(auto& m, auto& f) { f(m.grace_millis); }
};
/// An orderly end: what ended commands left behind stays.
struct Goodbye {
  static void fields(auto&, auto&) {}
};

// What the guard tells the main process.

struct Started {
  CommandId id = 0;
  pid_t pid = 0;
  std::uint64_t start_time = 0;  ///< of /proc/PID/stat: tells this process from a later one with the same number
  static void fields(auto& m, auto& f) { f(m.id, m.pid, m.start_time); }
};
struct NotStarted {
  CommandId id = 0;
  int error = 0;  ///< errno
  static void fields(auto& m, auto& f) { f(m.id, m.error); }
};
struct Ended {
  CommandId id = 0;
  int status = 0;  ///< as of waitpid
  static void fields(auto& m, auto& f) { f(m.id, m.status); }
};
struct AllStopped {
  static void fields(auto&, auto&) {}
};

using ToGuard = std::variant<Hello, Hold, Release, Start, Stop, StopAll, Goodbye>;
using FromGuard = std::variant<Started, NotStarted, Ended, AllStopped>;

/// A message larger than this is refused by the receiver; the sender must not build one.
inline constexpr std::size_t most_message_bytes = std::size_t{64} << 20;

/// One end of a stream socket between the main process and its guard. Messages are a length and their fields; file
/// descriptors travel beside them in order. Never blocks. Sending and receiving may be done by different threads.
class Channel {
 public:
  explicit Channel(Fd socket);

  int fd() const { return socket_.get(); }

  /// Sends now what the socket takes and keeps the rest for `flush`. A broken connection shows itself in `receive`.
  void send(const ToGuard& message, Fd attached = Fd());
  void send(const FromGuard& message);
  /// Whether something waits until the socket takes more.
  bool wants_to_send() const { return !outgoing_.empty(); }
  void flush();

  /// Reads what has arrived. False: the other side is gone (messages read before that are still there to be taken).
  bool receive();
  /// The next whole message that has arrived. Throws std::runtime_error where it makes no sense.
  template <typename Variant>
  std::optional<Variant> take();
  /// The next file descriptor that has arrived; none where the sender could attach none.
  Fd take_fd();

 private:
  struct Outgoing {
    std::string bytes;
    std::size_t sent = 0;
    Fd attached;
  };
  void enqueue(std::string bytes, Fd attached);
  std::optional<std::string_view> next_message();

  Fd socket_;
  std::deque<Outgoing> outgoing_;
  std::string incoming_;
  std::size_t taken_ = 0;  ///< of `incoming_`
  std::deque<Fd> incoming_fds_;
  std::vector<char> buffer_;  ///< not on the stack, which may be small (`ulimit -s`)
};

extern template std::optional<ToGuard> Channel::take();
extern template std::optional<FromGuard> Channel::take();

}  // namespace digdag::command
