#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/open_files.h"
#include "base/thread.h"
#include "command/command.h"
#include "command/last_output.h"
#include "command/process.h"
#include "command/program.h"
#include "command/wire.h"

namespace digdag::command {
namespace {

using Clock = std::chrono::steady_clock;

/// After the program has ended: how long its output is awaited (spec/clarifications.md 1.8).
constexpr std::chrono::seconds output_patience{1};
/// Between SIGTERM and SIGKILL, for a command whose time limit has passed.
constexpr std::int64_t grace_millis_after_limit = 1000;
constexpr std::int64_t longest_limit_millis = std::int64_t{1} << 40;
/// How long the guard may take for what it does at once.
constexpr std::chrono::seconds guard_patience{5};
/// What may still lie in a pipe when that is over (the largest size of a pipe).
constexpr std::size_t most_pending_output = std::size_t{1} << 20;

// What an epoll event is about: these, or a command's id.
constexpr CommandId wake_up = 0;
constexpr CommandId guard_socket = 1;
constexpr CommandId first_command = 2;

std::string open_files_error(std::string_view what, int error) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  return fmt::format("cannot open {}: {}; this process may have {} files open (`ulimit -Hn`)", what, std::strerror(error), limit.rlim_cur);
}

std::string describe_guard_end(int status) {
  if (WIFSIGNALED(status)) return fmt::format("guard process ended (signal {})", WTERMSIG(status));
  return fmt::format("guard process ended (exit code {})", WEXITSTATUS(status));
}

struct Running {
  CommandId id = 0;
  CommandRequest request;  ///< until it is started: what an error describes
  std::string program;
  CommandRunner::OnOutput on_output;
  CommandRunner::OnEnd on_end;
  Clock::time_point requested = Clock::now();

  // Written under the runner's lock:
  bool stop_requested = false;
  bool timed_out = false;
  std::optional<CommandEnd> end;  ///< how it ended; the rest of its output may still be awaited

  // Only for the runner's thread:
  Fd output;  ///< reading end; closed at the end of the output
  LastOutput last_output;
  pid_t pid = 0;
  std::uint64_t start_time = 0;
  bool reported = false;  ///< what it left behind may still write; that is read and dropped, so that it can go on
};

std::int64_t millis_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count();
}

std::int64_t grace_millis(std::int64_t seconds) { return std::clamp<std::int64_t>(seconds, 0, 100'000'000) * 1000; }

/// For what the guard does at once; false where it does not.
bool wait_for(int fd, short events) {
  pollfd source{fd, events, 0};
  return poll(&source, 1, static_cast<int>(std::chrono::milliseconds(guard_patience).count())) > 0;
}

void watch(const Fd& epoll, int operation, int fd, CommandId id, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  epoll_ctl(epoll.get(), operation, fd, &event);
}

}  // namespace

struct CommandRunner::Impl {
  ~Impl();

  Id start(CommandRequest request, OnOutput on_output, OnEnd on_end);
  void stop(Id command, std::int64_t grace_seconds);
  void stop_all(std::int64_t grace_seconds);
  void hold(int fd);
  void release(int fd);

 private:
  // With the lock held:
  void ensure_thread();
  std::string ensure_guard();
  void ask_to_stop(Id command, std::int64_t grace_in_millis);
  void end_guard_by_force() const;
  void send(const ToGuard& message, Fd attached = Fd());
  void hand_over(int id, const Fd& held);
  void watch_guard_for_sending();
  void wake();

  // On the runner's thread, without the lock:
  void serve();
  void handle(const epoll_event& event);
  void deliver_refusals();
  void read_guard();
  void handle(const Started& message);
  void handle(const NotStarted& message);
  void handle(const Ended& message);
  void handle(const AllStopped& message);
  void guard_lost();
  static void kill_groups_of(const std::vector<std::shared_ptr<Running>>& lost);
  void read_output(Running& running);
  void drain(Running& running);
  void ended(Running& running, CommandEnd end);
  void report(Running& running);
  void report_overdue();
  void stop_late();
  int timeout();
  std::shared_ptr<Running> find(Id id);

