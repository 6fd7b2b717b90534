#include "executor/executor.h"

#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "agent/failure.h"
#include "agent/runtime_params.h"
#include "agent/thread_pool.h"
#include "base/text.h"
#include "executor/handouts.h"
#include "executor/sleepers.h"
#include "store/database.h"

namespace digdag::executor {
namespace {

/// `_retry: ${…}` of groups is rare and normally quick; a hostile expression holds up its thread for its whole time limit.
constexpr agent::ThreadPool::Options evaluators{.steady = 1, .grows_at_once = false, .most = 8};
/// So many events, and so many new runs, of one attempt make up its part of a round: small attempts wait for no more of a large one.
constexpr std::size_t events_in_a_round = 64;
constexpr int runs_in_a_round = 64;
constexpr std::int64_t longest_wait_millis = std::int64_t{24} * 3600 * 1000;

struct QueuedEvent {
  std::int64_t attempt_id;
  engine::Event event;
  std::optional<std::int64_t> wakes_after = std::nullopt;  ///< of a RetryLater: the attempt whose end it waits for
  std::string hint = {};                                   ///< of a Failed: what to do about it
  std::int64_t stored_event = 0;                           ///< the row in which it is kept until it is applied
};

std::string message_of(const Value& error) {
  const Value* message = error.find("message");
  return message && message->is_string() ? message->as_string() : "";
}

/// A message without the lines that are indented below it, such as the frames of a program.
std::string one_line(const std::string& message) { return replace_all(message.substr(0, message.find("\n\t")), "\n", " "); }

/// A note with the place of its task.
std::string text_of(const engine::Note& note, const engine::Attempt& attempt) {
  using Kind = engine::Note::Kind;
  const std::string name = agent::shown_task_name(attempt.full_name(note.task)), position = to_string(attempt.position(note.task));
  const std::string place = position.empty() ? "" : " at " + position;
  if (note.kind == Kind::warning || note.kind == Kind::error) return "task " + name + place + ": " + note.message;
  return "Task " + name + " failed" + place + (note.kind == Kind::retried_failure ? ", retrying\n> " : ".\n") + note.message;
}

}  // namespace

std::function<Instant()> steady_clock() {
  const auto since_boot = [] {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
  };
  return [start = digdag::now(), boot = since_boot(), since_boot] { return start.plus_millis(since_boot() - boot); };
}

struct Executor::Impl {
  Impl(store::AttemptStore& s, Log& l, const dig::TemplateEngine& t, Listener* li, Options o)
      : store(s), log(l), templates(t), listener(li), options(std::move(o)), handouts(options.places) {}

  store::AttemptStore& store;
  Log& log;
  const dig::TemplateEngine& templates;
  Listener* listener;
  const Options options;
  agent::TaskRunner* runner = nullptr;
  Keeper* keeper = nullptr;

  struct Owned {
    AttemptIdentity identity;
    engine::Attempt attempt;
    store::AttemptRows rows;
    std::optional<Instant> due = {};                                ///< as it stands in `timers`
    std::size_t work = 0;                                           ///< its place in this round's work, counted from 1; 0 = none yet
    std::unordered_map<engine::TaskIndex, std::string> hints = {};  ///< of failed tasks
    std::unordered_map<engine::TaskIndex, engine::Lease> at_agent = {};
    bool doomed = false;                        ///< to be forgotten as soon as its rows are written
    bool busy = false;                          ///< its rows are being written beside the loop: nobody else touches it
    std::vector<QueuedEvent> deferred = {};     ///< what came meanwhile
    std::deque<engine::Run> waiting = {};       ///< runs that wait for a place, out of the line meanwhile
    std::set<std::int64_t> stored_events = {};  ///< applied: who hands one over may have read it before it was
  };
  /// An attempt that comes to us: new, started by somebody who stored it, or read back.
  struct Added {
    AttemptIdentity identity;
    engine::Attempt attempt;
    store::AttemptRows rows;
    std::optional<engine::Outcome> outcome = {};  ///< of one that was started already
    bool stored = false;                          ///< the outcome is
    std::vector<engine::Run> given = {};
    bool read_back = false;
    std::vector<engine::TaskIndex> untaken = {};
  };

  /// What all events of this round did to one attempt.
  struct Work {
    Owned* owned;
    engine::Outcome outcome = {};
    std::vector<store::QueuedRun> runs = {};  ///< that begin, or get their place
    std::vector<engine::Run> given = {};      ///< those of them that go to the agent
    std::vector<QueuedEvent> events = {};     ///< applied
  };

