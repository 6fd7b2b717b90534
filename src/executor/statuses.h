#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>

namespace digdag::executor {

/// How an attempt stands.
struct AttemptStatus {
  bool known = false, done = false, success = false;
  std::string failure;  ///< once it is done: its first failed task and why, in one line: `+w+task: message; hint`
};

/// Of the attempts that are under way here, and of the last ones that ended. Thread-safe.
class Statuses {
 public:
  /// `remembered`: attempts that are done and still known.
  explicit Statuses(std::size_t remembered) : remembered_(remembered) {}

  void begin(std::int64_t attempt) { set(attempt, {.known = true}); }
  void set(std::int64_t attempt, AttemptStatus status) {
    const std::lock_guard lock(mutex_);
    if (status.done) {
      done_.push_back(attempt);
      while (done_.size() > remembered_) {
        statuses_.erase(done_.front());
        done_.pop_front();
      }
    }
    statuses_[attempt] = std::move(status);
  }
  void forget(std::int64_t attempt) {
    const std::lock_guard lock(mutex_);
    statuses_.erase(attempt);
  }
  AttemptStatus find(std::int64_t attempt) const {
    const std::lock_guard lock(mutex_);
    const auto found = statuses_.find(attempt);
    return found == statuses_.end() ? AttemptStatus{} : found->second;
  }

 private:
  const std::size_t remembered_;
  mutable std::mutex mutex_;
  std::unordered_map<std::int64_t, AttemptStatus> statuses_;
  std::deque<std::int64_t> done_;  ///< in the order in which they ended
};

}  // namespace digdag::executor
