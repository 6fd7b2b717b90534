#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "executor/executor.h"
#include "executor/handouts.h"
#include "executor/inbox.h"
#include "executor/retry_evaluator.h"
#include "executor/round.h"
#include "executor/round_writer.h"
#include "executor/sleepers.h"
#include "executor/statuses.h"
#include "executor/strays.h"

namespace digdag::executor {

/// The executor's loop: in each round what has arrived and is due, one commit, and then its effects. All is for its thread alone, but for
/// what `inbox`, `handouts`, `statuses` and the counts say of themselves.
class Loop {
 public:
  Loop(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, Executor::Options options);

  // From any thread.
  Inbox inbox;
  Handouts handouts;
  Statuses statuses;
  std::atomic<std::int64_t> attempts_owned = 0;

  // Before the loop.
  void use(agent::TaskRunner& runner) { runner_ = &runner; }
  void use(Keeper& keeper) {
    keeper_ = &keeper;
    writer_.keep_going();
  }
  /// The tasks of this attempt stay when it is done.
  void keep(std::int64_t attempt_id) { kept_ = attempt_id; }

  const Executor::Options options;

  /// Waits until something arrives or is due; false where `interrupt` came, or all is over after `drain`.
  bool wait_for_work();
  void step();
  std::optional<Instant> next_due() const;
  const engine::Attempt* tasks(std::int64_t attempt_id) const;
  bool waits_for_database() const { return writer_.is_waiting(); }  // from any thread

 private:
  // What arrives.
  void end_strays(std::vector<QueuedEvent>& events, std::vector<Added>& fresh);
  /// By attempt, tasks whose run was given to nobody.
  using Untaken = std::map<std::int64_t, std::vector<engine::TaskIndex>>;
  /// Gives those that were read back: their runs are looked at when what else is known of them has been applied, such as a kill.
  Untaken take_in(std::vector<Added> fresh, std::vector<Work>& round);
  void adopt(Owned& owned, Added& one, std::vector<Work>& round);
  void run_again(Owned& owned, const std::vector<engine::TaskIndex>& untaken, std::vector<Work>& round);
  void apply(std::vector<QueuedEvent> events, std::vector<Work>& round);
  void tick(std::vector<Work>& round);
  Work& work_of(Owned& owned, std::vector<Work>& round);
  void note_outcome(Owned& owned, engine::Outcome outcome, std::vector<Work>& round);
  void set_timer(Owned& owned);
  void sleep(const Owned& owned, const QueuedEvent& poll, std::int64_t awaited);

  // Places at the agent.
  void wait(const Owned& owned, const engine::Run& run);
  std::deque<engine::Run> take_out(const Owned& owned);
  void free_places(const Work& work);

  // What is stored.
  void hand_out(std::vector<Work>& round);
  void write_beside(std::vector<Work>& round);
  void take_written(std::vector<Written> done, std::vector<QueuedEvent>& events);
  void drop(Work& work, const Trouble& trouble);
  void drop_all();
  void let_go(std::int64_t id);

  // The effects.
  void tell(const std::vector<Work>& round);
  void perform(std::vector<Work>& round);
  void perform(Owned& owned, const engine::Effect& effect);
  void leave(const std::vector<Work>& round);

  bool is_drained() const { return handouts.closed() && handouts.taken() == 0 && !writer_.is_writing(); }
  Instant clock() const { return options.clock(); }

  Log& log_;
  Listener* const listener_;
  agent::TaskRunner* runner_ = nullptr;
  Keeper* keeper_ = nullptr;

  std::vector<QueuedEvent> left_;                     ///< of the last round, to be applied in the next one
  std::unordered_map<std::int64_t, Owned> attempts_;  ///< those under way, and `kept_`
  std::set<std::pair<Instant, std::int64_t>> timers_;
  Sleepers sleepers_;
  Strays strays_;
  std::optional<std::int64_t> kept_;  ///< whose tasks will be looked at when it is done

  // Last: their threads end before what they use.
  RoundWriter writer_;
  RetryEvaluator evaluator_;
};

}  // namespace digdag::executor