  // What other threads hand in.
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::vector<QueuedEvent> inbox;
  std::vector<Added> added;
  bool interrupted = false;
  bool dropping = false;  ///< all `attempts` are to be forgotten
  std::unordered_map<std::int64_t, Status> statuses;
  std::deque<std::int64_t> done_in_order;  ///< of `statuses`
  Handouts handouts;
  std::atomic<std::int64_t> attempts_owned = 0, tasks_ended = 0;

  // Only the loop's.
  std::vector<QueuedEvent> left;                     ///< of the last round, to be applied in the next one
  std::unordered_map<std::int64_t, Owned> attempts;  ///< those under way, and `kept`
  std::set<std::pair<Instant, std::int64_t>> timers;
  Sleepers sleepers;
  std::map<std::int64_t, std::set<std::pair<engine::TaskIndex, engine::Lease>>> strays;  ///< at the agent, of attempts that were dropped
  std::vector<Added> postponed;                                                          ///< read back, and wait for their strays
  std::optional<std::int64_t> kept;                                                      ///< whose tasks will be looked at when it is done

  /// Why an attempt cannot be stored. `refused`: it never can be, also when it is read back.
  struct Trouble {
    Error error;
    bool refused;
  };
  /// A large change that was written, or could not be.
  struct Written {
    std::shared_ptr<Work> work;
    std::optional<Trouble> trouble;
  };
  std::vector<Written> written;                 ///< by `mutex`
  std::atomic<std::int64_t> being_written = 0;  ///< large changes on their way, `written` ones included

  // Made when first needed. Last: their threads end before what they use.
  std::unique_ptr<agent::ThreadPool> writers;      ///< of large changes
  std::unique_ptr<agent::ThreadPool> evaluations;  ///< of `_retry`

  Instant clock() const { return options.clock(); }

  void push(QueuedEvent event) {
    {
      const std::lock_guard lock(mutex);
      inbox.push_back(std::move(event));
    }
    arrived.notify_one();
  }
  void push(Added one) {
    {
      const std::lock_guard lock(mutex);
      statuses[one.identity.attempt_id] = {true, false, false, ""};
      // Those that its rows still hold are handed over after it: an older one may have been applied by another owner.
      std::erase_if(inbox,
                    [&](const QueuedEvent& event) { return event.attempt_id == one.identity.attempt_id && event.stored_event != 0; });
      added.push_back(std::move(one));
    }
    arrived.notify_one();
  }

  // ---- One round: what has arrived, one commit, the effects ----

  Work& work_of(Owned& owned, std::vector<Work>& round) {
    if (owned.work == 0) {
      round.push_back({&owned});
      owned.work = round.size();
    }
    return round[owned.work - 1];
  }

  void take_in(std::vector<Added> fresh, std::vector<Work>& round) {
    for (Added& one : fresh) {
      const std::int64_t id = one.identity.attempt_id;
      one.rows.attempt_id = id;
      const auto [place, is_new] = attempts.try_emplace(id, Owned{std::move(one.identity), std::move(one.attempt), std::move(one.rows)});
      if (!is_new) {  // read back twice
        for (std::size_t i = 0; i < one.given.size(); ++i) handouts.free_place();
        continue;
      }
      ++attempts_owned;
      Owned& owned = place->second;
      if (!one.outcome) {
        note_outcome(owned, owned.attempt.start(clock()), round);
      } else if (one.stored) {
        adopt(owned, std::move(one), round);
      } else {
        note_outcome(owned, std::move(*one.outcome), round);
      }
      if (one.read_back) run_again(owned, one.untaken, round);
    }
  }

  /// Its first rows are stored: only their effects are left, and the runs that have no place yet.
  void adopt(Owned& owned, Added one, std::vector<Work>& round) {
    set_timer(owned);
    Work& work = work_of(owned, round);
    work.given = std::move(one.given);
    for (engine::Effect& effect : one.outcome->effects) {
      if (const auto* run = std::get_if<engine::Run>(&effect)) {
        const auto same = [&](const engine::Run& given) { return given.task == run->task; };
        if (std::none_of(work.given.begin(), work.given.end(), same)) handouts.wait(owned.identity.attempt_id, *run);
      } else {
        work.outcome.effects.push_back(std::move(effect));
      }
    }
    work.outcome.notes = std::move(one.outcome->notes);
    work.outcome.finished = one.outcome->finished;
  }

  void run_again(Owned& owned, const std::vector<engine::TaskIndex>& untaken, std::vector<Work>& round) {
    for (const engine::Running& running : owned.attempt.running()) {
      if (std::find(untaken.begin(), untaken.end(), running.task) != untaken.end() && !running.cancel_requested) {
        handouts.wait(owned.identity.attempt_id, {running.task, running.lease, running.cleanup});
      } else {
        note_outcome(owned, owned.attempt.apply(engine::Lost{running.task, running.lease}, clock()), round);
      }
    }
  }

