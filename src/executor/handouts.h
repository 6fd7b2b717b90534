#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <utility>

#include "engine/attempt.h"

namespace digdag::executor {

/// Which runs get a place at the agent, and which wait for one: attempts take turns, each in the order of its runs, so that an
/// attempt of 100,000 tasks does not hold up a small one (spec/decisions.md E-47). For the loop's thread, but for `free_place`, `try_take`
/// and `close`.
class Handouts {
 public:
  /// `places`: runs at the same time.
  explicit Handouts(std::int64_t places) : free_(places) {}

  void wait(std::int64_t attempt, const engine::Run& run);
  /// The run whose turn it is, with a place; nothing where none waits or no place is free.
  std::optional<std::pair<std::int64_t, engine::Run>> next();
  /// Takes out a run that waits; false where it does not.
  bool remove(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease);
  void forget(std::int64_t attempt);
  std::size_t waiting() const { return waiting_count_; }

  /// A run has ended. From any thread.
  void free_place() {
    --taken_;
    ++free_;
  }
  /// Takes up to `wanted` places at once, past the line where nobody stands in it. From any thread.
  std::int64_t try_take(std::int64_t wanted) { return try_take(wanted, false); }
  /// From now on nothing gets a place. From any thread.
  void close() { closed_ = true; }
  bool closed() const { return closed_; }
  std::int64_t taken() const { return taken_; }

 private:
  std::int64_t try_take(std::int64_t wanted, bool in_line);

  std::atomic<std::int64_t> free_;
  std::atomic<std::int64_t> taken_ = 0;
  std::atomic<std::size_t> waiting_count_ = 0;
  std::atomic<bool> closed_ = false;
  std::unordered_map<std::int64_t, std::deque<engine::Run>> waiting_;
  std::deque<std::int64_t> turns_;  ///< attempts that have a run in `waiting_`, each once
};

}  // namespace digdag::executor
