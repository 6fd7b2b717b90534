#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"
#include "base/value.h"
#include "command/command.h"
#include "dig/template.h"
#include "engine/attempt_starter.h"
#include "engine/task.h"

namespace digdag::operators {

class IoArea;

/// Who runs which task: the ids and names that operators, logs and notifications show (spec/operators.md 11.2).
struct TaskIdentity {
  std::int64_t site_id = 0, project_id = 0, session_id = 0, attempt_id = 0, task_id = 0;
  std::string project_name, workflow_name, task_name;
  std::string revision;
  std::optional<std::string> retry_attempt_name;
  std::optional<std::int64_t> revision_id;  ///< of the server; nothing where the project is a directory
  std::optional<std::int64_t> workflow_definition_id;
  std::string session_uuid;
  Instant session_time;
  Instant created_at;  ///< of the attempt
  TimeZone timezone;
};

/// Secrets by key, after `_secrets` was applied; nothing where there is none.
using SecretLookup = std::function<std::optional<std::string>(std::string_view key)>;

/// A directory that may be made only when it is first asked for: most operators need no files.
class Directory {
 public:
  using Make = std::function<const std::filesystem::path&()>;

  Directory() = default;
  explicit(false) Directory(std::filesystem::path path) : path_(std::move(path)) {}
  /// `make` is called each time and answers for what it gives.
  explicit(false) Directory(Make make) : make_(std::move(make)) {}

  /// Throws what `make` throws.
  const std::filesystem::path& operator()() const { return make_ ? make_() : path_; }

 private:
  std::filesystem::path path_;
  Make make_;
};

/// Everything an operator may use while it runs one task. Made by the agent for each run; used by one thread at a time.
struct TaskContext {
  TaskIdentity identity;
  Value config;                                                    ///< all evaluated params and local keys, with `_type` and `_command`
  Value local;                                                     ///< the evaluated values of exactly the task's own keys (nulls dropped)
  Value unevaluated_local;                                         ///< the task's own keys as written (`_do` with positions)
  Value state;                                                     ///< what the last RetryLater of this task left; `{}` at first
  std::unordered_map<std::string, dig::SecretSpans> secret_spans;  ///< of strings in `config`, by JSON pointer
  Directory project_directory;
  Directory workspace;  ///< project directory / `_workdir`
  Instant now;
  std::int64_t task_limit = 100'000;  ///< cap of generated tasks; 0 = none
  Position position;                  ///< of the task in its file

  Log* log = nullptr;
  std::function<void(LogLevel level, std::string_view component, std::string_view message)> task_log;  ///< gets every log line, too
  std::string log_thread;                                                                              ///< `0016@[0:default:1:1]+w+two`
  std::function<void(std::string_view)> output;  ///< what the task prints; masks secrets
  SecretLookup secrets;
  SecretLookup unmounted_secrets;  ///< without `_secrets`, which do not apply to `_env` (spec/language.md 10); unset: `secrets`
  std::function<std::string(std::string_view)> mask;  ///< a text with the secrets read so far replaced; unset: as it is
  std::function<void(std::string_view)> hide;         ///< masks a text that was made from secrets; may be unset
  const std::atomic<bool>* stopped = nullptr;         ///< set while the run shall end: blocking operators look at it
  const dig::TemplateEngine* templates = nullptr;
  const SystemConfig* system = &SystemConfig::empty();
  const std::vector<std::pair<std::string, std::string>>* environment = nullptr;  ///< of the process, for commands
  engine::AttemptStarter* attempts = nullptr;
  std::function<IoArea&()> io_area;
  std::function<void(std::string_view)> key_was_read;  ///< unused-key warnings; unset keys are reported by the agent

  /// `config` seen through its getters; keys read are recorded.
  Config params() const;
  /// The value of a secret; Error(kind "secret not found") `Secret not found for key: 'k'`.
  std::string secret(std::string_view key) const;
  /// The string at this JSON pointer of `config`, with `${secret:…}` replaced where that is allowed.
  std::string with_secrets(std::string_view pointer) const;
  /// Any value below this pointer, with secrets replaced in all its strings.
  Value with_secrets_in(std::string_view pointer) const;
  /// `name` inside of the workspace; Error(illegal argument) `File name must not be outside of project path (…): …`.
  std::filesystem::path workspace_file(std::string_view name) const;
  void info(std::string_view message) const;
  void warn(std::string_view message) const;
  void error(std::string_view message) const;

 private:
  void log_line(LogLevel level, std::string_view message) const;
};

/// All parameters of the task; below them, as defaults, those of the nested object `type` (`_export: {sh: {shell: …}}`).
Value params_with_defaults(const TaskContext& task, std::string_view type);

/// An error that names `_command`, a key that nobody writes, with a hint that says what it is the value of, and with the
/// place of that where it has none.
Error with_command_explained(Error error, const TaskContext& task);

/// `did you mean x, y?` with the three nearest words, or nothing where no known word is like this one.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

/// The operator wants to be called again with this state after a delay; holds no thread meanwhile.
struct RetryLater {
  std::int64_t delay_millis;
  Value state;
  std::optional<std::int64_t> wakes_after = std::nullopt;  ///< an attempt whose end makes the next run due at once (O-15)
};
/// The operator wants this command to run; its `command_ended` is called with the end of it. Holds no thread meanwhile.
struct RunCommand {
  command::CommandRequest request;
};
using Outcome = std::variant<engine::TaskResult, RetryLater, RunCommand>;

/// What a task does: one object for each run of a task (spec/operators.md 1). Failures are thrown: task_error for expected
/// ones, config_error for wrong parameters, any Error with its kind else.
class Operator {
 public:
  virtual ~Operator() = default;
  virtual Outcome run(TaskContext& task) = 0;
  /// Called after RunCommand, on the same object, perhaps on another thread.
  virtual Outcome command_ended(TaskContext& task, const command::CommandEnd& end);
  /// After a kill, instead of `run`, where something outside may go on.
  virtual void cleanup(TaskContext& task);
};

/// An operator type of the registry.
struct OperatorType {
  std::string_view name;  ///< `sh`
  std::unique_ptr<Operator> (*make)();
  bool honours_retry = false;  ///< `_retry` applies to its own failures (spec/operators.md 1.4)
  bool blocks = false;         ///< may block its thread for long (HTTP)
  bool has_cleanup = false;
  bool warns_unused_keys = false;  ///< spec/operators.md 1.1.9
  bool takes_any_key = false;      ///< hands all parameters to a program of the user's
  /// The keys that its manual names, for `check --strict` (besides the reserved ones).
  std::vector<std::string_view> keys;
};

/// All built-in operators. Adding one: its own file, and two lines in registry.cpp.
const OperatorType* find_operator(std::string_view name);
std::vector<std::string_view> operator_names();

}  // namespace digdag::operators
