#pragma once

#include <pthread.h>
#include <signal.h>

#include <cstddef>
#include <functional>
#include <string_view>

namespace digdag {

/// Stack of our threads. The usual size is that of `ulimit -s`, which may be tiny, or too large to be had many times.
#ifdef DIGDAG_SANITIZED
inline constexpr std::size_t thread_stack_bytes = 4 << 20;  // instrumented frames are large
#else
inline constexpr std::size_t thread_stack_bytes = 256 << 10;
#endif

/// Starts `main(argument)` on a detached thread of that stack size; gives the errno, 0 where it runs.
int start_detached_thread(void* (*main)(void*), void* argument);

/// A thread of that stack size that takes no signals: those belong to whoever waits for them. Joined at the latest when the
/// object ends.
class Thread {
 public:
  Thread() = default;
  /// Error(kind "runtime") `Cannot start a thread for <purpose>: …` where the system refuses it.
  Thread(std::string_view purpose, std::function<void()> main);
  Thread(Thread&& other) noexcept;
  Thread& operator=(Thread&& other) noexcept;
  ~Thread() { join(); }

  bool running() const { return running_; }
  void join();
  /// Where it runs.
  void signal(int number) const { pthread_kill(id_, number); }

 private:
  pthread_t id_{};
  bool running_ = false;
};

}  // namespace digdag