  void note_outcome(Owned& owned, engine::Outcome outcome, std::vector<Work>& round) {
    set_timer(owned);
    if (outcome.changed.empty() && outcome.effects.empty() && outcome.notes.empty()) return;
    engine::Outcome& all = work_of(owned, round).outcome;
    const auto append = [](auto& to, auto& more) {
      if (to.empty()) {
        to = std::move(more);
      } else {
        to.insert(to.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
      }
    };
    append(all.changed, outcome.changed);
    append(all.results_changed, outcome.results_changed);
    append(all.effects, outcome.effects);
    append(all.notes, outcome.notes);
    all.finished = all.finished || outcome.finished;
  }

  void set_timer(Owned& owned) {
    const auto due = owned.attempt.next_tick();
    if (due == owned.due) return;
    const std::int64_t id = owned.identity.attempt_id;
    if (owned.due) timers.erase({*owned.due, id});
    if (due) timers.emplace(*due, id);
    owned.due = due;
  }

  void apply(std::vector<QueuedEvent> events, std::vector<Work>& round) {
    std::unordered_map<std::int64_t, std::size_t> applied;
    for (QueuedEvent& queued : events) {
      if (events.size() > events_in_a_round && ++applied[queued.attempt_id] > events_in_a_round) {
        left.push_back(std::move(queued));
        continue;
      }
      const auto place = attempts.find(queued.attempt_id);
      if (place == attempts.end()) continue;
      Owned& owned = place->second;
      if (owned.busy) {
        owned.deferred.push_back(std::move(queued));
        continue;
      }
      if (queued.stored_event != 0 && !owned.stored_events.insert(queued.stored_event).second) continue;
      note_end(owned, queued.event);
      note_outcome(owned, owned.attempt.apply(queued.event, clock()), round);
      if (queued.wakes_after) sleep(owned, queued, *queued.wakes_after);
      if (!queued.hint.empty()) keep_hint(owned, queued);
      if (owned.work != 0 || queued.stored_event != 0) work_of(owned, round).events.push_back(std::move(queued));
    }
  }

  /// Task and lease of the run that ends by this event.
  static std::optional<std::pair<engine::TaskIndex, engine::Lease>> ended_run(const engine::Event& event) {
    if (const auto* succeeded = std::get_if<engine::Succeeded>(&event)) return std::pair(succeeded->task, succeeded->lease);
    if (const auto* failed = std::get_if<engine::Failed>(&event)) return std::pair(failed->task, failed->lease);
    if (const auto* later = std::get_if<engine::RetryLater>(&event)) return std::pair(later->task, later->lease);
    return std::nullopt;
  }

  /// The end of a run: it is not at the agent any more.
  static void note_end(Owned& owned, const engine::Event& event) {
    const auto run = ended_run(event);
    if (!run) return;
    const auto place = owned.at_agent.find(run->first);
    if (place != owned.at_agent.end() && place->second == run->second) owned.at_agent.erase(place);
  }

  /// Takes out the ends of runs of attempts that were dropped. What is read back of one of those waits for them: a database that was
  /// cut off its power may have forgotten runs, which are given out again with the same leases.
  void end_strays(std::vector<QueuedEvent>& events, std::vector<Added>& fresh) {
    for (Added& one : std::exchange(postponed, {})) fresh.push_back(std::move(one));
    for (const Added& one : fresh) {
      const auto known = attempts.find(one.identity.attempt_id);
      if (known != attempts.end() && known->second.rows.epoch < one.rows.epoch) let_go(known->first);  // another owner was there
    }
    std::erase_if(events, [&](const QueuedEvent& queued) {
      const auto runs = strays.find(queued.attempt_id);
      const auto run = ended_run(queued.event);
      if (runs == strays.end() || !run || runs->second.erase(*run) == 0) return false;
      if (runs->second.empty()) strays.erase(runs);
      return true;
    });
    const auto waits =
        std::stable_partition(fresh.begin(), fresh.end(), [&](const Added& one) { return !strays.contains(one.identity.attempt_id); });
    postponed.assign(std::make_move_iterator(waits), std::make_move_iterator(fresh.end()));
    fresh.erase(waits, fresh.end());
  }

  /// Where the task failed by this failure: it may be tried again, or have failed by its time limit instead.
  static void keep_hint(Owned& owned, const QueuedEvent& queued) {
    const auto& failed = std::get<engine::Failed>(queued.event);
    if (message_of(owned.attempt.error(failed.task)) == message_of(failed.error)) owned.hints[failed.task] = queued.hint;
  }

  void tick(std::vector<Work>& round) {
    const Instant now = clock();
    std::vector<std::int64_t> due;
    for (auto timer = timers.begin(); timer != timers.end() && timer->first <= now; ++timer) due.push_back(timer->second);
    for (const std::int64_t id : due) {
      Owned& owned = attempts.at(id);
      note_outcome(owned, owned.attempt.apply(engine::Tick{}, now), round);
    }
  }

  void sleep(const Owned& owned, const QueuedEvent& poll, std::int64_t awaited) {
    const auto& later = std::get<engine::RetryLater>(poll.event);
    if (owned.attempt.lease(later.task) != later.lease) return;  // of an old run
    bool ended = false, here = false;
    {
      const std::lock_guard lock(mutex);
      const auto status = statuses.find(awaited);
      here = status != statuses.end();
      ended = here && status->second.done;
    }
    if (ended) {
      push(QueuedEvent{poll.attempt_id, engine::Wake{later.task, later.lease}});
    } else if (here) {
      sleepers.add({poll.attempt_id, later.task}, later.lease, awaited);
    }
  }

  /// Gives places to the runs whose turn it is; what begins without one waits in the queue.
  void hand_out(std::vector<Work>& round) {
    std::map<std::pair<std::int64_t, engine::TaskIndex>, engine::Lease> begun;
    for (Work& work : round) {
      const std::int64_t id = work.owned->identity.attempt_id;
      std::erase_if(work.outcome.effects, [&](const engine::Effect& effect) {
        const auto* run = std::get_if<engine::Run>(&effect);
        if (run == nullptr) return false;
        handouts.wait(id, *run);
        begun[{id, run->task}] = run->lease;
        return true;
      });
    }
    for (int given = 0; given < runs_in_a_round; ++given) {
      const auto next = handouts.next();
      if (!next) break;
      const auto& [id, run] = *next;
      Owned& owned = attempts.at(id);
      if (owned.attempt.state(run.task) != engine::TaskState::running || owned.attempt.lease(run.task) != run.lease) {
        handouts.free_place();  // it is over already
        continue;
      }
      Work& work = work_of(owned, round);
      work.runs.push_back({run.task, run.lease, true});
      work.given.push_back(run);
      begun.erase({id, run.task});
    }
    for (const auto& [key, lease] : begun) {
      Owned& owned = attempts.at(key.first);
      // What waits for a place here needs no row: nobody else is to take it. One that it has must not name an old run.
      if (options.places > 0 && !owned.rows.queued.contains(key.second)) continue;
      if (owned.attempt.state(key.second) == engine::TaskState::running && owned.attempt.lease(key.second) == lease)
        work_of(owned, round).runs.push_back({key.second, lease, false});
    }
  }

  static store::AttemptChange change_of(Work& work) {
    const auto sort = [](std::vector<engine::TaskIndex>& tasks) {
      std::sort(tasks.begin(), tasks.end());
      tasks.erase(std::unique(tasks.begin(), tasks.end()), tasks.end());
    };
    sort(work.outcome.changed);
    sort(work.outcome.results_changed);
    store::AttemptChange change{
        &work.owned->rows, &work.owned->attempt, work.outcome.changed, work.outcome.results_changed, work.runs, {}, work.outcome.finished};
    for (const QueuedEvent& event : work.events) {
      if (event.stored_event != 0) change.events.push_back(event.stored_event);
    }
    return change;
  }
  /// So many rows are written in steps beside the loop, which goes on with the other attempts (design "The executor").
  bool is_large(const Work& work) const {
    return work.outcome.changed.size() > store.most_rows_at_once() ||
           (work.outcome.finished && work.owned->attempt.size() > store.most_rows_at_once());
  }

  void write_beside(std::vector<Work>& round) {
    for (Work& work : round) {
      if (!is_large(work)) continue;
      Owned& owned = *work.owned;
      owned.busy = true;
      ++being_written;
      owned.waiting = handouts.take_out(owned.identity.attempt_id);
      if (owned.due) timers.erase({*owned.due, owned.identity.attempt_id});
      owned.due.reset();
      owned.work = 0;
      auto shared = std::make_shared<Work>(std::move(work));
      work.owned = nullptr;
      if (!writers) writers = std::make_unique<agent::ThreadPool>(agent::ThreadPool::Options{.most = 1});
      writers->post([this, shared](unsigned) {
        Written result{shared, {}};
        const auto store_it = [&] {
          store.number_tasks(shared->owned->rows, shared->owned->attempt.size());
          store::AttemptChange change = change_of(*shared);
          store.commit_in_steps(change);
        };
        if (!when_available([&] { result.trouble = trouble_of(store_it); })) return;
        {
          const std::lock_guard lock(mutex);
          written.push_back(std::move(result));
        }
        arrived.notify_one();
      });
    }
    std::erase_if(round, [](const Work& work) { return work.owned == nullptr; });
    for (std::size_t i = 0; i < round.size(); ++i) round[i].owned->work = i + 1;
  }

  /// Goes on with attempts whose large change is stored: its effects are due, and what came meanwhile.
  void take_written(std::vector<Written> done, std::vector<QueuedEvent>& events) {
    std::vector<Work> over;
    for (Written& one : done) {
      Owned& owned = *one.work->owned;
      owned.busy = false;
      --being_written;
      events.insert(events.end(), std::make_move_iterator(owned.deferred.begin()), std::make_move_iterator(owned.deferred.end()));
      owned.deferred.clear();
      for (const engine::Run& run : owned.waiting) handouts.wait(owned.identity.attempt_id, run);
      owned.waiting.clear();
      if (owned.doomed) {
        const std::int64_t id = owned.identity.attempt_id;
        for (std::size_t i = 0; i < one.work->given.size(); ++i) handouts.free_place();
        let_go(id);
        continue;
      }
      if (one.trouble) {
        drop(*one.work, *one.trouble);
        continue;
      }
      set_timer(owned);
      over.push_back(std::move(*one.work));
    }
    tell(over);
    perform(over);
    leave(over);
  }

  static bool changes_rows(const Work& work) {
    const auto is_stored = [](const QueuedEvent& event) { return event.stored_event != 0; };
    return !work.outcome.changed.empty() || !work.runs.empty() || std::any_of(work.events.begin(), work.events.end(), is_stored);
  }

  /// Commits all together; what cannot be stored is found out and dropped, so that the others go on. False where the loop was
  /// interrupted while the database was away.
  bool commit(std::vector<Work>& round) {
    std::vector<Work*> changed;
    for (Work& work : round) {
      if (changes_rows(work)) changed.push_back(&work);
    }
    if (changed.empty()) return true;
    std::optional<Trouble> trouble;
    if (!when_available([&] { trouble = commit_together(changed); })) return false;
    if (!trouble) return true;
    if (changed.size() > 1) {
      log.write(LogLevel::warn, "main", "executor",
                "The changes of " + std::to_string(changed.size()) + " attempts are stored one by one: " + trouble->error.report());
    }
    for (Work* work : changed) {
      if (!when_available([&] { trouble = commit_together({work}); })) return false;
      if (trouble) drop(*work, *trouble);
    }
    return true;
  }

  std::optional<Trouble> commit_together(const std::vector<Work*>& works) {
    return trouble_of([&] {
      std::vector<store::AttemptChange> changes;
      for (Work* work : works) {
        store.number_tasks(work->owned->rows, work->owned->attempt.size());
        changes.push_back(change_of(*work));
      }
      store.commit(changes);
    });
  }

  /// Why it could not be stored, other than that the database is away.
  template <typename Store>
  std::optional<Trouble> trouble_of(const Store& work) const {
    try {
      work();
    } catch (const store::DatabaseError& error) {
      if (keeper == nullptr || is_away(error)) throw;
      return Trouble{error, error.why() == store::DatabaseError::Cause::refused};
    } catch (const Error& error) {
      if (keeper == nullptr) throw;
      return Trouble{error, true};
    } catch (const std::exception& error) {
      if (keeper == nullptr) throw;
      return Trouble{Error("internal", error.what()), true};
    }
    return std::nullopt;
  }

  /// Tries a step again until the database can take it: with a full disk, nothing here could go on. False where it was interrupted.
  template <typename Step>
  bool when_available(const Step& step) {
    for (bool told = false;; told = true) {
      try {
        step();
        return true;
      } catch (const store::DatabaseError& error) {
        if (keeper == nullptr || !is_away(error)) throw;
        if (!told) {
          log.write(LogLevel::error, "main", "executor",
                    "Attempts wait for the database, which is tried again and again: " + error.report());
          log.flush();
        }
      }
      std::unique_lock lock(mutex);
      if (arrived.wait_for(lock, options.database_pause, [&] { return interrupted; })) return false;
    }
  }
  static bool is_away(const store::DatabaseError& error) { return error.why() == store::DatabaseError::Cause::unavailable; }

  /// Its memory is ahead of its rows: it must be read again, by its owner.
  void drop(Work& work, const Trouble& trouble) {
    const std::int64_t id = work.owned->identity.attempt_id;
    const auto& [error, refused] = trouble;
    log.write(refused ? LogLevel::error : LogLevel::warn, "main", "executor",
              "Attempt " + std::to_string(id) +
                  (refused ? " cannot be stored: "
                           : " is read back, its rows are not as they were left (another server has it, or the database has crashed): ") +
                  error.report());
    for (std::size_t i = 0; i < work.given.size(); ++i) handouts.free_place();
    let_go(id);
    work.owned = nullptr;
    {
      const std::lock_guard lock(mutex);
      statuses.erase(id);
    }
    if (refused)
      keeper->broken(id, error.message());
    else
      keeper->dropped(id);
  }

  void drop_all() {
    std::vector<std::int64_t> ids;
    for (auto& [id, owned] : attempts) {
      owned.doomed = true;
      if (!owned.busy) ids.push_back(id);
    }
    for (const std::int64_t id : ids) let_go(id);
    const std::lock_guard lock(mutex);
    for (const std::int64_t id : ids) statuses.erase(id);
  }

  /// Forgets it. Its runs at the agent are stopped.
  void let_go(std::int64_t id) {
    const auto place = attempts.find(id);
    for (const auto& [task, lease] : place->second.at_agent) {
      strays[id].insert({task, lease});
      runner->stop(id, task, lease, std::nullopt);
    }
    if (place->second.due) timers.erase({*place->second.due, id});
    handouts.take_out(id);
    attempts.erase(place);
    --attempts_owned;
  }

  void tell(const std::vector<Work>& round) {
    if (listener) {
      for (const Work& work : round) {
        if (!work.outcome.changed.empty()) listener->committed(work.owned->identity, work.owned->attempt, work.outcome.changed);
      }
    }
    for (const Work& work : round) {
      const engine::Attempt& attempt = work.owned->attempt;
      Status status{true, attempt.done(), attempt.success(), failure_of(*work.owned)};
      const std::lock_guard lock(mutex);
      const std::int64_t id = work.owned->identity.attempt_id;
      if (status.done) {
        done_in_order.push_back(id);
        while (done_in_order.size() > options.remembered) {
          statuses.erase(done_in_order.front());
          done_in_order.pop_front();
        }
      }
      statuses[id] = std::move(status);
    }
  }

  /// Of an attempt that is done: its first failed task and why; "" where none failed.
  static std::string failure_of(const Owned& owned) {
    const engine::Attempt& attempt = owned.attempt;
    if (!attempt.done() || attempt.success()) return "";
    for (const engine::TaskIndex task : attempt.newest_rows()) {
      if (attempt.state(task) != engine::TaskState::error) continue;
      const auto hint = owned.hints.find(task);
      return attempt.full_name(task) + ": " + one_line(message_of(attempt.error(task))) +
             (hint == owned.hints.end() ? "" : "; " + hint->second);
    }
    return "";
  }

  void perform(std::vector<Work>& round) {
    for (Work& work : round) {
      for (const engine::Note& note : work.outcome.notes) {
        const LogLevel level = note.kind == engine::Note::Kind::warning ? LogLevel::warn : LogLevel::error;
        log.write(level, "main", "executor", text_of(note, work.owned->attempt));
      }
      for (const engine::Run& run : work.given) {
        work.owned->at_agent[run.task] = run.lease;
        runner->run(request_of(*work.owned, run));
      }
      for (const engine::Effect& effect : work.outcome.effects) perform(*work.owned, effect);
    }
  }

  void perform(const Owned& owned, const engine::Effect& effect) {
    const std::int64_t id = owned.identity.attempt_id;
    if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      const auto at_agent = owned.at_agent.find(stop->task);
      if (at_agent != owned.at_agent.end() && at_agent->second == stop->lease) {
        runner->stop(id, stop->task, stop->lease, stop->grace_seconds);
      } else {  // it still waits for a place: nobody else will answer
        handouts.remove(id, stop->task, stop->lease);
        push(QueuedEvent{id, engine::Failed{stop->task, stop->lease, Value::object(), false, {}}});
      }
    } else if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) {
      evaluate_retry(owned, *evaluate);
    }
  }

