#include "executor/executor.h"

#include <time.h>

#include <atomic>
#include <utility>
#include <variant>

#include "executor/loop.h"

namespace digdag::executor {

std::function<Instant()> steady_clock() {
  const auto since_boot = [] {
    timespec time{};
    clock_gettime(CLOCK_BOOTTIME, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000;
  };
  return [start = digdag::now(), boot = since_boot(), since_boot] { return start.plus_millis(since_boot() - boot); };
}

struct Executor::Impl {
  Loop loop;
  Listener* const listener;
  std::atomic<std::int64_t> tasks_ended = 0;

  void added(Added one) {
    loop.statuses.begin(one.identity.attempt_id);
    loop.inbox.push(std::move(one));
  }
  /// A run is over, or was refused: its place is free.
  void ended(const agent::RunRequest& request, QueuedEvent event) {
    ++tasks_ended;
    // Together, or the loop would seem to be drained between them.
    loop.inbox.push(std::move(event), [&] { loop.handouts.free_place(request.identity.site_id); });
  }
  /// An event of no attempt: the loop looks whose turn it is.
  void look_again() { loop.inbox.push(QueuedEvent{0, engine::Tick{}}); }
};

Executor::Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener)
    : Executor(store, log, templates, listener, Options{}) {}
Executor::Executor(store::AttemptStore& store, Log& log, const dig::TemplateEngine& templates, Listener* listener, Options options)
    : impl_(new Impl{{store, log, templates, listener, std::move(options)}, listener}) {}
Executor::~Executor() = default;

void Executor::use(agent::TaskRunner& runner) { impl_->loop.use(runner); }
void Executor::use(Keeper& keeper) { impl_->loop.use(keeper); }

void Executor::add(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows) {
  impl_->added({std::move(identity), std::move(attempt), std::move(rows)});
}

void Executor::adopt(AttemptIdentity identity, engine::Attempt attempt, store::AttemptRows rows, engine::Outcome outcome,
                     std::vector<engine::Run> given) {
  impl_->added({.identity = std::move(identity),
                .attempt = std::move(attempt),
                .rows = std::move(rows),
                .outcome = std::move(outcome),
                .stored = true,
                .given = std::move(given)});
}

void Executor::resume(AttemptIdentity identity, engine::Restored restored, store::AttemptRows rows,
                      std::vector<engine::TaskIndex> untaken) {
  impl_->added({.identity = std::move(identity),
                .attempt = std::move(restored.attempt),
                .rows = std::move(rows),
                .outcome = std::move(restored.outcome),
                .read_back = true,
                .untaken = std::move(untaken)});
}

std::int64_t Executor::take_places(std::int64_t site, std::int64_t wanted) { return impl_->loop.handouts.try_take(site, wanted); }
bool Executor::has_agent(std::int64_t site) const { return impl_->loop.handouts.serves(site); }
void Executor::give_places_back(std::int64_t site, std::int64_t places) {
  for (; places > 0; --places) impl_->loop.handouts.free_place(site);
  if (impl_->loop.handouts.waiting() > 0) impl_->look_again();
}

void Executor::ended(const agent::RunRequest& request, agent::RunEnd end) {
  if (auto* done = std::get_if<agent::RunSucceeded>(&end)) {
    impl_->ended(request,
                 {request.attempt, engine::Succeeded{request.task, request.lease, std::move(done->result), std::move(done->retry)}});
  } else if (auto* later = std::get_if<agent::RunLater>(&end)) {
    impl_->ended(request,
                 {request.attempt,
                  engine::RetryLater{request.task, request.lease, later->delay_millis, std::move(later->state), std::move(later->retry)},
                  later->wakes_after});
  } else {
    auto& failed = std::get<agent::RunFailed>(end);
    if (impl_->listener) impl_->listener->run_failed(request, failed);
    impl_->ended(request, {request.attempt, engine::Failed{request.task, request.lease, failed.error, failed.retryable, failed.retry},
                           std::nullopt, failed.cause.hint_text()});
  }
}

void Executor::limits_evaluated(const agent::RunRequest& request, Value limits) {
  impl_->loop.inbox.push(QueuedEvent{request.attempt, engine::LimitsEvaluated{request.task, request.lease, std::move(limits)}});
}

void Executor::kill(std::int64_t attempt_id, std::int64_t stored_event) {
  impl_->loop.inbox.push(QueuedEvent{attempt_id, engine::Kill{}, std::nullopt, {}, stored_event});
}

void Executor::drop_all() {
  for (const Added& one : impl_->loop.inbox.drop_all()) {
    give_places_back(one.identity.site_id, static_cast<std::int64_t>(one.given.size()));
    impl_->loop.statuses.forget(one.identity.attempt_id);
  }
}

void Executor::hold(bool held) {
  impl_->loop.handouts.hold(held);
  if (!held) impl_->look_again();
}

void Executor::interrupt() { impl_->loop.inbox.interrupt(); }

void Executor::drain() {
  impl_->loop.handouts.close();
  impl_->loop.inbox.wake();
}

AttemptStatus Executor::status(std::int64_t attempt_id) const { return impl_->loop.statuses.find(attempt_id); }

Executor::Counts Executor::counts() const {
  const Handouts& handouts = impl_->loop.handouts;
  return {impl_->loop.attempts_owned, handouts.taken(), static_cast<std::int64_t>(handouts.waiting()), impl_->tasks_ended};
}

bool Executor::waits_for_database() const { return impl_->loop.waits_for_database(); }

bool Executor::run_until_done(std::int64_t attempt_id) {
  impl_->loop.keep(attempt_id);
  while (!status(attempt_id).done) {
    if (!impl_->loop.wait_for_work()) return false;
    impl_->loop.step();
  }
  return true;
}

void Executor::run() {
  while (impl_->loop.wait_for_work()) impl_->loop.step();
}

void Executor::step() { impl_->loop.step(); }
std::optional<Instant> Executor::next_due() const { return impl_->loop.next_due(); }
const engine::Attempt* Executor::tasks(std::int64_t attempt_id) const { return impl_->loop.tasks(attempt_id); }

}  // namespace digdag::executor
