#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/stored_task.h"
#include "store/attempt_store.h"
#include "store/change_steps.h"
#include "store/owned_attempts.h"

namespace digdag::simulation {

/// One run of a task.
struct RunKey {
  std::int64_t attempt = 0;
  engine::TaskIndex task = engine::no_task;
  engine::Lease lease = 0;
  auto operator<=>(const RunKey&) const = default;
};
std::string text_of(const RunKey& key);

/// The lease of the newest run of a task, as its row tells it.
engine::Lease lease_of(const engine::StoredTask& task);

/// What the database holds of an attempt.
struct AttemptRecord {
  struct Queued {
    engine::Lease lease = 0;
    std::string agent;  ///< who has it; "": it waits
  };
  bool has_ownership = false;  ///< a row of digdag_native_attempts
  std::string owner;           ///< "": nobody
  std::int64_t epoch = 0, version = 0;
  std::uint8_t flags = 0;                                        ///< store::AttemptFlag
  std::vector<std::shared_ptr<const engine::StoredTask>> tasks;  ///< at the end those of the archive
  std::optional<engine::StoredMonitor> monitor;
  std::map<std::string, Queued> queue;       ///< by unique name
  std::vector<std::int64_t> events;          ///< kills that were not applied
  std::optional<std::int64_t> pending_from;  ///< tasks from this id on do not count yet
  bool is_torn = false;                      ///< steps of a large change are missing
  std::size_t left_over = 0;                 ///< rows of tasks of one that is done, which go in steps
  bool was_broken = false;                   ///< ended by end_broken

  bool done() const { return (flags & store::attempt_done) != 0; }
  bool killed() const { return (flags & store::attempt_cancel_requested) != 0; }
  const engine::StoredTask& task(engine::TaskIndex index) const { return *tasks[static_cast<std::size_t>(index)]; }
};

/// The rows that all servers share. Every change is a transaction; a power cut undoes the last of those that need not outlive it.
/// What an owner writes is held against what the rows say, as attempt_rows.cpp does it; what no database could see but must never
/// happen throws Disagreement.
class SimulatedDatabase {
 public:
  std::int64_t insert_attempt();  ///< durable with what follows in its `write`
  const AttemptRecord& attempt(std::int64_t id) const { return *attempts_.at(id); }
  const std::map<std::int64_t, std::shared_ptr<const AttemptRecord>>& attempts() const { return attempts_; }

  /// As store::insert_ownership, with the monitor: before the first rows, in the same transaction. `owner` "": nobody.
  void begin_attempt(std::int64_t id, const std::string& owner, store::AttemptRows& rows, const engine::Attempt& attempt);
  /// The first rows of an attempt that nobody owns.
  void write_first(const store::AttemptChange& change);
  /// As store::write_changes. Throws DatabaseError and changes nothing.
  void write_changes(const std::vector<store::AttemptChange>& changes, const std::string& owner, store::Durability durability);

  // A large change, as OwnedAttempts::commit_in_steps does it.
  void write_step(const store::ChangeStep& step, bool is_last, const std::string& owner);
  void write_end(const store::AttemptChange& change, const std::string& owner);
  /// Of an attempt that is done, whose owner this is: "" of one that died. False where nothing is left any more.
  bool remove_rows(std::int64_t id, const std::string& owner, std::size_t count);
  /// False where none is left, or another one owns the attempt.
  bool remove_pending(std::int64_t id, const std::string& server, std::size_t count);

  // What server::Takeover and OwnedAttempts do.
  void release_attempts(const std::function<bool(const std::string& owner)>& is_gone);
  std::vector<std::int64_t> claim(const std::string& server);
  std::vector<std::int64_t> owned_by(const std::string& server) const;
  /// Without what names the workflow and its session.
  std::optional<store::OwnedAttempt> load(std::int64_t id, const std::string& server) const;
  std::vector<store::AttemptEvent> events_of(const std::string& server) const;
  /// The event; nothing where it is done, or was killed already.
  std::optional<std::int64_t> request_kill(std::int64_t id);
  void end_broken(std::int64_t id, const std::string& server);
  std::vector<std::int64_t> new_task_ids(std::size_t count);

  /// Undoes the last `count` transactions that may be lost: the runs that they gave to agents may be given again.
  void cut_power(std::size_t count);
  std::size_t transactions_at_risk() const { return log_.size(); }

  /// Whether this run was taken by this server.
  bool is_taken(const RunKey& key, const std::string& server) const;
  /// An agent gets it. Throws Disagreement where one had it already. False where a power cut made the database forget it: then it may be
  /// given out again.
  bool hand_out(const RunKey& key, const std::string& server);
  /// An agent answers: the result or error that carries this number is of this run.
  std::int64_t answer(const RunKey& key);

  /// A power cut has undone its end.
  bool has_forgotten_end(std::int64_t id) const { return undone_ends_.contains(id); }
  /// An attempt whose changes the database refuses.
  void poison(std::int64_t id) { poisoned_.insert(id); }
  bool is_poisoned(std::int64_t id) const { return poisoned_.contains(id); }
  /// Time limits and kills may end a run that was given to nobody.
  bool runs_end_by_themselves = false;

 private:
  struct Undo {
    std::map<std::int64_t, std::shared_ptr<const AttemptRecord>> before;
    std::vector<std::pair<RunKey, std::string>> taken;
    std::vector<std::int64_t> counted;
  };
  AttemptRecord& edit(Undo& undo, std::map<std::int64_t, AttemptRecord>& edited, std::int64_t id) const;
  void write(const std::vector<store::AttemptChange>& changes, const std::string& owner, store::Durability durability,
             const std::function<void(AttemptRecord&)>& also);
  void check_owner(const store::AttemptChange& change, const std::string& owner) const;
  void write(const store::AttemptChange& change, AttemptRecord& record, const std::string& owner, Undo& undo);
  void write_task(const store::AttemptChange& change, AttemptRecord& record, engine::TaskIndex index, Undo& undo);
  void write_queue(const store::AttemptChange& change, AttemptRecord& record, const std::string& owner, Undo& undo);
  void finish(const store::AttemptChange& change, AttemptRecord& record, Undo& undo);
  void count_answer(const engine::StoredTask& was, const engine::StoredTask& is, const RunKey& run, Undo& undo);
  void check_queue(std::int64_t id, const AttemptRecord& record) const;
  void commit(Undo undo, std::map<std::int64_t, AttemptRecord> edited, store::Durability durability);
  void change(std::int64_t id, store::Durability durability, const std::function<void(AttemptRecord&)>& work);

  std::map<std::int64_t, std::shared_ptr<const AttemptRecord>> attempts_;
  std::vector<Undo> log_;
  std::set<std::int64_t> poisoned_, undone_ends_;
  std::int64_t next_attempt_ = 1, next_task_ = 100, next_event_ = 1, next_answer_ = 1;

  std::set<std::pair<RunKey, std::string>> taken_;      ///< ever, with the server
  std::set<std::pair<RunKey, std::string>> forgotten_;  ///< taken, and undone by a power cut: the server does not know
  std::set<RunKey> handed_out_;
  std::map<std::int64_t, RunKey> answers_;
  std::set<std::int64_t> counted_;  ///< answers that took effect
};

}  // namespace digdag::simulation