  operators::TaskIdentity identity_of(const Owned& owned, engine::TaskIndex task) const {
    const AttemptIdentity& attempt = owned.identity;
    operators::TaskIdentity identity;
    identity.site_id = attempt.site_id;
    identity.project_id = attempt.project_id;
    identity.session_id = attempt.session_id;
    identity.attempt_id = attempt.attempt_id;
    identity.task_id = owned.rows.task_ids[static_cast<std::size_t>(task)];
    identity.project_name = attempt.project_name;
    identity.workflow_name = attempt.workflow_name;
    identity.revision = attempt.revision;
    identity.revision_id = attempt.revision_id;
    identity.workflow_definition_id = attempt.workflow_definition_id;
    identity.task_name = owned.attempt.full_name(task);
    identity.retry_attempt_name = attempt.retry_attempt_name;
    identity.session_uuid = attempt.session_uuid;
    identity.session_time = attempt.session_time;
    identity.created_at = attempt.created_at;
    identity.timezone = attempt.timezone;
    return identity;
  }

  agent::RunRequest request_of(const Owned& owned, const engine::Run& run) const {
    const engine::Attempt& attempt = owned.attempt;
    agent::RunRequest request;
    request.attempt = owned.identity.attempt_id;
    request.task = run.task;
    request.lease = run.lease;
    request.cleanup = run.cleanup;
    request.identity = identity_of(owned, run.task);
    request.params = attempt.params_of(run.task);
    request.local = attempt.local(run.task);
    request.own_export = attempt.export_config(run.task);
    request.state = attempt.state_params(run.task);
    request.retry_count = attempt.retry_count(run.task);
    request.started_at = attempt.started_at(run.task);
    request.kill_grace_seconds = attempt.kill_grace(run.task);
    request.lenient = attempt.in_handler(run.task);
    request.position = attempt.position(run.task);
    return request;
  }

