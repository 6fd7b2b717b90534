#include "executor/notifications.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "base/thread.h"
#include "executor/run_request.h"
#include "operators/notification.h"

namespace digdag::executor {
namespace {

constexpr std::size_t most_waiting = 1000;

struct Waiting {
  std::string message, timestamp;
  std::function<std::optional<AttemptIdentity>()> identify;
};

}  // namespace

struct Notifications::Impl {
  const SystemConfig& system;
  command::CommandRunner& commands;
  const dig::TemplateEngine& templates;
  Log& log;
  const std::string type;

  std::mutex mutex;  ///< of all that follows
  std::condition_variable wake;
  std::deque<Waiting> queue;
  std::atomic<bool> stopped = false;  ///< set under the mutex
  Thread thread;

  void say(LogLevel level, const std::string& text) { log.write(level, "main", "executor", text); }

  void run() {
    std::unique_lock lock(mutex);
    while (true) {
      wake.wait(lock, [this] { return stopped || !queue.empty(); });
      if (stopped) break;
      const Waiting next = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      try {
        send_with_retries(next);
      } catch (const Error& error) {
        say(LogLevel::error, "Sending notification failed: " + next.message + ": " + error.message());
      } catch (const std::exception& error) {
        say(LogLevel::error, "Sending notification failed: " + next.message + ": " + error.what());
      }
      lock.lock();
    }
    if (!queue.empty()) say(LogLevel::warn, std::to_string(queue.size()) + " notifications are not sent any more");
  }

  void send_with_retries(const Waiting& wanted) {
    const std::optional<AttemptIdentity> attempt = wanted.identify();
    if (!attempt) return;
    const std::int64_t retries = system.integer_or("notification.retries", 10);
    for (std::int64_t tries = 0;; ++tries) {
      try {
        return send_once(*attempt, wanted);
      } catch (const Error& error) {
        if (error.kind() == "config" || tries >= retries) throw;
        const std::int64_t wait = operators::notification_wait_millis(system, tries);
        say(LogLevel::warn, "Sending notification failed, retrying in " + std::to_string(wait) + " ms: " + error.message());
        std::unique_lock lock(mutex);
        if (wake.wait_for(lock, std::chrono::milliseconds(wait), [this] { return stopped.load(); })) throw;
      }
    }
  }

  void send_once(const AttemptIdentity& attempt, const Waiting& wanted) {
    operators::TaskContext task;
    task.identity = identity_of(attempt);
    task.system = &system;
    task.templates = &templates;
    task.stopped = &stopped;
    Value notification = operators::notification_of(task.identity, wanted.message, wanted.timestamp);
    notification.mutable_object().set("task_name", Value());  // it is about the attempt
    if (type == "http") return operators::notify_over_http(system, notification, &stopped);
    if (type == "mail") return operators::notify_by_mail(system, notification, task);
    const auto end = std::make_shared<std::promise<command::CommandEnd>>();
    commands.start(
        operators::notification_command(system, notification, task), [](std::string_view) {},
        [end](command::CommandEnd how) { end->set_value(std::move(how)); });
    operators::check_notification_command(system, end->get_future().get());
  }
};

std::unique_ptr<Notifications> Notifications::of(const SystemConfig& system, command::CommandRunner& commands,
                                                 const dig::TemplateEngine& templates, Log& log) {
  const std::string type(trim(system.get_or("notification.type", "")));
  if (type.empty()) return nullptr;
  if (type != "http" && type != "mail" && type != "shell")
    throw config_error("Unknown notification.type: " + visible(type)).hint("it is http, mail or shell");
  return std::unique_ptr<Notifications>(new Notifications(
      std::unique_ptr<Impl>(new Impl{.system = system, .commands = commands, .templates = templates, .log = log, .type = type})));
}

Notifications::Notifications(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Notifications::~Notifications() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopped = true;
  }
  impl_->wake.notify_all();
  impl_->thread.join();
}

void Notifications::send(std::string message, std::function<std::optional<AttemptIdentity>()> identify) {
  const std::lock_guard lock(impl_->mutex);
  if (impl_->queue.size() >= most_waiting)
    return impl_->say(LogLevel::error, "Notification is not sent, too many wait for their turn: " + message);
  impl_->queue.push_back({std::move(message), operators::notification_time(now()), std::move(identify)});
  if (!impl_->thread.running()) impl_->thread = Thread("notifications", [impl = impl_.get()] { impl->run(); });
  impl_->wake.notify_all();
}

void Notifications::succeeded(const AttemptIdentity& attempt) {
  if (impl_->system.boolean_or("notification.on-success", false)) send("Workflow session attempt succeeded", [attempt] { return attempt; });
}

}  // namespace digdag::executor
