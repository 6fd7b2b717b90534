#include "dig/script_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "dig/frame.h"

namespace digdag::dig {
namespace {

using Clock = std::chrono::steady_clock;

/// The worker keeps the time limit of each evaluation itself; where it does not answer so much later, it is taken for lost.
constexpr std::chrono::milliseconds grace{5000};

/// Each text is evaluated up to three times: with others, alone, and where a name is looked for in the levels around it, too.
std::int64_t evaluations_of(const Value& request) {
  const Value* const texts = request.find("texts");
  return texts && texts->is_array() ? 3 * static_cast<std::int64_t>(texts->as_array().size()) : 1;
}

/// One worker process.
class Process {
 public:
  Process() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) fail(errno);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, 0, 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 3);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, defaults;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    char name[] = "digdag", option[] = "--js-worker";
    char* arguments[] = {name, option, nullptr};
    // Functions of libraries are bound once, not in each fork.
    char bind_now[] = "LD_BIND_NOW=1";
    std::vector<char*> environment{bind_now};
    for (char** variable = environ; *variable; ++variable) environment.push_back(*variable);
    environment.push_back(nullptr);
    const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, &attributes, arguments, environment.data());
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    fd_ = ends[0];
    if (error != 0) {
      close(fd_);
      fail(error);
    }
  }

  ~Process() {
    close(fd_);
    end();
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  FrameEnd ask(const std::string& request, std::string& answer, std::int64_t timeout_millis) const {
    if (!write_frame(fd_, request, Channel::socket)) return FrameEnd::closed;
    return read_frame(fd_, answer, Clock::now() + std::chrono::milliseconds(timeout_millis) + grace);
  }

  /// Ends it and what it evaluates; whoever asked is answered `closed`.
  void end() const { kill(-pid_, SIGKILL); }

  /// ` by signal 9`, where it has been ended by one.
  std::string why_gone() const {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0 || info.si_code == CLD_EXITED)
      return "";
    return " by signal " + std::to_string(info.si_status);
  }

 private:
  [[noreturn]] static void fail(int error) {
    throw Error("runtime", std::string("the JavaScript worker cannot be started: ") + strerror(error));
  }
  pid_t pid_ = -1;
  int fd_ = -1;
};

}  // namespace

struct ScriptWorker::Impl {
  std::mutex mutex;
  std::condition_variable freed;
  std::vector<std::unique_ptr<Process>> idle;
  std::vector<const Process*> busy;
  std::size_t running = 0;  ///< idle and busy ones
  bool interrupted = false;
  const std::size_t most = std::max(1u, std::thread::hardware_concurrency());

  Impl() {
    // So that no memory is needed, which may be missing, where processes change hands.
    idle.reserve(most);
    busy.reserve(most);
  }

  std::unique_ptr<Process> take() {
    std::unique_lock lock(mutex);
    freed.wait(lock, [&] { return interrupted || !idle.empty() || running < most; });
    check_interrupt();
    std::unique_ptr<Process> process;
    if (!idle.empty()) {
      process = std::move(idle.back());
      idle.pop_back();
    } else {
      ++running;
      lock.unlock();
      process = started();
      lock.lock();
      if (interrupted) {
        --running;
        freed.notify_one();
        check_interrupt();
      }
    }
    busy.push_back(process.get());
    return process;
  }
  void give_back(std::unique_ptr<Process> process) {
    const std::lock_guard lock(mutex);
    std::erase(busy, process.get());
    idle.push_back(std::move(process));
    freed.notify_one();
  }
  void drop(const Process* process) {
    const std::lock_guard lock(mutex);
    std::erase(busy, process);
    --running;
    freed.notify_one();
  }
  void refuse_interrupted() {
    const std::lock_guard lock(mutex);
    check_interrupt();
  }
  /// A process for one request: it ends with this unless it is given back, whatever is thrown.
  class Lease {
   public:
    explicit Lease(Impl& pool) : pool_(pool), process_(pool.take()) {}
    ~Lease() {
      if (process_) pool_.drop(process_.get());
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;

    const Process& process() const { return *process_; }
    void give_back() { pool_.give_back(std::move(process_)); }

   private:
    Impl& pool_;
    std::unique_ptr<Process> process_;
  };

  void interrupt() {
    const std::lock_guard lock(mutex);
    interrupted = true;
    for (const Process* process : busy) process->end();
    freed.notify_all();
  }

 private:
  std::unique_ptr<Process> started() {
    try {
      return std::make_unique<Process>();
    } catch (...) {
      drop(nullptr);
      throw;
    }
  }
  /// With the lock held.
  void check_interrupt() const {
    if (interrupted) throw Error("config", "evaluation was interrupted");
  }
};

ScriptWorker::ScriptWorker() : impl_(std::make_unique<Impl>()) {}
ScriptWorker::~ScriptWorker() = default;

void ScriptWorker::interrupt() { impl_->interrupt(); }

Value ScriptWorker::request(const Value& message, const Limits& limits) {
  Value request = message;
  request.mutable_object().set("timeout_millis", limits.timeout_millis);
  request.mutable_object().set("memory_bytes", limits.memory_bytes);
  const std::string text = to_json(request);
  std::string answer, why;
  // A worker that was killed while it was idle is no fault of this request: it is asked of another one, once.
  for (int attempt = 0; attempt < 2; ++attempt) {
    FrameEnd end = FrameEnd::closed;
    {
      Impl::Lease lease(*impl_);
      end = lease.process().ask(text, answer, limits.timeout_millis * evaluations_of(message));
      if (end == FrameEnd::complete) lease.give_back();
      if (end == FrameEnd::closed) why = lease.process().why_gone();
    }
    if (end == FrameEnd::complete) {
      Value reply = parse_json(answer);
      if (const Value* const failed = reply.find("failed")) throw Error("config", "evaluation failed: " + failed->as_string());
      return reply;
    }
    impl_->refuse_interrupted();
    if (end == FrameEnd::timeout)
      throw Error("config", "evaluation took longer than " + std::to_string(limits.timeout_millis / 1000) + "s");
  }
  throw Error("config", why.empty() ? "the JavaScript worker ended" : "evaluation died" + why);
}

}  // namespace digdag::dig
