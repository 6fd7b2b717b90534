#include "executor/loop.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <variant>

#include "agent/failure.h"
#include "base/text.h"
#include "executor/run_request.h"

namespace digdag::executor {
namespace {

constexpr int runs_in_a_round = 64;  ///< that begin: then it looks again at what has arrived
constexpr std::int64_t longest_wait_millis = std::int64_t{24} * 3600 * 1000;

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

/// The end of a run: it is not at the agent any more.
void note_end(Owned& owned, const engine::Event& event) {
  const auto run = ended_run(event);
  if (!run) return;
  const auto place = owned.at_agent.find(run->first);
  if (place != owned.at_agent.end() && place->second == run->second) owned.at_agent.erase(place);
}

/// Where the task failed by this failure: it may be tried again, or have failed by its time limit instead.
void keep_hint(Owned& owned, const QueuedEvent& queued) {
  const auto& failed = std::get<engine::Failed>(queued.event);
  if (message_of(owned.attempt.error(failed.task)) == message_of(failed.error)) owned.hints[failed.task] = queued.hint;
}

/// Of an attempt that is done: its first failed task and why; "" where none failed.
std::string failure_of(const Owned& owned) {
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

}  // namespace

Loop::Loop(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, Executor::Options the_options)
    : handouts(the_options.handouts),
      statuses(the_options.remembered),
      options(std::move(the_options)),
      log_(log),
      listener_(listener),
      writer_(store, log, options.database_pause, options.beside, inbox),
      evaluator_(templates, inbox) {}

/// What belongs to attempts that were dropped comes to nothing; what is read back of one of those waits for its runs to end.
void Loop::end_strays(std::vector<QueuedEvent>& events, std::vector<Added>& fresh) {
  strays_.give_back(fresh);
  for (const Added& one : fresh) {
    const auto known = attempts_.find(one.identity.attempt_id);
    if (known == attempts_.end() || known->second.rows.epoch >= one.rows.epoch) continue;
    known->second.doomed = true;  // another owner was there
    if (!known->second.busy) let_go(known->first);
  }
  strays_.take_ends(events);
  strays_.keep_back(fresh, [this](std::int64_t id) {
    const auto known = attempts_.find(id);
    return known != attempts_.end() && known->second.doomed;
  });
}

Loop::Untaken Loop::take_in(std::vector<Added> fresh, std::vector<Work>& round) {
  Untaken read_back;
  for (Added& one : fresh) {
    const std::int64_t id = one.identity.attempt_id;
    one.rows.attempt_id = id;
    const std::int64_t site = one.identity.site_id;
    const auto [place, is_new] = attempts_.try_emplace(id, Owned{std::move(one.identity), std::move(one.attempt), std::move(one.rows)});
    if (!is_new) {  // read back twice
      for (std::size_t i = 0; i < one.given.size(); ++i) handouts.free_place(site);
      continue;
    }
    ++attempts_owned;
    statuses.begin(id);  // forgotten with its old self, where that was still here
    Owned& owned = place->second;
    if (!one.outcome) {
      note_outcome(owned, owned.attempt.start(clock()), round);
    } else if (one.stored) {
      adopt(owned, one, round);
    } else {
      note_outcome(owned, std::move(*one.outcome), round);
    }
    if (one.read_back) read_back.emplace(id, std::move(one.untaken));
  }
  return read_back;
}

/// Its first rows are stored: only their effects are left, and the runs that have no place yet.
void Loop::adopt(Owned& owned, Added& one, std::vector<Work>& round) {
  set_timer(owned);
  Work& work = work_of(owned, round);
  work.given = std::move(one.given);
  for (engine::Effect& effect : one.outcome->effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      const auto same = [&](const engine::Run& given) { return given.task == run->task; };
      if (std::none_of(work.given.begin(), work.given.end(), same)) wait(owned, *run);
    } else {
      work.outcome.effects.push_back(std::move(effect));
    }
  }
  work.outcome.notes = std::move(one.outcome->notes);
  work.outcome.finished = one.outcome->finished;
}

void Loop::run_again(Owned& owned, const std::vector<engine::TaskIndex>& untaken, std::vector<Work>& round) {
  for (const engine::Running& running : owned.attempt.running()) {
    if (std::find(untaken.begin(), untaken.end(), running.task) != untaken.end() && !running.cancel_requested) {
      wait(owned, {running.task, running.lease, running.cleanup});
    } else {
      note_outcome(owned, owned.attempt.apply(engine::Lost{running.task, running.lease}, clock()), round);
    }
  }
}

void Loop::apply(std::vector<QueuedEvent> events, std::vector<Work>& round) {
  std::unordered_map<std::int64_t, std::size_t> applied;
  for (QueuedEvent& queued : events) {
    if (events.size() > options.events_in_a_round && ++applied[queued.attempt_id] > options.events_in_a_round) {
      left_.push_back(std::move(queued));
      continue;
    }
    const auto place = attempts_.find(queued.attempt_id);
    if (place == attempts_.end()) continue;
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

void Loop::tick(std::vector<Work>& round) {
  const Instant now = clock();
  std::vector<std::int64_t> due;
  for (auto timer = timers_.begin(); timer != timers_.end() && timer->first <= now; ++timer) due.push_back(timer->second);
  for (const std::int64_t id : due) {
    Owned& owned = attempts_.at(id);
    note_outcome(owned, owned.attempt.apply(engine::Tick{}, now), round);
  }
}

Work& Loop::work_of(Owned& owned, std::vector<Work>& round) {
  if (owned.work == 0) {
    round.push_back({&owned});
    owned.work = round.size();
  }
  return round[owned.work - 1];
}

void Loop::note_outcome(Owned& owned, engine::Outcome outcome, std::vector<Work>& round) {
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

void Loop::set_timer(Owned& owned) {
  const auto due = owned.attempt.next_tick();
  if (due == owned.due) return;
  const std::int64_t id = owned.identity.attempt_id;
  if (owned.due) timers_.erase({*owned.due, id});
  if (due) timers_.emplace(*due, id);
  owned.due = due;
}

void Loop::sleep(const Owned& owned, const QueuedEvent& poll, std::int64_t awaited) {
  const auto& later = std::get<engine::RetryLater>(poll.event);
  if (owned.attempt.lease(later.task) != later.lease) return;  // of an old run
  const AttemptStatus status = statuses.find(awaited);
  if (status.done) {
    inbox.push(QueuedEvent{poll.attempt_id, engine::Wake{later.task, later.lease}});
  } else if (status.known) {
    sleepers_.add({poll.attempt_id, later.task}, later.lease, awaited);
  }
}

void Loop::wait(const Owned& owned, const engine::Run& run) { handouts.wait(owned.identity.site_id, owned.identity.attempt_id, run); }

std::deque<engine::Run> Loop::take_out(const Owned& owned) { return handouts.take_out(owned.identity.site_id, owned.identity.attempt_id); }

void Loop::free_places(const Work& work) {
  for (std::size_t i = 0; i < work.given.size(); ++i) handouts.free_place(work.owned->identity.site_id);
}

/// Gives places to the runs whose turn it is; what begins without one waits in the queue.
void Loop::hand_out(std::vector<Work>& round) {
  std::map<std::pair<std::int64_t, engine::TaskIndex>, engine::Lease> begun;
  for (Work& work : round) {
    const std::int64_t id = work.owned->identity.attempt_id;
    std::erase_if(work.outcome.effects, [&](const engine::Effect& effect) {
      const auto* run = std::get_if<engine::Run>(&effect);
      if (run == nullptr) return false;
      wait(*work.owned, *run);
      begun[{id, run->task}] = run->lease;
      return true;
    });
  }
  for (int given = 0; given < runs_in_a_round; ++given) {
    const auto next = handouts.next();
    if (!next) break;
    const auto& [id, run] = *next;
    Owned& owned = attempts_.at(id);
    if (owned.attempt.state(run.task) != engine::TaskState::running || owned.attempt.lease(run.task) != run.lease) {
      handouts.free_place(owned.identity.site_id);  // it is over already
      continue;
    }
    Work& work = work_of(owned, round);
    work.runs.push_back({run.task, run.lease, true});
    work.given.push_back(run);
    begun.erase({id, run.task});
  }
  for (const auto& [key, lease] : begun) {
    Owned& owned = attempts_.at(key.first);
    // What waits for a place here needs no row: nobody else is to take it. One that it has must not name an old run.
    if (handouts.serves(owned.identity.site_id) && !owned.rows.queued.contains(key.second)) continue;
    if (owned.attempt.state(key.second) == engine::TaskState::running && owned.attempt.lease(key.second) == lease)
      work_of(owned, round).runs.push_back({key.second, lease, false});
  }
}

void Loop::write_beside(std::vector<Work>& round) {
  for (Work& work : round) {
    if (!writer_.is_large(work)) continue;
    Owned& owned = *work.owned;
    owned.busy = true;
    owned.waiting = take_out(owned);
    if (owned.due) timers_.erase({*owned.due, owned.identity.attempt_id});
    owned.due.reset();
    owned.work = 0;
    writer_.write_beside(std::make_shared<Work>(std::exchange(work, Work())));
  }
  std::erase_if(round, [](const Work& work) { return work.owned == nullptr; });
  for (std::size_t i = 0; i < round.size(); ++i) round[i].owned->work = i + 1;
}

/// Goes on with attempts whose large change is stored: its effects are due, and what came meanwhile.
void Loop::take_written(std::vector<Written> done, std::vector<QueuedEvent>& events) {
  std::vector<Work> over;
  for (Written& one : done) {
    Owned& owned = *one.work->owned;
    owned.busy = false;
    writer_.taken();
    if (owned.doomed || one.trouble) forget_stored_events(owned.deferred, owned.identity.attempt_id);
    events.insert(events.end(), std::make_move_iterator(owned.deferred.begin()), std::make_move_iterator(owned.deferred.end()));
    owned.deferred.clear();
    for (const engine::Run& run : owned.waiting) wait(owned, run);
    owned.waiting.clear();
    if (owned.doomed) {
      const std::int64_t id = owned.identity.attempt_id;
      free_places(*one.work);
      let_go(id);
      statuses.forget(id);
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

/// Its memory is ahead of its rows: it must be read again, by its owner.
void Loop::drop(Work& work, const Trouble& trouble) {
  const std::int64_t id = work.owned->identity.attempt_id;
  const auto& [error, refused] = trouble;
  log_.write(refused ? LogLevel::error : LogLevel::warn, "main", "executor",
             "Attempt " + std::to_string(id) +
                 (refused ? " cannot be stored: "
                          : " is read back, its rows are not as they were left (another server has it, or the database has crashed): ") +
                 error.report());
  free_places(work);
  let_go(id);
  work.owned = nullptr;
  statuses.forget(id);
  if (refused)
    keeper_->broken(id, error.message());
  else
    keeper_->dropped(id);
}

void Loop::drop_all() {
  std::vector<std::int64_t> ids;
  for (auto& [id, owned] : attempts_) {
    owned.doomed = true;
    if (!owned.busy) ids.push_back(id);
  }
  for (const std::int64_t id : ids) {
    let_go(id);
    statuses.forget(id);
  }
}

/// Forgets it. Its runs at the agent are stopped.
void Loop::let_go(std::int64_t id) {
  sleepers_.forget(id);
  const auto place = attempts_.find(id);
  for (const auto& [task, lease] : place->second.at_agent) {
    strays_.add(id, task, lease);
    runner_->stop(id, task, lease, std::nullopt);
  }
  if (place->second.due) timers_.erase({*place->second.due, id});
  take_out(place->second);
  attempts_.erase(place);
  --attempts_owned;
}

void Loop::tell(const std::vector<Work>& round) {
  if (listener_) {
    for (const Work& work : round) {
      if (!work.outcome.changed.empty()) listener_->committed(work.owned->identity, work.owned->attempt, work.outcome.changed);
    }
  }
  for (const Work& work : round) {
    const engine::Attempt& attempt = work.owned->attempt;
    statuses.set(work.owned->identity.attempt_id, {true, attempt.done(), attempt.success(), failure_of(*work.owned)});
  }
}

void Loop::perform(std::vector<Work>& round) {
  for (Work& work : round) {
    for (const engine::Note& note : work.outcome.notes) {
      const LogLevel level = note.kind == engine::Note::Kind::warning ? LogLevel::warn : LogLevel::error;
      log_.write(level, "main", "executor", text_of(note, work.owned->attempt));
    }
    for (const engine::Run& run : work.given) {
      work.owned->at_agent[run.task] = run.lease;
      runner_->run(request_of(*work.owned, run));
    }
    for (const engine::Effect& effect : work.outcome.effects) perform(*work.owned, effect);
  }
}

void Loop::perform(Owned& owned, const engine::Effect& effect) {
  const std::int64_t id = owned.identity.attempt_id;
  if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
    const auto at_agent = owned.at_agent.find(stop->task);
    if (at_agent != owned.at_agent.end() && at_agent->second == stop->lease) {
      runner_->stop(id, stop->task, stop->lease, stop->grace_seconds);
    } else if (owned.attempt.lease(stop->task) == stop->lease) {  // it still waits for a place: nobody else will answer
      handouts.remove(owned.identity.site_id, id, stop->task, stop->lease);
      owned.at_agent[stop->task] = stop->lease;  // as if it were: should the attempt be dropped before, the answer is of no use
      inbox.push(QueuedEvent{id, engine::Failed{stop->task, stop->lease, Value::object(), false, {}}});
    }
  } else if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) {
    evaluator_.evaluate(owned, *evaluate);
  }
}

/// Forgets the attempts that are done, after waking those that waited for their end.
void Loop::leave(const std::vector<Work>& round) {
  for (const Work& work : round) {
    work.owned->work = 0;
    if (!work.outcome.finished) continue;
    const std::int64_t id = work.owned->identity.attempt_id;
    for (const auto& [poll, lease] : sleepers_.take(id)) inbox.push(QueuedEvent{poll.first, engine::Wake{poll.second, lease}});
    sleepers_.forget(id);
    if (keeper_) keeper_->ended(work.owned->identity, work.owned->attempt.success());
    if (kept_ == id) continue;
    take_out(*work.owned);
    attempts_.erase(id);
    --attempts_owned;
  }
}

void Loop::step() {
  Inbox::Arrivals arrivals = inbox.take();
  std::vector<QueuedEvent> events = std::exchange(left_, {});
  for (const Added& one : arrivals.added) forget_stored_events(events, one.identity.attempt_id);
  events.insert(events.end(), std::make_move_iterator(arrivals.events.begin()), std::make_move_iterator(arrivals.events.end()));
  if (arrivals.drop_all) drop_all();
  take_written(std::move(arrivals.written), events);
  end_strays(events, arrivals.added);
  std::vector<Work> round;
  const Untaken read_back = take_in(std::move(arrivals.added), round);
  apply(std::move(events), round);
  for (const auto& [id, untaken] : read_back) run_again(attempts_.at(id), untaken, round);
  tick(round);
  hand_out(round);
  write_beside(round);
  if (round.empty()) return;
  if (!writer_.commit(round, [this](Work& work, const Trouble& trouble) { drop(work, trouble); })) return;
  std::erase_if(round, [](const Work& work) { return work.owned == nullptr; });
  tell(round);
  perform(round);
  leave(round);
}

bool Loop::wait_for_work() {
  if (!left_.empty() || handouts.has_next()) return !inbox.interrupted();
  std::optional<std::int64_t> millis;
  if (const auto due = next_due()) millis = std::clamp<std::int64_t>(due->millis - clock().millis, 0, longest_wait_millis);
  return inbox.wait(
      millis, [this] { return is_drained(); }, [this] { log_.flush(); });
}

std::optional<Instant> Loop::next_due() const { return timers_.empty() ? std::nullopt : std::optional(timers_.begin()->first); }

const engine::Attempt* Loop::tasks(std::int64_t attempt_id) const {
  const auto place = attempts_.find(attempt_id);
  return place == attempts_.end() ? nullptr : &place->second.attempt;
}

}  // namespace digdag::executor