  std::mutex lock_;
  std::condition_variable all_gone_;
  Thread thread_;
  Fd epoll_, wake_;
  Id next_id_ = first_command;
  std::unordered_map<Id, std::shared_ptr<Running>> running_;
  std::size_t unreported_ = 0;  ///< of `running_`
  std::vector<std::pair<OnEnd, CommandEnd>> refused_;
  std::multimap<Clock::time_point, Id> limits_;  ///< when a time limit passes, also of commands that have ended since
  std::map<int, Fd> held_;                       ///< duplicates, by the descriptor of the caller
  std::optional<Channel> guard_;                 ///< its receiving side belongs to the runner's thread
  bool guard_watched_for_sending_ = false;
  pid_t guard_pid_ = 0;
  std::size_t stops_due_ = 0;  ///< answers to StopAll that the guard owes
  bool closing_ = false;

  // Only for the runner's thread:
  std::multimap<Clock::time_point, Id> overdue_at_;  ///< when the output of an ended command is no longer awaited
  std::array<char, 65536> buffer_;
};

CommandRunner::Impl::~Impl() {
  if (!thread_.running()) return;
  {
    const std::lock_guard guard(lock_);
    closing_ = true;
    wake();
  }
  thread_.join();
  if (!guard_) return;
  guard_->send(Goodbye{});
  while (guard_->wants_to_send() && wait_for(guard_->fd(), POLLOUT)) guard_->flush();
  guard_.reset();
  // Without running commands it ends at once. With some it stays until they are gone, and nobody waits for it.
  if (unreported_ > 0) return;
  const Fd guard_process(static_cast<int>(syscall(SYS_pidfd_open, guard_pid_, 0)));
  if (!guard_process || !wait_for(guard_process.get(), POLLIN)) kill(guard_pid_, SIGKILL);
  waitpid(guard_pid_, nullptr, 0);
}

CommandRunner::Id CommandRunner::Impl::start(CommandRequest request, OnOutput on_output, OnEnd on_end) {
  const auto running = std::make_shared<Running>();
  request.working_directory = std::filesystem::absolute(request.working_directory);
  std::string failure = check_request(request, running->program);

  std::array<int, 2> pipe{-1, -1};
  if (failure.empty()) {
    raise_open_files_limit();
    if (pipe2(pipe.data(), O_CLOEXEC) != 0) failure = open_files_error("a pipe for the output of a command", errno);
  }
  running->output.reset(pipe[0]);
  Fd write_end(pipe[1]);
  Start run{0, running->program, request.arguments, {}, request.working_directory.string(), std::move(request.input)};
  run.environment.reserve(request.environment.size());
  for (const auto& [name, value] : request.environment) run.environment.push_back(fmt::format("{}={}", name, value));
  const auto limit = std::chrono::milliseconds(std::min(request.timeout_millis, longest_limit_millis));
  running->request = std::move(request);
  running->on_output = std::move(on_output);

  const std::lock_guard guard(lock_);
  running->id = run.id = next_id_++;
  ensure_thread();
  if (failure.empty()) failure = ensure_guard();
  if (!failure.empty()) {
    CommandEnd end;
    end.failure = std::move(failure);
    refused_.emplace_back(std::move(on_end), std::move(end));
    wake();
    return run.id;
  }
  running->on_end = std::move(on_end);
  running_.emplace(running->id, running);
  ++unreported_;
  watch(epoll_, EPOLL_CTL_ADD, running->output.get(), running->id, EPOLLIN);
  send(std::move(run), std::move(write_end));
  if (limit.count() > 0) {
    limits_.emplace(running->requested + limit, running->id);
    wake();
  }
  return running->id;
}

void CommandRunner::Impl::stop(Id command, std::int64_t grace_seconds) {
  const std::lock_guard guard(lock_);
  const auto found = running_.find(command);
  if (found == running_.end() || found->second->end || !guard_) return;
  found->second->stop_requested = true;
  ask_to_stop(command, grace_millis(grace_seconds));
}

void CommandRunner::Impl::ask_to_stop(Id command, std::int64_t grace_in_millis) {
  kill(guard_pid_, SIGCONT);  // one that is suspended has to wake up to notice
  send(Stop{command, grace_in_millis});
}

