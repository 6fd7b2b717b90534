#include "executor/executor.h"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

#include "agent/failure.h"
#include "agent/runtime_params.h"
#include "agent/thread_pool.h"
#include "base/text.h"

namespace digdag::executor {
namespace {

/// `_retry: ${…}` of groups is rare and normally quick; a hostile expression holds up its thread for its whole time limit.
constexpr agent::ThreadPool::Options evaluators{.steady = 1, .grows_at_once = false, .most = 8};
constexpr std::int64_t longest_wait_millis = std::int64_t{24} * 3600 * 1000;

struct QueuedEvent {
  std::int64_t attempt_id;
  engine::Event event;
  std::optional<std::int64_t> wakes_after;  ///< of a RetryLater: the attempt whose end it waits for
  std::string hint;                         ///< of a Failed: what to do about it
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

/// The polls that wait for the end of another attempt, each for one.
class Sleepers {
 public:
  using Poll = std::pair<std::int64_t, engine::TaskIndex>;  ///< attempt and task

  void add(Poll poll, engine::Lease lease, std::int64_t awaited) {
    const auto [place, is_new] = awaited_by_.try_emplace(poll, awaited);
    if (!is_new) polls_of_[std::exchange(place->second, awaited)].erase(poll);
    polls_of_[awaited].insert_or_assign(poll, lease);
  }
  /// Those that wait for this attempt, taken out.
  std::map<Poll, engine::Lease> take(std::int64_t awaited) {
    auto polls = polls_of_.extract(awaited);
    if (polls.empty()) return {};
    for (const auto& [poll, lease] : polls.mapped()) awaited_by_.erase(poll);
    return std::move(polls.mapped());
  }

 private:
  std::map<Poll, std::int64_t> awaited_by_;
  std::unordered_map<std::int64_t, std::map<Poll, engine::Lease>> polls_of_;
};

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
  Impl(store::Store& s, Log& l, const dig::TemplateEngine& t, Listener* li, std::function<Instant()> c)
      : store(s), log(l), templates(t), listener(li), clock(std::move(c)) {}

  store::Store& store;
  Log& log;
  const dig::TemplateEngine& templates;
  Listener* listener;
  const std::function<Instant()> clock;
  agent::TaskRunner* runner = nullptr;

  struct Owned {
    AttemptIdentity identity;
    engine::Attempt attempt;
    std::optional<Instant> due;                                ///< as it stands in `timers`
    std::size_t work = 0;                                      ///< its place in this round's work, counted from 1; 0 = none yet
    std::unordered_map<engine::TaskIndex, std::string> hints;  ///< of failed tasks
  };
  struct Added {
    AttemptIdentity identity;
    engine::Attempt attempt;
  };

  // What other threads hand in.
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::vector<QueuedEvent> inbox;
  std::vector<Added> added;
  bool interrupted = false;
  std::unordered_map<std::int64_t, Status> statuses;

  // Only the loop's.
  std::unordered_map<std::int64_t, Owned> attempts;  ///< those under way, and `kept`
  std::set<std::pair<Instant, std::int64_t>> timers;
  Sleepers sleepers;
  std::optional<std::int64_t> kept;  ///< whose tasks will be looked at when it is done

  std::unique_ptr<agent::ThreadPool> evaluations;  ///< made when first needed. Last: its threads end before what they use

  void push(std::int64_t attempt_id, engine::Event event, std::optional<std::int64_t> wakes_after = std::nullopt, std::string hint = "") {
    {
      const std::lock_guard lock(mutex);
      inbox.push_back({attempt_id, std::move(event), wakes_after, std::move(hint)});
    }
    arrived.notify_one();
  }

  // ---- One round: what has arrived, one commit, the effects ----

  /// What all events of this round did to one attempt.
  struct Work {
    Owned* owned;
    engine::Outcome outcome;
  };

  void start_added(std::vector<Added> fresh, std::vector<Work>& round) {
    for (Added& one : fresh) {
      const std::int64_t id = one.identity.attempt_id;
      const auto place = attempts.emplace(id, Owned{std::move(one.identity), std::move(one.attempt), {}, 0, {}}).first;
      note_outcome(place->second, place->second.attempt.start(clock()), round);
    }
  }