  void evaluate_retry(const Owned& owned, const engine::EvaluateRetry& effect) {
    if (!evaluations) evaluations = std::make_unique<agent::ThreadPool>(evaluators);
    evaluations->post([this, attempt_id = owned.identity.attempt_id, identity = identity_of(owned, effect.task), effect,
                       params = owned.attempt.params_of(effect.task)](unsigned) {
      Value retry;
      std::string problem;
      try {
        Value visible = params.to_value();
        merge(visible, agent::runtime_params(identity, visible));
        const Value local = Value::object({{"_retry", effect.retry}});
        const Value all = templates.evaluate(visible, local, params.origins(), identity.timezone).all;
        if (const Value* evaluated = all.find("_retry")) retry = *evaluated;
      } catch (const std::exception& error) {
        problem = error.what();  // answered as null: the engine notes that the retry is ignored, as the original does (L-16)
      }
      push(QueuedEvent{attempt_id, engine::RetryEvaluated{effect.task, std::move(retry), std::move(problem)}});
    });
  }

  /// Forgets the attempts that are done, after waking those that waited for their end.
  void leave(const std::vector<Work>& round) {
    for (const Work& work : round) {
      work.owned->work = 0;
      if (!work.outcome.finished) continue;
      const std::int64_t id = work.owned->identity.attempt_id;
      for (const auto& [poll, lease] : sleepers.take(id)) push(QueuedEvent{poll.first, engine::Wake{poll.second, lease}});
      if (keeper) keeper->ended(work.owned->identity, work.owned->attempt.success());
      if (kept == id) continue;
      handouts.take_out(id);
      attempts.erase(id);
      --attempts_owned;
    }
  }

