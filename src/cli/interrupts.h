#pragma once

#include <atomic>
#include <functional>
#include <thread>

namespace digdag::cli {

/// Ctrl-C and SIGTERM as an event. While it lives, SIGINT, SIGTERM and SIGHUP are blocked in all threads made after it and wait for
/// a thread of its own: the first signal calls `on_first`, a second one ends the process at once (what it started is ended
/// by the guard then). Make it before any other thread.
class Interrupts {
 public:
  explicit Interrupts(std::function<void()> on_first);
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  /// The first signal; 0 where none came.
  int signal() const { return signal_; }

 private:
  void wait();
  std::function<void()> on_first_;
  std::atomic<int> signal_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace digdag::cli
