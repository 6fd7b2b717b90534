#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/stored_task.h"
#include "store/attempt_rows.h"
#include "store/attempt_store.h"
#include "store/change_steps.h"
#include "store/database.h"
#include "store/projects.h"
#include "store/sessions.h"
#include "store/site_selection.h"

namespace digdag::store {

/// Something that happened to an attempt and that its owner has not applied yet (design "The executor").
struct AttemptEvent {
  std::int64_t id = 0, attempt_id = 0;
  std::string kind;  ///< `kill`
};

/// An attempt as its owner reads it.
struct OwnedAttempt {
  SessionAttempt attempt;
  std::optional<WorkflowDefinition> workflow;  ///< nothing where it has no stored workflow
  engine::StoredAttempt stored;
  std::vector<engine::StoredTask> tasks;  ///< empty: accepted, and its tasks were not made yet
  AttemptRows rows;
  std::vector<engine::TaskIndex> untaken;  ///< their run stands in the queue and was given to nobody
  std::vector<AttemptEvent> events;
};

/// The attempts that this server owns, in the database: it alone changes their tasks. Thread-safe but for what AttemptStore says.
class OwnedAttempts : public AttemptStore {
 public:
  /// `server_id`: of this process. `database` must outlive it.
  OwnedAttempts(Database& database, std::string server_id, QueueLease lease);

  void number_tasks(AttemptRows& rows, std::size_t size) override;
  void commit(std::vector<AttemptChange>& changes) override;
  std::size_t most_rows_at_once() const override { return rows_at_once; }
  void commit_in_steps(AttemptChange& change) override;

  /// In a transaction that starts an attempt: its row of ownership, where its first rows come later.
  void own_new(Transaction& transaction, AttemptRows& rows) const { insert_ownership(transaction, rows, server_id_); }
  /// In a transaction that starts an attempt: its row of ownership and its first rows.
  void write_new(Transaction& transaction, AttemptChange& change) const { store::write_new(transaction, change, server_id_, lease_); }

  /// Takes attempts over that are not done and that nobody alive owns, at most `limit`, by ascending id. Delayed ones that have not
  /// started are left alone. `sites`: whose attempts.
  std::vector<std::int64_t> claim(std::int64_t limit, const SiteSelection& sites);
  /// Removes what a server that died has left of large attempts that are done.
  void remove_leftovers();
  /// All that are ours by their rows.
  std::vector<std::int64_t> ids();
  using Loaded = std::function<void(OwnedAttempt)>;
  using Unreadable = std::function<void(std::int64_t attempt_id, const Error& error)>;
  /// Reads those that are ours (still) and not done, many at a time: who dies may leave a thousand. `unreadable` is told of one whose rows
  /// make no sense.
  void load(const std::vector<std::int64_t>& attempt_ids, const Loaded& loaded, const Unreadable& unreadable);
  /// Events of attempts that are ours and that were not applied yet, in order.
  std::vector<AttemptEvent> events();
  /// Ends an attempt whose rows cannot be read or written: an error with this message on its root; its rows are archived as they are.
  void end_broken(std::int64_t attempt_id, const std::string& message);
  /// Gives all back, with the rows of the queue: others may take them at once.
  void release();
  /// Renews the rows of the queue that are ours (agent.heartbeat-interval).
  void renew();

  const std::string& server_id() const { return server_id_; }

 private:
  static constexpr std::size_t rows_at_once = 2000;
  static constexpr std::size_t rows_in_a_step = 500;  ///< some 20 ms of SQLite's one writer
  static constexpr std::size_t attempts_read_together = 100;
  static constexpr std::int64_t tasks_read_together = 5000;  ///< some 10 MB

  void end_in_steps(AttemptChange& change);
  void commit_step(ChangeStep& step);
  std::vector<std::vector<std::int64_t>> portions(const std::vector<std::int64_t>& attempt_ids);
  std::vector<OwnedAttempt> load_together(const std::vector<std::int64_t>& attempt_ids);
  void remove_pending(std::int64_t attempt_id);
  void remove_rows(std::int64_t attempt_id);
  /// The last ones; false where there are no more.
  static bool remove_some_tasks(Transaction& transaction, std::int64_t attempt_id, std::int64_t first_task_id);

  Database& database_;
  const std::string server_id_;
  const QueueLease lease_;

  std::mutex mutex_;                     ///< of the ids
  std::vector<std::int64_t> spare_ids_;  ///< descending
};

}  // namespace digdag::store