  void note_outcome(Owned& owned, engine::Outcome outcome, std::vector<Work>& round) {
    set_timer(owned);
    if (outcome.changed.empty() && outcome.effects.empty() && outcome.notes.empty()) return;
    if (owned.work == 0) {
      round.push_back({&owned, std::move(outcome)});
      owned.work = round.size();
      return;
    }
    const auto append = [](auto& all, auto& more) {
      all.insert(all.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
    };
    engine::Outcome& all = round[owned.work - 1].outcome;
    append(all.changed, outcome.changed);
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

  void apply(const std::vector<QueuedEvent>& events, std::vector<Work>& round) {
    for (const QueuedEvent& queued : events) {
      const auto place = attempts.find(queued.attempt_id);
      if (place == attempts.end()) continue;
      note_outcome(place->second, place->second.attempt.apply(queued.event, clock()), round);
      if (queued.wakes_after) sleep(place->second, queued, *queued.wakes_after);
      if (!queued.hint.empty()) keep_hint(place->second, queued);
    }
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
    bool ended = false;
    {
      const std::lock_guard lock(mutex);
      const auto status = statuses.find(awaited);
      ended = status != statuses.end() && status->second.done;
    }
    if (ended) {
      push(poll.attempt_id, engine::Wake{later.task, later.lease});
    } else {
      sleepers.add({poll.attempt_id, later.task}, later.lease, awaited);
    }
  }

  void commit(std::vector<Work>& round) {
    std::vector<store::AttemptChange> changes;
    changes.reserve(round.size());
    for (Work& work : round) {
      std::vector<engine::TaskIndex>& changed = work.outcome.changed;
      std::sort(changed.begin(), changed.end());
      changed.erase(std::unique(changed.begin(), changed.end()), changed.end());
      changes.push_back({work.owned->identity.attempt_id, &work.owned->attempt, changed, work.outcome.finished});
    }
    store.commit(changes);
    if (listener) {
      for (const Work& work : round) listener->committed(work.owned->identity, work.owned->attempt, work.outcome.changed);
    }
    for (const Work& work : round) {
      const engine::Attempt& attempt = work.owned->attempt;
      Status status{true, attempt.done(), attempt.success(), failure_of(*work.owned)};
      const std::lock_guard lock(mutex);
      statuses[work.owned->identity.attempt_id] = std::move(status);
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

  void perform(const std::vector<Work>& round) {
    for (const Work& work : round) {
      for (const engine::Note& note : work.outcome.notes) {
        const LogLevel level = note.kind == engine::Note::Kind::warning ? LogLevel::warn : LogLevel::error;
        log.write(level, "main", "executor", text_of(note, work.owned->attempt));
      }
      for (const engine::Effect& effect : work.outcome.effects) perform(*work.owned, effect);
    }
  }

  void perform(const Owned& owned, const engine::Effect& effect) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      runner->run(request_of(owned, *run));
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      runner->stop(owned.identity.attempt_id, stop->task, stop->lease, stop->grace_seconds);
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
    identity.task_id = task + 1;
    identity.project_name = attempt.project_name;
    identity.workflow_name = attempt.workflow_name;
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
      push(attempt_id, engine::RetryEvaluated{effect.task, std::move(retry), std::move(problem)});
    });
  }

  /// Forgets the attempts that are done, after waking those that waited for their end.
  void leave(const std::vector<Work>& round) {
    for (const Work& work : round) {
      work.owned->work = 0;
      if (!work.outcome.finished) continue;
      const std::int64_t id = work.owned->identity.attempt_id;
      for (const auto& [poll, lease] : sleepers.take(id)) push(poll.first, engine::Wake{poll.second, lease});
      if (kept != id) attempts.erase(id);
    }
  }

  std::optional<Instant> next_due() const { return timers.empty() ? std::nullopt : std::optional(timers.begin()->first); }

  /// Waits until something arrives or is due; false where `interrupt` came.
  bool wait_for_work() {
    const auto due = next_due();
    std::unique_lock lock(mutex);
    const auto something = [&] { return interrupted || !inbox.empty() || !added.empty(); };
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
    return !interrupted;
  }

  void step() {
    std::vector<Added> fresh;
    std::vector<QueuedEvent> events;
    {
      const std::lock_guard lock(mutex);
      fresh.swap(added);
      events.swap(inbox);
    }
    std::vector<Work> round;
    start_added(std::move(fresh), round);
    apply(events, round);
    tick(round);
    if (round.empty()) return;
    commit(round);
    perform(round);
    leave(round);
  }
};

Executor::Executor(store::Store& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, std::function<Instant()> clock)
    : impl_(std::make_unique<Impl>(store, log, templates, listener, std::move(clock))) {}
Executor::~Executor() = default;

void Executor::use(agent::TaskRunner& runner) { impl_->runner = &runner; }

void Executor::add(AttemptIdentity identity, engine::Attempt attempt) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->statuses[identity.attempt_id] = {true, false, false, ""};
    impl_->added.push_back({std::move(identity), std::move(attempt)});
  }
  impl_->arrived.notify_one();
}

void Executor::ended(const agent::RunRequest& request, agent::RunEnd end) {
  if (auto* done = std::get_if<agent::RunSucceeded>(&end)) {
    impl_->push(request.attempt, engine::Succeeded{request.task, request.lease, std::move(done->result), std::move(done->retry)});
  } else if (auto* later = std::get_if<agent::RunLater>(&end)) {
    impl_->push(request.attempt,
                engine::RetryLater{request.task, request.lease, later->delay_millis, std::move(later->state), std::move(later->retry)},
                later->wakes_after);
  } else {
    auto& failed = std::get<agent::RunFailed>(end);
    if (impl_->listener) impl_->listener->run_failed(request, failed);
    impl_->push(request.attempt, engine::Failed{request.task, request.lease, failed.error, failed.retryable, failed.retry}, std::nullopt,
                failed.cause.hint_text());
  }
}

void Executor::limits_evaluated(const agent::RunRequest& request, Value limits) {
  impl_->push(request.attempt, engine::LimitsEvaluated{request.task, request.lease, std::move(limits)});
}

void Executor::kill(std::int64_t attempt_id) { impl_->push(attempt_id, engine::Kill{}); }

void Executor::interrupt() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->interrupted = true;
  }
  impl_->arrived.notify_one();
}

Executor::Status Executor::status(std::int64_t attempt_id) const {
  const std::lock_guard lock(impl_->mutex);
  const auto found = impl_->statuses.find(attempt_id);
  return found == impl_->statuses.end() ? Status{} : found->second;
}

bool Executor::run_until_done(std::int64_t attempt_id) {
  impl_->kept = attempt_id;
  while (!status(attempt_id).done) {
    if (!impl_->wait_for_work()) return false;
    impl_->step();
  }
  return true;
}

void Executor::step() { impl_->step(); }
std::optional<Instant> Executor::next_due() const { return impl_->next_due(); }

const engine::Attempt* Executor::tasks(std::int64_t attempt_id) const {
  const auto place = impl_->attempts.find(attempt_id);
  return place == impl_->attempts.end() ? nullptr : &place->second.attempt;
}

}  // namespace digdag::executor
