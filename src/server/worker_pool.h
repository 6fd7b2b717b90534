#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>

#include "base/thread.h"

namespace digdag::server {

/// Threads for work that may block: made when there is work for them, ended when there has been none for a while. Thread-safe.
class WorkerPool {
 public:
  WorkerPool(std::size_t most_threads, std::size_t most_waiting) : most_threads_(most_threads), most_waiting_(most_waiting) {}
  ~WorkerPool() { stop(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// False where too much work waits already, or no thread can be had for it. `work` throws nothing.
  bool submit(std::function<void()> work);
  /// Does what was submitted and waits for it; then nothing is taken any more.
  void stop();

 private:
  void run(std::list<Thread>::iterator self);

  const std::size_t most_threads_, most_waiting_;
  std::mutex mutex_;
  std::condition_variable work_came_, thread_ended_;
  std::deque<std::function<void()>> waiting_;
  std::list<Thread> threads_, ended_;
  std::size_t idle_ = 0;
  bool stopping_ = false;
};

}  // namespace digdag::server
