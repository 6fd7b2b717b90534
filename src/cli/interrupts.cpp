#include "cli/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace digdag::cli {
namespace {

sigset_t watched_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR2}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

Interrupts::Interrupts(std::function<void()> on_first) : on_first_(std::move(on_first)) {
  const sigset_t signals = watched_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  thread_ = std::thread([this] { wait(); });
}

Interrupts::~Interrupts() {
  ending_ = true;
  pthread_kill(thread_.native_handle(), SIGUSR2);  // only wakes the thread
  thread_.join();
}

void Interrupts::wait() {
  const sigset_t signals = watched_signals();
  for (;;) {
    int signal = 0;
    if (sigwait(&signals, &signal) != 0) continue;
    if (ending_) return;
    if (signal == SIGUSR2) continue;
    if (signal_ != 0) _exit(128 + signal);
    signal_ = signal;
    on_first_();
  }
}

}  // namespace digdag::cli
