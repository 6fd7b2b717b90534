#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <exception>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "command/command.h"
#include "command/process.h"
#include "command/wire.h"

namespace digdag::command {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int socket_fd = 3;
/// For groups whose owner is gone: how long they have between SIGTERM and SIGKILL.
constexpr milliseconds grace_of_the_lost{10'000};
/// How often a group that is being stopped is looked at: its members need not be our children, so no signal tells of all.
constexpr milliseconds look_interval{20};
/// A process that cannot be killed (it hangs in the kernel) is not waited for longer than this.
constexpr milliseconds patience_after_kill{2'000};

/// The process group of a command; its number is the process id of its leader, which also leads a session.
struct Group {
  CommandId id = 0;                          ///< 0: left behind by a command that has ended
  std::optional<int> status;                 ///< of the leader, once that has ended
  std::vector<pid_t> others;                 ///< being stopped: further groups that belong to it, as last seen
  std::optional<Clock::time_point> kill_at;  ///< being stopped: when SIGKILL is due
  std::optional<Clock::time_point> killed_at;

  bool stopping() const { return kill_at.has_value(); }
};

bool has_members(pid_t group) { return kill(-group, 0) == 0 || errno == EPERM; }

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (auto& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

/// The attributes of all commands: own session, so that none has a terminal, and all signals as at login.
class SpawnAttributes {
 public:
  SpawnAttributes() {
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes_); }
  SpawnAttributes(const SpawnAttributes&) = delete;
  SpawnAttributes& operator=(const SpawnAttributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

/// A file in memory that holds a text and is read from its beginning; errno says why there is none.
Fd file_of(std::string_view text) {
  Fd file(memfd_create("input", MFD_CLOEXEC));
  for (std::size_t written = 0; file && written < text.size();) {
    const ssize_t count = pwrite(file.get(), text.data() + written, text.size() - written, static_cast<off_t>(written));
    if (count < 0) return Fd();
    written += static_cast<std::size_t>(count);
  }
  return file;
}

/// Starts the program of a request with both its outputs in one pipe. Without an input it has ours: /dev/null.
int spawn(Start& run, const Fd& output, const SpawnAttributes& attributes, pid_t& pid) {
  const Fd input = run.input.empty() ? Fd() : file_of(run.input);
  if (!input && !run.input.empty()) return errno;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (input) posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output.get(), STDERR_FILENO);
  posix_spawn_file_actions_addchdir_np(&actions, run.working_directory.c_str());
  auto environment = pointers_to(run.environment);
  auto arguments = pointers_to(run.arguments);
  int error = posix_spawn(&pid, run.program.c_str(), &actions, attributes.get(), arguments.data(), environment.data());
  if (error == ENOEXEC) {
    // A script without a `#!` line is one of /bin/sh, as execvp has it.
    std::string shell = "/bin/sh";
    arguments.insert(arguments.begin(), shell.data());
    arguments[1] = run.program.data();
    error = posix_spawn(&pid, shell.c_str(), &actions, attributes.get(), arguments.data(), environment.data());
  }
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/// The guard process: one loop over its socket, the ends of its children and the groups being stopped.
class Guard {
 public:
  Guard(Fd socket, Fd signals) : channel_(std::move(socket)), signals_(std::move(signals)) {}

  void serve() {
    while (connected_ || !groups_.empty()) {
      wait();
      reap();
      if (connected_) receive();
      look_at_groups();
    }
  }

 private:
  void wait() {
    std::array<pollfd, 2> sources{pollfd{signals_.get(), POLLIN, 0}, pollfd{connected_ ? channel_.fd() : -1, POLLIN, 0}};
    if (channel_.wants_to_send()) sources[1].events |= POLLOUT;
    poll(sources.data(), sources.size(), timeout());
    signalfd_siginfo info;
    while (read(signals_.get(), &info, sizeof info) > 0) {
    }
    if ((sources[1].revents & POLLOUT) != 0) channel_.flush();
  }

  int timeout() const { return stopping_ > 0 ? static_cast<int>(look_interval.count()) : -1; }

  /// All children that have ended: leaders of groups, and what became ours when its own parent ended.
  void reap() {
    int status = 0;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
      if (auto group = groups_.find(pid); group != groups_.end()) {
        group->second.status = status;
        if (!group->second.stopping()) leader_ended(pid, group->second);
      }
    }
  }

  void leader_ended(pid_t pid, const Group& group) {
    tell(Ended{group.id, *group.status});
    forget(pid);
  }

  void forget(pid_t pid) {
    const auto found = groups_.find(pid);
    if (found->second.stopping()) --stopping_;
    pid_of_.erase(found->second.id);
    groups_.erase(found);
  }

  void receive() {
    const bool alive = channel_.receive();
    seen_.reset();
    while (connected_) {
      auto message = channel_.take<ToGuard>();
      if (!message) break;
      std::visit([this](auto& m) { handle(m); }, *message);
    }
    if (!alive && connected_) {
      connected_ = false;
      stop_all(grace_of_the_lost);
    }
  }

  void handle(const Hello& hello) {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = std::min<rlim_t>(hello.open_files, limit.rlim_max);
    setrlimit(RLIMIT_NOFILE, &limit);
  }

  void handle(const Hold& hold) { held_[hold.id] = channel_.take_fd(); }
  void handle(const Release& release) { held_.erase(release.id); }

  void handle(Start& run) {
    const Fd output = channel_.take_fd();
    pid_t pid = 0;
    const int error = output ? spawn(run, output, attributes_, pid) : EMFILE;
    if (error != 0) {
      tell(NotStarted{run.id, error});
      return;
    }
    seen_.reset();
    groups_[pid].id = run.id;
    pid_of_[run.id] = pid;
    tell(Started{run.id, pid, start_time_of(pid)});
  }

  void handle(const Stop& request) {
    if (auto found = pid_of_.find(request.id); found != pid_of_.end()) {
      if (!seen_) seen_ = Processes::look();
      stop(found->second, milliseconds(request.grace_millis), *seen_);
    }
  }

  void handle(const StopAll& request) {
    stop_all(milliseconds(request.grace_millis));
    answers_due_ += 1;
  }

  void handle(const Goodbye&) {
    connected_ = false;
    if (groups_.empty()) return;
    const Processes seen = Processes::look();
    stop_known(grace_of_the_lost, seen);
  }

  void stop_all(milliseconds grace) {
    const Processes seen = Processes::look();
    for (const pid_t pid : seen.groups_below(getpid())) {
      if (const auto [place, is_new] = groups_.try_emplace(pid); is_new) place->second.status = 0;
    }
    stop_known(grace, seen);
  }

  void stop_known(milliseconds grace, const Processes& seen) {
    std::vector<pid_t> pids;
    pids.reserve(groups_.size());
    for (const auto& [pid, group] : groups_) pids.push_back(pid);
    for (const pid_t pid : pids) stop(pid, grace, seen);
  }

  void stop(pid_t pid, milliseconds grace, const Processes& seen) {
    Group& group = groups_.at(pid);
    const auto due = Clock::now() + grace;
    if (group.stopping()) {
      group.kill_at = std::min(*group.kill_at, due);
    } else {
      group.kill_at = due;
      ++stopping_;
      group.others = seen.groups_below(pid);
      if (grace > milliseconds::zero()) {
        signal_all(pid, group, SIGTERM);
        signal_all(pid, group, SIGCONT);  // one that is suspended has to wake up to notice
      }
    }
    if (Clock::now() >= *group.kill_at) end_by_force(pid, group, seen);
  }

  static void signal_all(pid_t pid, const Group& group, int signal) {
    kill(-pid, signal);
    for (const pid_t other : group.others) kill(-other, signal);
  }

  void end_by_force(pid_t pid, Group& group, const Processes& seen) {
    if (group.killed_at) return;
    group.others = seen.groups_below(pid);
    signal_all(pid, group, SIGKILL);
    group.killed_at = Clock::now();
  }

  /// Whether all of a group is gone. What left it since it was last looked at is told or forced to end, too.
  static bool is_gone(pid_t pid, Group& group, std::optional<Processes>& seen) {
    if (has_members(pid) || std::any_of(group.others.begin(), group.others.end(), has_members)) return false;
    if (!seen) seen = Processes::look();
    group.others = seen->groups_below(pid);
    signal_all(pid, group, group.killed_at ? SIGKILL : SIGTERM);
    return group.others.empty();
  }

  /// Ends what is due, and reports the groups that are gone.
  void look_at_groups() {
    if (stopping_ > 0) {
      std::vector<pid_t> gone;
      std::optional<Processes> seen;  // at most one look for all of them
      for (auto& [pid, group] : groups_) {
        if (!group.stopping()) continue;
        if (Clock::now() >= *group.kill_at && !group.killed_at) {
          if (!seen) seen = Processes::look();
          end_by_force(pid, group, *seen);
        }
        const bool given_up = group.killed_at && Clock::now() > *group.killed_at + patience_after_kill;
        if (group.status && (given_up || is_gone(pid, group, seen))) gone.push_back(pid);
      }
      for (const pid_t pid : gone) {
        if (const Group& group = groups_.at(pid); group.id != 0) tell(Ended{group.id, *group.status});
        forget(pid);
      }
    }
    if (answers_due_ > 0 && stopping_ == 0) {
      for (; answers_due_ > 0; --answers_due_) tell(AllStopped{});
    }
  }

  void tell(const FromGuard& message) {
    if (connected_) channel_.send(message);
  }

  Channel channel_;
  Fd signals_;
  SpawnAttributes attributes_;
  std::unordered_map<pid_t, Group> groups_;  ///< of commands that run or are being stopped
  std::unordered_map<CommandId, pid_t> pid_of_;
  std::unordered_map<std::int32_t, Fd> held_;
  std::optional<Processes> seen_;  ///< one for all messages that came together: a thousand looks take seconds
  std::size_t stopping_ = 0;       ///< how many of `groups_`
  std::size_t answers_due_ = 0;    ///< of StopAll
  bool connected_ = true;
};

/// Nothing but our owner's end may end us: a Ctrl-C or a service manager's SIGTERM goes to all processes at once, and we
/// have to outlive the others.
Fd take_over_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2}) std::signal(signal, SIG_IGN);
  std::signal(SIGCHLD, SIG_DFL);
  sigset_t children;
  sigemptyset(&children);
  sigaddset(&children, SIGCHLD);
  sigprocmask(SIG_SETMASK, &children, nullptr);
  return Fd(signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK));
}

}  // namespace

int guard_main() {
  // What our owner got from its own parent is no business of commands.
  close_range(socket_fd + 1, ~0U, 0);
  Fd signals = take_over_signals();
  setsid();
  prctl(PR_SET_NAME, "digdag-guard");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  fcntl(socket_fd, F_SETFD, FD_CLOEXEC);
  int result = 0;
  try {
    if (chdir("/") != 0) return 1;
    Guard(Fd(socket_fd), std::move(signals)).serve();
  } catch (const std::exception&) {
    result = 1;  // our owner sees the connection end and takes care of what runs
  }
  return result;
}

}  // namespace digdag::command
