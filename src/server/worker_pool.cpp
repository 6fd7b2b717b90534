#include "server/worker_pool.h"

#include <chrono>
#include <utility>

#include "base/error.h"

namespace digdag::server {

bool WorkerPool::submit(std::function<void()> work) {
  std::list<Thread> ended;  // joined outside of the lock
  const std::lock_guard lock(mutex_);
  ended.swap(ended_);
  if (stopping_ || waiting_.size() >= most_waiting_ + idle_) return false;
  waiting_.push_back(std::move(work));
  if (waiting_.size() > idle_ && threads_.size() < most_threads_) {
    const auto self = threads_.emplace(threads_.end());
    try {
      *self = Thread("HTTP requests", [this, self] { run(self); });
    } catch (const Error&) {
      threads_.erase(self);
      if (threads_.empty()) {
        waiting_.pop_back();
        return false;
      }
    }
  }
  work_came_.notify_one();
  return true;
}

void WorkerPool::run(std::list<Thread>::iterator self) {
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_;
    const bool woken = work_came_.wait_for(lock, std::chrono::seconds(10), [this] { return !waiting_.empty() || stopping_; });
    --idle_;
    if (!woken || waiting_.empty()) break;
    {
      const std::function<void()> work = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      work();
    }
    lock.lock();
  }
  ended_.splice(ended_.end(), threads_, self);
  thread_ended_.notify_all();
}

void WorkerPool::stop() {
  std::list<Thread> ended;
  std::unique_lock lock(mutex_);
  stopping_ = true;
  work_came_.notify_all();
  thread_ended_.wait(lock, [this] { return threads_.empty(); });
  ended.swap(ended_);
  lock.unlock();
}

}  // namespace digdag::server
