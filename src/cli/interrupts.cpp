#include "cli/interrupts.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace digdag::cli {
namespace {

/// What the end takes besides the time that tasks were given.
constexpr std::chrono::seconds patience(10);

/// SIGUSR2 only wakes the thread.
sigset_t signals_to_watch() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR2);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction inherited {};
    // A blocked signal waits for us even where it is ignored.
    if (sigaction(signal, nullptr, &inherited) == 0 && inherited.sa_handler == SIG_IGN) continue;
    sigaddset(&signals, signal);
  }
  return signals;
}

}  // namespace

Interrupts::Interrupts(std::function<void()> on_first) : on_first_(std::move(on_first)), watched_(signals_to_watch()) {
  pthread_sigmask(SIG_BLOCK, &watched_, &before_);
  thread_ = Thread("signals", [this] { wait(); });
}

Interrupts::~Interrupts() {
  ending_ = true;
  thread_.signal(SIGUSR2);
  thread_.join();
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Interrupts::wait_for(std::chrono::seconds grace) {
  constexpr std::chrono::seconds most = std::chrono::years(1);  // what a clock can add
  end_by_ = std::chrono::steady_clock::now() + std::min(grace, most) + patience;
}

void Interrupts::wait() {
  using std::chrono::steady_clock;
  for (;;) {
    int signal = 0;
    if (signal_ == 0) {
      if (sigwait(&watched_, &signal) != 0) continue;
    } else {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(end_by_.load() - steady_clock::now()).count();
      const timespec limit{std::max<std::int64_t>(left, 0) / 1000, std::max<std::int64_t>(left, 0) % 1000 * 1'000'000};
      signal = sigtimedwait(&watched_, nullptr, &limit);
    }
    if (ending_) return;
    if (signal == SIGUSR2 || (signal < 0 && steady_clock::now() < end_by_.load())) continue;
    // The second one; or standard output takes nothing more, or a request does not end.
    if (signal_ != 0) _exit(128 + (signal > 0 ? signal : static_cast<int>(signal_)));
    signal_ = signal;
    wait_for(std::chrono::seconds(0));
    on_first_();
  }
}

}  // namespace digdag::cli
