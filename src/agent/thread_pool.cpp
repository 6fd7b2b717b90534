#include "agent/thread_pool.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <system_error>

#include "base/fair_queue.h"
#include "base/thread.h"

namespace digdag::agent {
namespace {

constexpr auto idle_time = std::chrono::seconds(5);
constexpr auto stuck_time = std::chrono::milliseconds(2);

std::system_error no_thread() { return {EAGAIN, std::generic_category(), "cannot start a thread for tasks"}; }

}  // namespace

struct ThreadPool::Impl {
  explicit Impl(Options wanted) : options(wanted) {}

  const Options options;
  std::mutex mutex;
  std::condition_variable work;       ///< a job waits, or the pool closes
  std::condition_variable gone;       ///< a thread ended
  std::condition_variable unsettled;  ///< for the watcher: jobs wait and no thread is free
  FairQueue<Job> jobs;
  std::set<unsigned> slots;  ///< of living workers
  std::size_t idle = 0;
  std::size_t threads = 0;  ///< living ones, the watcher included
  std::uint64_t taken = 0;  ///< jobs, ever
  bool watched = false;
  bool watcher_sleeps = false;  ///< and must be told of jobs that wait
  bool closing = false;

  struct Start {
    Impl* pool;
    unsigned slot;  ///< 0: the watcher
  };

  static void* thread_main(void* argument) {
    const std::unique_ptr<Start> start(static_cast<Start*>(argument));
    if (start->slot == 0)
      start->pool->watch();
    else
      start->pool->work_off(start->slot);
    return nullptr;
  }

  /// With the lock held. False where the system refuses a thread.
  bool start_thread(unsigned slot) {
    auto start = std::make_unique<Start>(Start{this, slot});
    if (start_detached_thread(thread_main, start.get()) != 0) return false;
    static_cast<void>(start.release());
    ++threads;
    return true;
  }

  bool start_worker() {
    unsigned slot = 1;
    for (const unsigned used : slots) {
      if (used != slot) break;
      ++slot;
    }
    if (!start_thread(slot)) return false;
    slots.insert(slot);
    return true;
  }

  void work_off(unsigned slot) {
    std::unique_lock lock(mutex);
    while (true) {
      if (jobs.empty()) {
        if (closing) break;
        ++idle;
        const bool woken = work.wait_for(lock, idle_time, [&] { return closing || !jobs.empty(); });
        --idle;
        if (!woken && slots.size() > least()) break;
        continue;
      }
      Job job = jobs.pop().second;
      ++taken;
      if (!options.grows_at_once && overloaded()) call_watcher();  // at the post this thread may have counted as idle
      lock.unlock();
      job(slot);
      job = nullptr;
      lock.lock();
    }
    slots.erase(slot);
    --threads;
    gone.notify_all();
  }

  std::size_t least() const { return options.steady > 0 ? 1 : 0; }
  bool overloaded() const { return !jobs.empty() && idle == 0; }

  /// Adds a thread whenever jobs wait and none of them was taken for a while: all threads are held up by something.
  void watch() {
    std::unique_lock lock(mutex);
    while (true) {
      watcher_sleeps = true;
      const bool woken = unsettled.wait_for(lock, idle_time, [&] { return closing || overloaded(); });
      watcher_sleeps = false;
      if (!woken || closing) break;
      const std::uint64_t before = taken;
      unsettled.wait_for(lock, stuck_time, [&] { return closing; });
      if (!closing && overloaded() && taken == before && slots.size() < options.most) start_worker();
    }
    watched = false;
    --threads;
    gone.notify_all();
  }

  void call_watcher() {
    if (!watched) watched = start_thread(0);
    if (watcher_sleeps) unsettled.notify_one();
  }

  void grow(std::int64_t line) {
    if (options.grows_at_once || slots.size() < options.steady) {
      if (jobs.size() > idle && !start_worker() && slots.empty()) {
        jobs.unpush(line);
        throw no_thread();
      }
    } else if (idle == 0) {
      call_watcher();
    }
  }
};

ThreadPool::ThreadPool(Options options) : impl_(std::make_unique<Impl>(options)) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->least() > 0 && !impl_->start_worker()) throw no_thread();
}

ThreadPool::~ThreadPool() {
  std::unique_lock lock(impl_->mutex);
  impl_->closing = true;
  impl_->work.notify_all();
  impl_->unsettled.notify_all();
  impl_->gone.wait(lock, [&] { return impl_->threads == 0; });
}

void ThreadPool::post(Job job, std::int64_t line) {
  const std::lock_guard lock(impl_->mutex);
  impl_->jobs.push(line, std::move(job));
  impl_->grow(line);
  if (impl_->idle > 0) impl_->work.notify_one();
}

}  // namespace digdag::agent