  std::optional<Instant> next_due() const { return timers.empty() ? std::nullopt : std::optional(timers.begin()->first); }

  /// Waits until something arrives or is due; false where `interrupt` came, or all is over after `drain`.
  bool wait_for_work() {
    if (!left.empty() || handouts.has_next()) {
      const std::lock_guard lock(mutex);
      return !interrupted;
    }
    const auto due = next_due();
    std::unique_lock lock(mutex);
    const auto something = [&] { return interrupted || dropping || !inbox.empty() || !added.empty() || !written.empty() || is_drained(); };
    if (!something()) {
      lock.unlock();
      log.flush();
      lock.lock();
    }
    if (!due) {
      arrived.wait(lock, something);
    } else {
      const std::int64_t millis = std::clamp<std::int64_t>(due->millis - clock().millis, 0, longest_wait_millis);
      arrived.wait_for(lock, std::chrono::milliseconds(millis), something);
    }
    return !interrupted && !(is_drained() && inbox.empty() && added.empty() && written.empty());
  }
  bool is_drained() const { return handouts.closed() && handouts.taken() == 0 && being_written == 0; }

  void step() {
    std::vector<Added> fresh;
    std::vector<QueuedEvent> events;
    std::vector<Written> done;
    bool drops = false;
    events.swap(left);
    {
      const std::lock_guard lock(mutex);
      fresh.swap(added);
      events.insert(events.end(), std::make_move_iterator(inbox.begin()), std::make_move_iterator(inbox.end()));
      inbox.clear();
      done.swap(written);
      drops = std::exchange(dropping, false);
    }
    if (drops) drop_all();
    take_written(std::move(done), events);
    end_strays(events, fresh);
    std::vector<Work> round;
    take_in(std::move(fresh), round);
    apply(std::move(events), round);
    tick(round);
    hand_out(round);
    write_beside(round);
    if (round.empty()) return;
    if (!commit(round)) return;
    std::erase_if(round, [](const Work& work) { return work.owned == nullptr; });
    tell(round);
    perform(round);
    leave(round);
  }