void CommandRunner::Impl::stop_all(std::int64_t grace_seconds) {
  std::unique_lock guard(lock_);
  if (!guard_) return;
  for (auto& [id, running] : running_) running->stop_requested = running->stop_requested || !running->end;
  send(StopAll{grace_millis(grace_seconds)});
  ++stops_due_;
  const auto all_gone = [this] { return unreported_ == 0 && stops_due_ == 0; };
  if (all_gone_.wait_for(guard, std::chrono::milliseconds(grace_millis(grace_seconds)) + guard_patience, all_gone)) return;
  // The guard does not work any more, or a process hangs in the kernel and does not even end by SIGKILL.
  if (guard_) end_guard_by_force();
  all_gone_.wait_for(guard, guard_patience, all_gone);
}

/// With all that it started; our thread sees it go and reports what it ran.
void CommandRunner::Impl::end_guard_by_force() const {
  for (const pid_t group : Processes::look().groups_below(guard_pid_)) kill(-group, SIGKILL);
  kill(guard_pid_, SIGKILL);
}

void CommandRunner::Impl::hold(int fd) {
  const std::lock_guard guard(lock_);
  Fd ours(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!ours) return;  // without it the lock ends with us
  if (guard_) hand_over(fd, ours);
  held_[fd] = std::move(ours);
}

void CommandRunner::Impl::hand_over(int id, const Fd& held) {
  if (Fd copy(fcntl(held.get(), F_DUPFD_CLOEXEC, 0)); copy) send(Hold{id}, std::move(copy));
}

void CommandRunner::Impl::release(int fd) {
  const std::lock_guard guard(lock_);
  if (held_.erase(fd) > 0 && guard_) send(Release{fd});
}

void CommandRunner::Impl::ensure_thread() {
  if (thread_.running()) return;
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  wake_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_) throw Error("runtime", open_files_error("an event queue for commands", errno));
  watch(epoll_, EPOLL_CTL_ADD, wake_.get(), wake_up, EPOLLIN);
  thread_ = Thread("commands", [this] { serve(); });
}

/// Starts the guard unless it runs; gives why that is not possible.
std::string CommandRunner::Impl::ensure_guard() {
  if (guard_) return "";
  std::array<int, 2> pair{-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair.data()) != 0) {
    return open_files_error("a socket to the guard process", errno);
  }
  Fd ours(pair[0]), first_theirs(pair[1]);
  // Out of the way of the descriptors that the guard gets as 0 to 3.
  const Fd theirs(fcntl(first_theirs.get(), F_DUPFD_CLOEXEC, 4));
  if (!theirs) return open_files_error("a socket to the guard process", errno);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
  posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDERR_FILENO);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), 3);
  std::array<char, 7> name{"digdag"};
  std::array<char, 8> option{"--guard"};
  std::array<char*, 3> arguments{name.data(), option.data(), nullptr};
  const int error = posix_spawn(&guard_pid_, "/proc/self/exe", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return fmt::format("cannot start the guard process (/proc/self/exe --guard): {}", std::strerror(error));

  guard_.emplace(std::move(ours));
  guard_watched_for_sending_ = false;
  watch(epoll_, EPOLL_CTL_ADD, guard_->fd(), guard_socket, EPOLLIN);
  send(Hello{raise_open_files_limit()});
  for (const auto& [id, held] : held_) hand_over(id, held);
  return "";
}

void CommandRunner::Impl::send(const ToGuard& message, Fd attached) {
  guard_->send(message, std::move(attached));
  watch_guard_for_sending();
}

void CommandRunner::Impl::watch_guard_for_sending() {
  if (guard_->wants_to_send() == guard_watched_for_sending_) return;
  guard_watched_for_sending_ = !guard_watched_for_sending_;
  watch(epoll_, EPOLL_CTL_MOD, guard_->fd(), guard_socket, guard_watched_for_sending_ ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void CommandRunner::Impl::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = write(wake_.get(), &one, sizeof one);
}

void CommandRunner::Impl::serve() {
  std::array<epoll_event, 64> events;
  for (;;) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout());
    for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)]);
    report_overdue();
    stop_late();
    const std::lock_guard guard(lock_);
    if (closing_) return;
  }
}

