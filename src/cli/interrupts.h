#pragma once

#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>

#include "base/thread.h"

namespace digdag::cli {

/// Ctrl-C and SIGTERM as an event. While it lives, SIGINT, SIGTERM and SIGHUP (and SIGUSR2, which does nothing) are blocked in this
/// thread and all made after it, and wait for a thread of its own, except those that were ignored before (`nohup`, background jobs of
/// scripts), which stay so. The first signal calls `on_first`; a second one, or the process still being there 10 s later, ends it at
/// once (what it started is ended by the guard then). Make it before any other thread.
class Interrupts {
 public:
  explicit Interrupts(std::function<void()> on_first);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// The first signal; 0 where none came.
  int signal() const { return signal_; }
  /// The end may take this long from now, as tasks were given that time to end.
  void wait_for(std::chrono::seconds grace);

 private:
  void wait();
  const std::function<void()> on_first_;
  const sigset_t watched_;
  sigset_t before_{};  ///< the signals that were blocked then
  std::atomic<int> signal_ = 0;
  std::atomic<bool> ending_ = false;
  std::atomic<std::chrono::steady_clock::time_point> end_by_{};  ///< once there was a signal
  Thread thread_;
};

}  // namespace digdag::cli