  /// A run is over, or was refused: its place is free.
  void report(QueuedEvent event) {
    ++tasks_ended;
    {
      const std::lock_guard lock(mutex);
      inbox.push_back(std::move(event));
      handouts.free_place();
    }
    arrived.notify_one();
  }
};

Executor::Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener)
    : Executor(store, log, templates, listener, Options{}) {}
Executor::Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, Options options)
    : impl_(std::make_unique<Impl>(store, log, templates, listener, std::move(options))) {}
Executor::~Executor() = default;

void Executor::use(agent::TaskRunner& runner) { impl_->runner = &runner; }
void Executor::use(Keeper& keeper) { impl_->keeper = &keeper; }

void Executor::add(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows) {
  impl_->push(Impl::Added{std::move(identity), std::move(attempt), std::move(rows)});
}

void Executor::adopt(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows, engine::Outcome outcome,
                     std::vector<engine::Run> given) {
  impl_->push(Impl::Added{.identity = std::move(identity),
                          .attempt = std::move(attempt),
                          .rows = std::move(rows),
                          .outcome = std::move(outcome),
                          .stored = true,
                          .given = std::move(given)});
}

void Executor::resume(AttemptIdentity identity, engine::Restored restored, store::AttemptRows rows,
                      std::vector<engine::TaskIndex> untaken) {
  impl_->push(Impl::Added{.identity = std::move(identity),
                          .attempt = std::move(restored.attempt),
                          .rows = std::move(rows),
                          .outcome = std::move(restored.outcome),
                          .read_back = true,
                          .untaken = std::move(untaken)});
}

