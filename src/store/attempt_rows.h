#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "store/attempt_store.h"
#include "store/database.h"

namespace digdag::store {

/// Whose rows of the queue are taken, and for how long (spec/server.md 12).
struct QueueLease {
  std::string agent_id;        ///< agent.id: `pid@host`
  std::int64_t seconds = 300;  ///< agent.lock-retention-time
};

/// Writes running attempts into the original's tables (spec/execution.md 31a, 15). All statements are sent without waiting; what
/// another owner changed fails the transaction.
///
/// Order of locks: attempts by ascending id, then their tasks, then the queue. `owner`: our server's id.
void write_changes(Transaction& transaction, const std::vector<AttemptChange>& changes, const std::string& owner, const QueueLease& lease);

/// The row that says that `owner` owns a new attempt, and its first rows.
void write_new(Transaction& transaction, AttemptChange& change, const std::string& owner, const QueueLease& lease);

/// The first rows of an attempt that nobody owns yet, or that waits: tasks that have not begun, its monitor.
void write_first(Transaction& transaction, const std::vector<AttemptChange>& changes);

/// Ends a large attempt (`change.finished`): as `write_changes`, but the rows of its tasks and of its ownership stay, to be removed in
/// steps. They do not count any more.
void write_end(Transaction& transaction, const AttemptChange& change, const std::string& owner);
/// Removes tasks; children go before their parents, or with them. `all_are_there`: else the transaction fails.
void remove_tasks(Transaction& transaction, const std::vector<std::int64_t>& task_ids, bool all_are_there = false);

/// Notes in `rows` what was committed.
void note_committed(std::vector<AttemptChange>& changes);

/// The row that says who owns a new attempt whose rows come later. `owner` empty: nobody yet.
void insert_ownership(Transaction& transaction, AttemptRows& rows, const std::string& owner);

}  // namespace digdag::store
