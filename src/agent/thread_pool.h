#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace digdag::agent {

/// Threads with small stacks that run jobs in the order of their coming; lines of jobs take turns. Threads are made when jobs wait and end
/// when they were idle for some seconds. Thread-safe.
class ThreadPool {
 public:
  /// `slot` numbers the thread: the smallest number from 1 on that no other living thread of the pool has.
  using Job = std::function<void(unsigned slot)>;

  struct Options {
    std::size_t steady = 0;      ///< so many threads at once for waiting jobs (one from the start); more when no job was taken for 2 ms
    bool grows_at_once = false;  ///< a thread for each job that waits (jobs that block for long)
    std::size_t most = 256;      ///< threads, where it grows because it is stuck
  };

  /// Throws std::system_error where not even one thread can be made.
  explicit ThreadPool(Options options);
  /// Runs what waits, then joins the threads. Nothing may be posted from outside of its jobs any more.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// `line`: jobs of other lines do not wait for all of this one. Throws std::system_error where there is no thread and none can be
  /// made; not with `steady`.
  void post(Job job, std::int64_t line = 0);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::agent
