#include "executor/inbox.h"

#include <utility>

namespace digdag::executor {

void Inbox::push(QueuedEvent event) {
  {
    const std::lock_guard lock(mutex_);
    arrivals_.events.push_back(std::move(event));
  }
  arrived_.notify_one();
}

void Inbox::push(QueuedEvent event, const std::function<void()>& with_it) {
  {
    const std::lock_guard lock(mutex_);
    arrivals_.events.push_back(std::move(event));
    with_it();
  }
  arrived_.notify_one();
}

void Inbox::push(Added added) {
  {
    const std::lock_guard lock(mutex_);
    forget_stored_events(arrivals_.events, added.identity.attempt_id);
    arrivals_.added.push_back(std::move(added));
  }
  arrived_.notify_one();
}

void Inbox::push(Written written) {
  {
    const std::lock_guard lock(mutex_);
    arrivals_.written.push_back(std::move(written));
  }
  arrived_.notify_one();
}

std::vector<Added> Inbox::drop_all() {
  std::vector<Added> added;
  {
    const std::lock_guard lock(mutex_);
    added.swap(arrivals_.added);
    arrivals_.drop_all = true;
  }
  arrived_.notify_one();
  return added;
}

Inbox::Arrivals Inbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(arrivals_, {});
}

bool Inbox::wait(std::optional<std::int64_t> millis, const std::function<bool()>& over, const std::function<void()>& before_sleep) {
  std::unique_lock lock(mutex_);
  const auto something = [&] { return interrupted_ || !is_empty() || over(); };
  if (!something()) {
    lock.unlock();
    before_sleep();
    lock.lock();
  }
  if (millis)
    arrived_.wait_for(lock, std::chrono::milliseconds(*millis), something);
  else
    arrived_.wait(lock, something);
  return !interrupted_ && !(is_empty() && over());
}

bool Inbox::pause(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return !was_interrupted_.wait_for(lock, time, [&] { return interrupted_; });
}

bool Inbox::interrupted() const {
  const std::lock_guard lock(mutex_);
  return interrupted_;
}

void Inbox::interrupt() {
  {
    const std::lock_guard lock(mutex_);
    interrupted_ = true;
  }
  arrived_.notify_one();
  was_interrupted_.notify_all();
}

void Inbox::wake() {
  { const std::lock_guard lock(mutex_); }
  arrived_.notify_one();
}

bool Inbox::is_empty() const {
  return arrivals_.added.empty() && arrivals_.events.empty() && arrivals_.written.empty() && !arrivals_.drop_all;
}

}  // namespace digdag::executor
