#include "base/thread.h"

#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "base/error.h"

namespace digdag {
namespace {

int start_thread(pthread_t& id, int detached, void* (*main)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, thread_stack_bytes);
  pthread_attr_setdetachstate(&attributes, detached);
  const int error = pthread_create(&id, &attributes, main, argument);
  pthread_attr_destroy(&attributes);
  return error;
}

void* run(void* argument) {
  const std::unique_ptr<std::function<void()>> main(static_cast<std::function<void()>*>(argument));
  (*main)();
  return nullptr;
}

Error cannot_start(std::string_view purpose, int error) {
  return Error("runtime", "Cannot start a thread for " + std::string(purpose) + ": " + std::strerror(error))
      .hint("raise the limit of processes (`ulimit -u`), of memory (`ulimit -v`), or those of the container");
}

}  // namespace

int start_detached_thread(void* (*main)(void*), void* argument) {
  pthread_t id;
  return start_thread(id, PTHREAD_CREATE_DETACHED, main, argument);
}

Thread::Thread(std::string_view purpose, std::function<void()> main) {
  auto owned = std::make_unique<std::function<void()>>(std::move(main));
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = start_thread(id_, PTHREAD_CREATE_JOINABLE, run, owned.get());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) throw cannot_start(purpose, error);
  static_cast<void>(owned.release());
  running_ = true;
}

Thread::Thread(Thread&& other) noexcept : id_(other.id_), running_(std::exchange(other.running_, false)) {}

Thread& Thread::operator=(Thread&& other) noexcept {
  join();
  id_ = other.id_;
  running_ = std::exchange(other.running_, false);
  return *this;
}

void Thread::join() {
  if (std::exchange(running_, false)) pthread_join(id_, nullptr);
}

}  // namespace digdag