void CommandRunner::Impl::handle(const epoll_event& event) {
  const Id id = event.data.u64;
  if (id == wake_up) {
    deliver_refusals();
  } else if (id == guard_socket) {
    if ((event.events & EPOLLOUT) != 0) {
      const std::lock_guard guard(lock_);
      guard_->flush();
      watch_guard_for_sending();
    }
    if ((event.events & ~EPOLLOUT) != 0) read_guard();
  } else if (const auto running = find(id)) {
    read_output(*running);
  }
}

void CommandRunner::Impl::deliver_refusals() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto taken = read(wake_.get(), &count, sizeof count);
  decltype(refused_) refused;
  {
    const std::lock_guard guard(lock_);
    refused.swap(refused_);
  }
  for (auto& [on_end, end] : refused) on_end(std::move(end));
}

void CommandRunner::Impl::read_guard() {
  Channel* channel = nullptr;
  {
    const std::lock_guard guard(lock_);
    channel = &*guard_;  // stays: only this thread drops it
  }
  bool alive = true;
  try {
    alive = channel->receive();
    while (const auto message = channel->take<FromGuard>()) std::visit([this](const auto& m) { handle(m); }, *message);
  } catch (const std::runtime_error&) {
    kill(guard_pid_, SIGKILL);
    alive = false;
  }
  if (!alive) guard_lost();
}

void CommandRunner::Impl::handle(const Started& message) {
  const auto running = find(message.id);
  if (!running) return;
  running->pid = message.pid;
  running->start_time = message.start_time;
  running->request = {};
}

void CommandRunner::Impl::handle(const NotStarted& message) {
  const auto running = find(message.id);
  if (!running) return;
  CommandEnd end;
  end.failure = describe_start_error(running->request, running->program, message.error);
  running->output.reset();
  ended(*running, std::move(end));
}

void CommandRunner::Impl::handle(const Ended& message) {
  const auto running = find(message.id);
  if (!running) return;
  CommandEnd end;
  if (WIFSIGNALED(message.status)) {
    end.signal = WTERMSIG(message.status);
  } else {
    end.exit_code = WEXITSTATUS(message.status);
  }
  ended(*running, std::move(end));
}

void CommandRunner::Impl::handle(const AllStopped&) {
  const std::lock_guard guard(lock_);
  --stops_due_;
  all_gone_.notify_all();
}

/// What runs without a guard is found by process id and start time; a program that the guard started with its last breath,
/// and could not tell us of, by the pipe that it writes to.
void CommandRunner::Impl::kill_groups_of(const std::vector<std::shared_ptr<Running>>& lost) {
  std::unordered_set<ino_t> pipes;
  std::optional<Processes> seen;
  for (const auto& running : lost) {
    struct stat status {};
    if (running->pid != 0) {
      if (start_time_of(running->pid) == running->start_time) kill(-running->pid, SIGKILL);
      if (!seen) seen = Processes::look();
      for (const pid_t group : seen->groups_below(running->pid)) kill(-group, SIGKILL);
    } else if (running->output && fstat(running->output.get(), &status) == 0) {
      pipes.insert(status.st_ino);
    }
  }
  if (pipes.empty()) return;
  for (const pid_t group : groups_writing_to(pipes)) kill(-group, SIGKILL);
}

/// The guard is gone: what it ran is killed, and fails; the next command starts another one.
void CommandRunner::Impl::guard_lost() {
  std::vector<std::shared_ptr<Running>> lost;
  int status = 0;
  {
    const std::lock_guard guard(lock_);
    guard_.reset();
    kill(guard_pid_, SIGKILL);  // one that lives without its socket serves nobody
    waitpid(guard_pid_, &status, 0);
    stops_due_ = 0;
    for (const auto& [id, running] : running_) {
      if (!running->end) lost.push_back(running);
    }
    all_gone_.notify_all();
  }
  kill_groups_of(lost);
  for (const auto& running : lost) {
    drain(*running);
    running->output.reset();
    CommandEnd end;
    end.failure = describe_guard_end(status);
    ended(*running, std::move(end));
  }
}

