#include "operators/notification.h"

namespace digdag::operators {
namespace {

/// notify>: sends a notification by the means of the system configuration (spec/operators.md 3.11, execution.md 20). A
/// failure is tried again, without a thread meanwhile (spec/decisions.md E-15).
class Notify : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    const std::string message = task.params().string("_command");
    const SystemConfig& system = *task.system;
    const std::string type = system.get_or("notification.type", "");
    if (type.empty()) return engine::TaskResult{};
    read_state(task);
    const Value notification = notification_of(task.identity, task.mask ? task.mask(message) : message, timestamp_);
    try {
      if (type == "shell") return RunCommand{notification_command(system, notification, task)};
      if (type == "http")
        notify_over_http(system, notification, task.stopped);
      else if (type == "mail")
        notify_by_mail(system, notification, task);
      else
        throw config_error("Unknown notification.type: " + type).hint("it is http, mail or shell");
      return engine::TaskResult{};
    } catch (const Error& error) {
      if (error.kind() == "config") throw;
      return again_later(task, error);
    }
  }

  Outcome command_ended(TaskContext& task, const command::CommandEnd& end) override {
    try {
      check_notification_command(*task.system, end);
      return engine::TaskResult{};
    } catch (const Error& error) {
      return again_later(task, error);
    }
  }

 private:
  /// The state counts the tries of one round; a `_retry` of the task begins another round.
  void read_state(const TaskContext& task) {
    const Config state(task.state);
    const Value own = state.nested_or_empty("notification");
    round_ = state.long_integer_or("retry_count", 0);
    timestamp_ = Config(own).string_or("timestamp", notification_time(task.now));
    tries_ = Config(own).long_integer_or("round", 0) == round_ ? Config(own).long_integer_or("retry", 0) : 0;
  }

  Outcome again_later(const TaskContext& task, const Error& error) const {
    if (tries_ >= task.system->integer_or("notification.retries", 10)) throw task_error("Sending notification failed").because(error);
    const std::int64_t wait = notification_wait_millis(*task.system, tries_);
    task.warn("Sending notification failed, retrying in " + std::to_string(wait) + " ms: " + error.message());
    Value state = task.state;
    state.mutable_object().set("notification", Value::object({{"retry", tries_ + 1}, {"round", round_}, {"timestamp", timestamp_}}));
    return RetryLater{wait, std::move(state)};
  }

  std::int64_t tries_ = 0, round_ = 0;
  std::string timestamp_;
};

}  // namespace

std::unique_ptr<Operator> make_notify() { return std::make_unique<Notify>(); }

}  // namespace digdag::operators
