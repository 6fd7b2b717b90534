#include "base/thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <csignal>

#include "base/error.h"
#include "base/memory_end.h"

namespace digdag {
namespace {

std::size_t stack_of_this_thread() {
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  std::size_t bytes = 0;
  void* begin = nullptr;
  pthread_attr_getstack(&attributes, &begin, &bytes);
  pthread_attr_destroy(&attributes);
  return bytes;
}

TEST(Thread, HasAStackOfItsOwnSizeAndTakesNoSignals) {
  std::size_t stack = 0;
  sigset_t blocked;
  Thread thread("a test", [&] {
    stack = stack_of_this_thread();
    pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  });
  thread.join();
  EXPECT_EQ(stack, thread_stack_bytes);
  EXPECT_EQ(sigismember(&blocked, SIGTERM), 1);
}

TEST(Thread, IsJoinedAtItsEnd) {
  std::atomic<int> done = 0;
  {
    Thread one("a test", [&] { ++done; });
    Thread moved = std::move(one);
    EXPECT_FALSE(one.running());
    moved = Thread("a test", [&] { ++done; });
  }
  EXPECT_EQ(done, 2);
}

#ifndef DIGDAG_SANITIZED
/// Ends the process with 7 where a thread that cannot be had says why.
void start_a_thread_without_memory() {
  rlimit none{};
  setrlimit(RLIMIT_AS, &none);
  try {
    Thread thread("a test", [] {});
  } catch (const Error& error) {
    _exit(error.message() == "Cannot start a thread for a test: Resource temporarily unavailable" ? 7 : 8);
  }
}

void run_out_of_memory_in_a_thread() {
  tell_when_memory_ends();
  Thread("a test", [] { throw std::bad_alloc(); }).join();
}

TEST(ThreadDeathTest, ThatCannotBeStartedSaysWhy) { EXPECT_EXIT(start_a_thread_without_memory(), testing::ExitedWithCode(7), ""); }

TEST(MemoryEndDeathTest, InAThreadEndsTheProgramWithAnError) {
  EXPECT_EXIT(run_out_of_memory_in_a_thread(), testing::ExitedWithCode(1), "^error: out of memory\nhint: raise the limit of memory");
}
#endif

}  // namespace
}  // namespace digdag
