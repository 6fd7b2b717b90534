#include "executor/executor.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <unordered_map>

namespace digdag::executor {
namespace {

/// The system clock, but never going back (spec/decisions.md E-50).
class Clock {
 public:
  Instant now() {
    latest_ = std::max(latest_, digdag::now());
    return latest_;
  }

 private:
  Instant latest_;
};

struct Owned {
  AttemptIdentity identity;
  engine::Attempt attempt;
};

struct QueuedEvent {
  std::int64_t attempt_id;
  engine::Event event;
  std::optional<std::int64_t> wakes_after;  ///< of a RetryLater: the attempt whose end it waits for
};

/// A poll that waits for the end of another attempt.
struct Sleeper {
  std::int64_t attempt_id;
  engine::Wake wake;
};

}  // namespace

struct Executor::Impl {
  Impl(store::Store& s, Log& l, const dig::TemplateEngine& t, Listener* li) : store(s), log(l), templates(t), listener(li) {}

  store::Store& store;
  Log& log;
  const dig::TemplateEngine& templates;
  Listener* listener;
  agent::Agent* agent = nullptr;
  Clock clock;

  // What other threads hand in.
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::vector<QueuedEvent> inbox;
  std::vector<Owned> added;
  bool interrupted = false;
  std::unordered_map<std::int64_t, Status> statuses;

  // Only the loop's.
  std::map<std::int64_t, Owned> attempts;
  std::multimap<std::int64_t, Sleeper> sleepers;  ///< by the attempt that they wait for
  std::vector<std::jthread> evaluations;

  void push(std::int64_t attempt_id, engine::Event event, std::optional<std::int64_t> wakes_after = std::nullopt) {
    {
      const std::lock_guard lock(mutex);
      inbox.push_back({attempt_id, std::move(event), wakes_after});
    }
    arrived.notify_one();
  }

  // ---- One round: what has arrived, one commit, the effects ----

  struct Work {
    Owned* owned;
    engine::Outcome outcome;
  };

  void start_added(std::vector<Owned> fresh, std::vector<Work>& done) {
    for (Owned& owned : fresh) {
      const std::int64_t id = owned.identity.attempt_id;
      const auto place = attempts.insert_or_assign(id, std::move(owned)).first;
      done.push_back({&place->second, place->second.attempt.start(clock.now())});
    }
  }

  void apply(std::vector<QueuedEvent> events, std::vector<Work>& done) {
    for (QueuedEvent& queued : events) {
      const auto place = attempts.find(queued.attempt_id);
      if (place == attempts.end()) continue;
      Owned& owned = place->second;
      engine::Outcome outcome = owned.attempt.apply(queued.event, clock.now());
      if (!outcome.changed.empty() || !outcome.effects.empty() || !outcome.notes.empty()) done.push_back({&owned, std::move(outcome)});
      if (queued.wakes_after) sleep(queued, *queued.wakes_after);
    }
  }

  void sleep(const QueuedEvent& poll, std::int64_t awaited) {
    const auto& later = std::get<engine::RetryLater>(poll.event);
    const Sleeper sleeper{poll.attempt_id, {later.task, later.lease}};
    bool ended = false;
    {
      const std::lock_guard lock(mutex);
      const auto status = statuses.find(awaited);
      ended = status != statuses.end() && status->second.done;
    }
    if (ended) {
      push(sleeper.attempt_id, sleeper.wake);
    } else {
      sleepers.emplace(awaited, sleeper);
    }
  }

  void wake_sleepers(const std::vector<Work>& done) {
    for (const Work& work : done) {
      if (!work.outcome.finished) continue;
      const auto [first, last] = sleepers.equal_range(work.owned->identity.attempt_id);
      for (auto place = first; place != last; ++place) push(place->second.attempt_id, place->second.wake);
      sleepers.erase(first, last);
    }
  }

  void tick(std::vector<Work>& done) {
    const Instant now = clock.now();
    for (auto& [id, owned] : attempts) {
      const auto due = owned.attempt.next_tick();
      if (due && *due <= now) done.push_back({&owned, owned.attempt.apply(engine::Tick{}, now)});
    }
  }