std::int64_t Executor::take_places(std::int64_t wanted) { return impl_->handouts.try_take(wanted); }
bool Executor::has_agent() const { return impl_->options.places > 0; }
void Executor::give_places_back(std::int64_t places) {
  for (; places > 0; --places) impl_->handouts.free_place();
}

void Executor::ended(const agent::RunRequest& request, agent::RunEnd end) {
  if (auto* done = std::get_if<agent::RunSucceeded>(&end)) {
    impl_->report({request.attempt, engine::Succeeded{request.task, request.lease, std::move(done->result), std::move(done->retry)}});
  } else if (auto* later = std::get_if<agent::RunLater>(&end)) {
    impl_->report({request.attempt,
                   engine::RetryLater{request.task, request.lease, later->delay_millis, std::move(later->state), std::move(later->retry)},
                   later->wakes_after});
  } else {
    auto& failed = std::get<agent::RunFailed>(end);
    if (impl_->listener) impl_->listener->run_failed(request, failed);
    impl_->report({request.attempt, engine::Failed{request.task, request.lease, failed.error, failed.retryable, failed.retry}, std::nullopt,
                   failed.cause.hint_text()});
  }
}

void Executor::limits_evaluated(const agent::RunRequest& request, Value limits) {
  impl_->push(QueuedEvent{request.attempt, engine::LimitsEvaluated{request.task, request.lease, std::move(limits)}});
}

void Executor::kill(std::int64_t attempt_id, std::int64_t stored_event) {
  impl_->push(QueuedEvent{attempt_id, engine::Kill{}, std::nullopt, {}, stored_event});
}

void Executor::drop_all() {
  {
    const std::lock_guard lock(impl_->mutex);
    for (const Impl::Added& one : impl_->added) {
      give_places_back(static_cast<std::int64_t>(one.given.size()));
      impl_->statuses.erase(one.identity.attempt_id);
    }
    impl_->added.clear();
    impl_->dropping = true;
  }
  impl_->arrived.notify_one();
}

void Executor::hold(bool held) {
  impl_->handouts.hold(held);
  if (!held) impl_->push(QueuedEvent{0, engine::Tick{}});  // of no attempt: the loop looks whose turn it is
}

void Executor::interrupt() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->interrupted = true;
  }
  impl_->arrived.notify_one();
}

void Executor::drain() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->handouts.close();
  }
  impl_->arrived.notify_one();
}

Executor::Status Executor::status(std::int64_t attempt_id) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->statuses.find(attempt_id);
  return found == impl_->statuses.end() ? Status{} : found->second;
}

Executor::Counts Executor::counts() const {
  return {impl_->attempts_owned, impl_->handouts.taken(), static_cast<std::int64_t>(impl_->handouts.waiting()), impl_->tasks_ended};
}

bool Executor::run_until_done(std::int64_t attempt_id) {
  impl_->kept = attempt_id;
  while (!status(attempt_id).done) {
    if (!impl_->wait_for_work()) return false;
    impl_->step();
  }
  return true;
}

void Executor::run() {
  while (impl_->wait_for_work()) impl_->step();
}

void Executor::step() { impl_->step(); }
std::optional<Instant> Executor::next_due() const { return impl_->next_due(); }

const engine::Attempt* Executor::tasks(std::int64_t attempt_id) const {
  const auto place = impl_->attempts.find(attempt_id);
  return place == impl_->attempts.end() ? nullptr : &place->second.attempt;
}

}  // namespace digdag::executor
