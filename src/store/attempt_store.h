#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/attempt.h"

namespace digdag::store {

/// What the owner of an attempt remembers of its rows: how they stand in the database. Changed by AttemptStore::commit alone.
struct AttemptRows {
  std::int64_t attempt_id = 0;
  std::int64_t site_id = 0;
  std::int64_t epoch = 0;                                     ///< of its ownership: another one means another owner
  std::int64_t version = 0;                                   ///< counts its commits
  std::vector<std::int64_t> task_ids;                         ///< of all its tasks by index, ascending; those past `states` have no row yet
  std::vector<engine::TaskState> states;                      ///< as stored
  std::unordered_map<engine::TaskIndex, std::string> queued;  ///< unique names of the rows of queued_tasks
  bool cancel_stored = false;
  bool monitor_stored = false;
  bool end_stored = false;  ///< its rows go in steps
};

/// A run that begins: its row in the queue (spec/server.md 12).
struct QueuedRun {
  engine::TaskIndex task;
  engine::Lease lease;
  bool taken;  ///< by this process, else it waits for an agent
};

/// The changes of one attempt that must become durable together (design rule 2).
struct AttemptChange {
  AttemptRows* rows;
  const engine::Attempt* attempt;                  ///< as it shall be: rows are read from it
  std::vector<engine::TaskIndex> changed;          ///< ascending
  std::vector<engine::TaskIndex> results_changed;  ///< ascending
  std::vector<QueuedRun> runs;
  /// Applied; ids of digdag_native_events. Taken out when that is stored: an event that has no row any more counts nowhere, and the change
  /// fails with DatabaseError(unexpected_rows).
  std::vector<std::int64_t> events;
  bool finished = false;
  /// A part of a larger change: rows of tasks and of the queue alone. What else there is of the attempt goes with another part.
  bool is_part = false;
};

/// What must survive of running attempts. Each attempt is changed by one thread at a time.
class AttemptStore {
 public:
  virtual ~AttemptStore() = default;
  /// Makes room in `rows.task_ids` for `size` tasks.
  virtual void number_tasks(AttemptRows& rows, std::size_t size) = 0;
  /// Makes all changes durable in one transaction and then notes them in their `rows`, or throws and changes nothing.
  /// DatabaseError(unexpected_rows) where another owner was there. Effects happen only afterwards.
  virtual void commit(std::vector<AttemptChange>& changes) = 0;

  /// A change with more rows than this would hold up others: it goes through `commit_in_steps`.
  virtual std::size_t most_rows_at_once() const = 0;
  /// Makes one large change durable in many transactions, so that each way of breaking off leaves what its owner can go on from: new tasks
  /// count only with the last of them. Where it throws it may be called again, and goes on. On a thread of its own, beside `commit` of
  /// other attempts.
  virtual void commit_in_steps(AttemptChange& change) = 0;
};

/// Keeps nothing: `digdag run`, where the attempt in memory is the truth. Task ids count from 1.
class MemoryStore : public AttemptStore {
 public:
  void number_tasks(AttemptRows& rows, std::size_t size) override {
    while (rows.task_ids.size() < size) rows.task_ids.push_back(static_cast<std::int64_t>(rows.task_ids.size()) + 1);
  }
  void commit(std::vector<AttemptChange>&) override {}
  std::size_t most_rows_at_once() const override { return std::numeric_limits<std::size_t>::max(); }
  void commit_in_steps(AttemptChange&) override {}
};

}  // namespace digdag::store