  void commit(const std::vector<Work>& done) {
    std::vector<store::AttemptChange> changes;
    changes.reserve(done.size());
    for (const Work& work : done) {
      changes.push_back({work.owned->identity.attempt_id, &work.owned->attempt, work.outcome.changed, work.outcome.finished});
    }
    store.commit(changes);
    if (listener) {
      for (const Work& work : done) listener->committed(work.owned->identity, work.owned->attempt, work.outcome.changed);
    }
    const std::lock_guard lock(mutex);
    for (const Work& work : done) {
      statuses[work.owned->identity.attempt_id] = {true, work.owned->attempt.done(), work.owned->attempt.success()};
    }
  }

  void perform(const std::vector<Work>& done) {
    for (const Work& work : done) {
      for (const engine::Note& note : work.outcome.notes) {
        const LogLevel level = note.level == engine::Note::Level::error ? LogLevel::error : LogLevel::warn;
        log.write(level, "main", "executor", "task " + work.owned->attempt.full_name(note.task) + ": " + note.message);
      }
      for (const engine::Effect& effect : work.outcome.effects) perform(*work.owned, effect);
    }
  }

  void perform(const Owned& owned, const engine::Effect& effect) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      agent->run(request_of(owned, *run));
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      agent->stop(owned.identity.attempt_id, stop->task, stop->lease, stop->grace_seconds);
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
    request.lenient = attempt.in_handler(run.task);
    request.position = attempt.position(run.task);
    return request;
  }

  /// `_retry: ${…}` of a group: rare, and a hostile expression may take its whole time limit, so it has a thread of its own.
  void evaluate_retry(const Owned& owned, const engine::EvaluateRetry& effect) {
    engine::Params params = owned.attempt.params_of(effect.task);
    evaluations.emplace_back(
        [this, attempt_id = owned.identity.attempt_id, identity = identity_of(owned, effect.task), effect, params = std::move(params)] {
          Value retry;
          try {
            Value visible = params.to_value();
            merge(visible, agent::runtime_params(identity, visible));
            const Value local = Value::object({{"_retry", effect.retry}});
            const Value all = templates.evaluate(visible, local, params.origins(), identity.timezone).all;
            if (const Value* evaluated = all.find("_retry")) retry = *evaluated;
          } catch (const std::exception&) {
            // Answered as null: the engine notes that the retry is ignored, as the original does (L-16).
          }
          push(attempt_id, engine::RetryEvaluated{effect.task, retry});
        });
  }

  /// What has arrived since the last round; waits for it until the next timer is due.
  bool wait_for_work(std::vector<Owned>& fresh, std::vector<QueuedEvent>& events) {
    std::optional<Instant> due;
    for (const auto& [id, owned] : attempts) {
      const auto next = owned.attempt.next_tick();
      if (next && (!due || *next < *due)) due = next;
    }
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
      const std::int64_t millis = std::max<std::int64_t>(0, due->millis - clock.now().millis);
      arrived.wait_for(lock, std::chrono::milliseconds(millis), something);
    }
    fresh.swap(added);
    events.swap(inbox);
    return !interrupted;
  }
};

Executor::Executor(store::Store& store, Log& log, const dig::TemplateEngine& templates, Listener* listener)
    : impl_(std::make_unique<Impl>(store, log, templates, listener)) {}
Executor::~Executor() = default;

void Executor::use(agent::Agent& agent) { impl_->agent = &agent; }

void Executor::add(AttemptIdentity identity, engine::Attempt attempt) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->statuses[identity.attempt_id] = {true, false, false};
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
    impl_->push(request.attempt, engine::Failed{request.task, request.lease, failed.error, failed.retryable, failed.retry});
  }
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
  for (;;) {
    std::vector<Owned> fresh;
    std::vector<QueuedEvent> events;
    if (!impl_->wait_for_work(fresh, events)) return false;
    std::vector<Impl::Work> done;
    impl_->start_added(std::move(fresh), done);
    impl_->apply(std::move(events), done);
    impl_->tick(done);
    if (!done.empty()) {
      impl_->commit(done);
      impl_->perform(done);
      impl_->wake_sleepers(done);
    }
    if (status(attempt_id).done) return true;
  }
}

const engine::Attempt* Executor::tasks(std::int64_t attempt_id) const {
  const auto place = impl_->attempts.find(attempt_id);
  return place == impl_->attempts.end() ? nullptr : &place->second.attempt;
}

}  // namespace digdag::executor
