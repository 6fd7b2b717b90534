#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "base/fair_queue.h"
#include "engine/attempt.h"

namespace digdag::executor {

/// Which runs get a place at the agent, and which wait for one: attempts take turns, each in the order of its runs (spec/decisions.md
/// E-47). For the loop's thread, but for `free_place`, `try_take`, `close` and what only tells.
class Handouts {
 public:
  /// `places`: runs at the same time.
  explicit Handouts(std::int64_t places) : free_(places) {}

  void wait(std::int64_t attempt, const engine::Run& run);
  /// The run whose turn it is, with a place; nothing where none waits or no place is free.
  std::optional<std::pair<std::int64_t, engine::Run>> next();
  /// Takes out a run that waits; false where it does not.
  bool remove(std::int64_t attempt, engine::TaskIndex task, engine::Lease lease);
  /// All runs of an attempt that wait, in their order.
  std::deque<engine::Run> take_out(std::int64_t attempt);

  std::size_t waiting() const { return waiting_; }
  /// Whether `next` has one.
  bool has_next() const { return waiting_ > 0 && free_ > 0 && !closed_ && !held_; }

  /// A run has ended. From any thread.
  void free_place() {
    --taken_;
    ++free_;
  }
  /// Takes up to `wanted` places at once, past the line where nobody stands in it. From any thread.
  std::int64_t try_take(std::int64_t wanted) { return waiting_ > 0 ? 0 : take(wanted); }
  /// From now on nothing gets a place. From any thread.
  void close() { closed_ = true; }
  bool closed() const { return closed_; }
  /// While held nothing gets a place. From any thread.
  void hold(bool held) { held_ = held; }
  std::int64_t taken() const { return taken_; }

 private:
  std::int64_t take(std::int64_t wanted);
  void count() { waiting_ = runs_.size(); }

  FairQueue<engine::Run> runs_;
  std::atomic<std::size_t> waiting_ = 0;  ///< the size of `runs_`
  std::atomic<std::int64_t> free_;
  std::atomic<std::int64_t> taken_ = 0;
  std::atomic<bool> closed_ = false, held_ = false;
};

}  // namespace digdag::executor