void CommandRunner::Impl::read_output(Running& running) {
  const ssize_t count = read(running.output.get(), buffer_.data(), buffer_.size());
  if (count > 0) {
    if (running.reported) return;
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    running.last_output.add(bytes);
    running.on_output(bytes);
  } else if (count == 0) {
    running.output.reset();
    if (running.end) report(running);
  }
}

/// Takes what lies in the pipe now.
void CommandRunner::Impl::drain(Running& running) {
  int pending = 0;
  for (std::size_t total = 0; total < most_pending_output && running.output; total += static_cast<std::size_t>(pending)) {
    if (ioctl(running.output.get(), FIONREAD, &pending) != 0 || pending == 0) return;
    pending = std::min(pending, static_cast<int>(buffer_.size()));
    read_output(running);
  }
}

void CommandRunner::Impl::ended(Running& running, CommandEnd end) {
  end.millis = millis_since(running.requested);
  {
    const std::lock_guard guard(lock_);
    end.stopped = running.stop_requested;
    end.timed_out = running.timed_out;
    running.end = std::move(end);
  }
  if (running.output) {
    overdue_at_.emplace(Clock::now() + output_patience, running.id);
  } else {
    report(running);
  }
}

/// Once: how it ended. Again, when what it left behind has closed the output too: forgets it.
void CommandRunner::Impl::report(Running& running) {
  if (!running.reported) {
    running.reported = true;
    CommandEnd end = *running.end;
    end.last_output = running.last_output.take();
    const auto on_end = std::exchange(running.on_end, nullptr);
    on_end(std::move(end));
    running.on_output = nullptr;
    const std::lock_guard guard(lock_);
    --unreported_;
    all_gone_.notify_all();
  }
  const std::lock_guard guard(lock_);
  if (!running.output) running_.erase(running.id);
}

void CommandRunner::Impl::report_overdue() {
  while (!overdue_at_.empty() && overdue_at_.begin()->first <= Clock::now()) {
    const auto running = find(overdue_at_.begin()->second);
    overdue_at_.erase(overdue_at_.begin());
    if (!running || running->reported) continue;
    drain(*running);
    report(*running);
  }
}

/// Ends commands whose time limit has passed.
void CommandRunner::Impl::stop_late() {
  const std::lock_guard guard(lock_);
  while (!limits_.empty() && limits_.begin()->first <= Clock::now()) {
    const auto found = running_.find(limits_.begin()->second);
    limits_.erase(limits_.begin());
    if (found == running_.end() || found->second->end || !guard_) continue;
    found->second->timed_out = true;
    ask_to_stop(found->first, grace_millis_after_limit);
  }
}

int CommandRunner::Impl::timeout() {
  auto next = overdue_at_.empty() ? Clock::time_point::max() : overdue_at_.begin()->first;
  {
    const std::lock_guard guard(lock_);
    if (!limits_.empty()) next = std::min(next, limits_.begin()->first);
  }
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, std::numeric_limits<int>::max()));
}

std::shared_ptr<Running> CommandRunner::Impl::find(Id id) {
  const std::lock_guard guard(lock_);
  const auto found = running_.find(id);
  return found == running_.end() ? nullptr : found->second;
}

CommandRunner::CommandRunner() : impl_(std::make_shared<Impl>()) {}
CommandRunner::~CommandRunner() = default;

CommandRunner::Id CommandRunner::start(CommandRequest request, OnOutput on_output, OnEnd on_end) {
  return impl_->start(std::move(request), std::move(on_output), std::move(on_end));
}
void CommandRunner::stop(Id command, std::int64_t grace_seconds) { impl_->stop(command, grace_seconds); }
void CommandRunner::stop_all(std::int64_t grace_seconds) { impl_->stop_all(grace_seconds); }
void CommandRunner::hold(int fd) { impl_->hold(fd); }
void CommandRunner::release(int fd) { impl_->release(fd); }

}  // namespace digdag::command
