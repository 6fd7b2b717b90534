#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/properties.h"
#include "command/command.h"
#include "dig/template.h"
#include "executor/executor.h"

namespace digdag::executor {

/// Sends what `notification.*` wants to be told about attempts as a whole (spec/execution.md 20): time limits, and success where
/// `notification.on-success` is set. A thread of its own, one after the other, with retries; what does not get through is in the log.
/// What waits when the server ends is lost. Thread-safe.
class Notifications {
 public:
  /// Nothing where nobody is told. Error(config) for a `notification.type` that there is not. All must outlive it.
  static std::unique_ptr<Notifications> of(const SystemConfig& system, command::CommandRunner& commands,
                                           const dig::TemplateEngine& templates, Log& log);
  ~Notifications();
  Notifications(const Notifications&) = delete;
  Notifications& operator=(const Notifications&) = delete;

  /// Does not wait. `identify` is called on the thread; nothing: the attempt is not there any more.
  void send(std::string message, std::function<std::optional<AttemptIdentity>()> identify);
  /// Sent where that is wanted.
  void succeeded(const AttemptIdentity& attempt);

 private:
  struct Impl;
  explicit Notifications(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::executor
