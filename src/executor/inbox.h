#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "executor/round.h"

namespace digdag::executor {

/// What other threads hand in to the executor's loop, and where it sleeps while there is nothing. Thread-safe.
class Inbox {
 public:
  struct Arrivals {
    std::vector<Added> added;
    std::vector<QueuedEvent> events;
    std::vector<Written> written;
    bool drop_all = false;  ///< all attempts that the loop has are to be forgotten; `added` came later
  };

  void push(QueuedEvent event);
  /// The event and `with_it` are seen together, or neither.
  void push(QueuedEvent event, const std::function<void()>& with_it);
  /// What was handed in for it from its rows is forgotten: it comes again after it, where it still counts.
  void push(Added added);
  void push(Written written);
  /// All that the loop has is to be forgotten, and what was added and not taken yet: that is given back.
  std::vector<Added> drop_all();
  Arrivals take();

  /// Waits until something has arrived or `over` holds, for at most `millis`; calls `before_sleep` first where it must. False where the
  /// loop is interrupted, or it is over and nothing is left. `over` is asked again after `wake`.
  bool wait(std::optional<std::int64_t> millis, const std::function<bool()>& over, const std::function<void()>& before_sleep);
  /// False where the loop is interrupted meanwhile. From any thread.
  bool pause(std::chrono::milliseconds time);
  bool interrupted() const;
  void interrupt();
  /// Makes the loop look whether it is over: call after the change.
  void wake();

 private:
  bool is_empty() const;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;          ///< the loop alone waits for it: one wake-up is never taken by another
  std::condition_variable was_interrupted_;  ///< of those that pause
  Arrivals arrivals_;
  bool interrupted_ = false;
};

}  // namespace digdag::executor
