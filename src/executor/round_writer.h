#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "agent/thread_pool.h"
#include "base/log.h"
#include "executor/inbox.h"
#include "executor/round.h"

namespace digdag::executor {

/// Stores what a round did: the changes of all attempts in one commit, a large one in steps beside the loop.
class RoundWriter {
 public:
  /// Runs something beside the loop.
  using Beside = std::function<void(std::function<void()>)>;

  /// `pause`: between two tries while the database cannot take a commit. `beside`: unset: on a thread of its own. `inbox`: gets what was
  /// written beside the loop.
  RoundWriter(store::AttemptStore& store, Log& log, std::chrono::milliseconds pause, Beside beside, Inbox& inbox)
      : store_(store), log_(log), pause_(pause), beside_(std::move(beside)), inbox_(inbox) {}

  /// From now on an attempt that cannot be stored is a Trouble of its own, and a database that is away is waited for. Before: whatever
  /// happens is thrown out of the loop.
  void keep_going() { keeps_going_ = true; }

  /// Commits all together; calls `give_up` for what cannot be stored, so that the others go on. False where the loop was interrupted
  /// while the database was away.
  bool commit(std::vector<Work>& round, const std::function<void(Work&, const Trouble&)>& give_up);

  /// So many rows are written in steps beside the loop, which goes on with the other attempts (design "The executor").
  bool is_large(const Work& work) const;
  /// Nobody touches its attempt until `inbox` has it as Written. Not at all where the loop is interrupted while the database is away.
  void write_beside(std::shared_ptr<Work> work);
  /// Whether large changes are on their way, `Written` ones included that were not `taken`.
  bool is_writing() const { return being_written_ > 0; }
  void taken() { --being_written_; }
  /// Whether the database cannot take what is to be stored. From any thread.
  bool is_waiting() const { return waiting_ > 0; }

 private:
  std::optional<Trouble> commit_together(const std::vector<Work*>& works);
  std::optional<Trouble> trouble_of(const std::function<void()>& work) const;
  bool when_available(const std::function<void()>& step);

  store::AttemptStore& store_;
  Log& log_;
  const std::chrono::milliseconds pause_;
  const Beside beside_;
  Inbox& inbox_;
  bool keeps_going_ = false;
  std::atomic<std::int64_t> being_written_ = 0;
  std::atomic<int> waiting_ = 0;                ///< steps that are tried again
  std::unique_ptr<agent::ThreadPool> writers_;  ///< made when first needed; last: its threads end before what they use
};

}  // namespace digdag::executor
