#include "agent/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>

#include "base/eventually_for_test.h"

namespace digdag::agent {
namespace {

using std::chrono::milliseconds;

TEST(ThreadPool, RunsEveryJobWithFewThreads) {
  std::atomic<int> done = 0;
  std::mutex mutex;
  std::set<unsigned> slots;
  {
    ThreadPool pool({.steady = 2});
    for (int i = 0; i < 10'000; ++i)
      pool.post([&](unsigned slot) {
        if (++done % 100 != 0) return;
        const std::lock_guard lock(mutex);
        slots.insert(slot);
      });
  }
  EXPECT_EQ(done, 10'000);
  EXPECT_GE(*slots.begin(), 1u);
}

TEST(ThreadPool, GrowsWhenAllItsThreadsAreHeldUp) {
  std::atomic<bool> release = false;
  std::atomic<int> held = 0, passed = 0;
  ThreadPool pool({.steady = 2});
  for (int i = 0; i < 5; ++i)
    pool.post([&](unsigned) {
      ++held;
      while (!release) std::this_thread::sleep_for(milliseconds(1));
    });
  for (int i = 0; i < 100; ++i) pool.post([&](unsigned) { ++passed; });
  EXPECT_TRUE(eventually([&] { return passed == 100; }));
  EXPECT_EQ(held, 5);
  release = true;
}

TEST(ThreadPool, DoesNotGrowBeyondItsLimit) {
  std::atomic<bool> release = false;
  std::atomic<int> held = 0, held_elsewhere = 0;
  const auto hold = [&](std::atomic<int>& count) {
    return [&](unsigned) {
      ++count;
      while (!release) std::this_thread::sleep_for(milliseconds(1));
    };
  };
  ThreadPool pool({.steady = 1, .most = 3}), other({.steady = 1});
  for (int i = 0; i < 10; ++i) pool.post(hold(held));
  EXPECT_TRUE(eventually([&] { return held == 3; }));
  for (int i = 0; i < 40; ++i) other.post(hold(held_elsewhere));
  EXPECT_TRUE(eventually([&] { return held_elsewhere == 40; })) << "time enough for the first one to grow, too";
  EXPECT_EQ(held, 3);
  release = true;
}

TEST(ThreadPool, BlockingJobsHaveAThreadEach) {
  std::atomic<bool> release = false;
  std::atomic<int> held = 0;
  ThreadPool pool({.grows_at_once = true});
  for (int i = 0; i < 50; ++i)
    pool.post([&](unsigned) {
      ++held;
      while (!release) std::this_thread::sleep_for(milliseconds(1));
    });
  EXPECT_TRUE(eventually([&] { return held == 50; }));
  release = true;
}

TEST(ThreadPool, IdleThreadsAreUsedAgain) {
  std::atomic<int> done = 0;
  std::mutex mutex;
  std::set<unsigned> slots;
  ThreadPool pool({.grows_at_once = true});
  int posted = 0;
  EXPECT_TRUE(eventually([&] {
    pool.post([&](unsigned slot) {
      const std::lock_guard lock(mutex);
      slots.insert(slot);
      ++done;
    });
    ++posted;
    return eventually([&] { return done == posted; }) && slots.size() < static_cast<std::size_t>(posted);
  }));
}

TEST(ThreadPool, AJobMayPostAnother) {
  std::atomic<int> done = 0;
  std::function<void(unsigned)> next;
  {
    ThreadPool pool({.steady = 1});
    next = [&](unsigned) {
      if (++done < 100) pool.post(next);
    };
    pool.post(next);
    ASSERT_TRUE(eventually([&] { return done == 100; }));
  }
  EXPECT_EQ(done, 100);
}

}  // namespace
}  // namespace digdag::agent
