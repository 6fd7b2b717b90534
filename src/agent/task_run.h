#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "agent/operator_choice.h"
#include "agent/task_log.h"
#include "agent/task_secrets.h"
#include "agent/thread_pool.h"
#include "agent/workspaces.h"
#include "store/database.h"

namespace digdag::agent {

class TaskRun;

/// What the runs of one agent share. Outlives them.
struct RunServices {
  const AgentOptions& options;
  Log& log;
  const dig::TemplateEngine& templates;
  command::CommandRunner& commands;
  engine::AttemptStarter& attempts;
  std::vector<std::pair<std::string, std::string>> environment;  ///< of this process
  ThreadPool& threads;
  ThreadPool& blocking_threads;  ///< for operators that block
  Agent::OnLimits limits_evaluated;
  std::function<void(TaskRun& run, RunEnd end)> ended;  ///< called once for each run, on one of the threads
};

/// One run of one task, from its evaluation to its report (spec/operators.md 1.1). It moves between threads: while its
/// command runs it has none.
class TaskRun : public std::enable_shared_from_this<TaskRun> {
 public:
  TaskRun(RunRequest request, RunServices& services);

  const RunRequest& request() const { return request_; }

  /// Runs on the calling thread, as far as it needs one. `slot` is the number of the thread.
  void begin(unsigned slot);
  /// Ends it without running it.
  void refuse();
  /// Lets it end soon: its command is stopped, an operator that blocks is told, what it still gives is dropped. A negative
  /// grace means that a run is never interrupted. From any thread.
  void stop(std::int64_t grace_seconds);
  /// The nearest `_kill_grace`, evaluated where it is the task's own; -1: never interrupt. From any thread.
  std::optional<std::int64_t> kill_grace_seconds() const;

 private:
  /// Where an error comes from decides whether `_retry` applies.
  enum class Stage { preparation, operation };

  template <typename Step>
  void guarded(Step step);
  bool skip_before();
  void evaluate();
  void read_time_limits();
  void set_identity_of_thread(unsigned slot);
  bool skip_evaluated(const OperatorChoice& choice);
  void announce(const OperatorChoice& choice);
  void prepare_operator(const OperatorChoice& choice);
  void prepare_context(const OperatorChoice& choice);
  const std::filesystem::path& working_directory();
  void check_working_directory();
  void call_operator();
  void handle(operators::Outcome outcome);
  void start_command(command::CommandRequest command);
  void command_over(const command::CommandEnd& end);

  void succeed(engine::TaskResult result);
  void run_later(const store::DatabaseError& error);
  void fail(const Error& error);
  void end(RunEnd end);
  void check_size(const engine::TaskResult& result) const;
  void warn_unused_keys();
  std::int64_t retries_left() const;
  void print(std::string_view text);
  void show(std::string_view masked_text);
  void log(LogLevel level, std::string_view message) const;

  RunRequest request_;
  RunServices& services_;
  std::string log_thread_;
  Stage stage_ = Stage::preparation;

  Value config_;  ///< evaluated params and local keys
  std::unordered_map<std::string, dig::SecretSpans> secret_spans_;
  Value retry_;  ///< the evaluated `_retry`, where the operator honours it
  const operators::OperatorType* type_ = nullptr;
  std::unique_ptr<operators::Operator> operator_;
  std::unique_ptr<Workspace> workspace_;
  std::filesystem::path working_directory_;  ///< in the workspace; empty until it is asked for
  std::unique_ptr<TaskSecrets> secrets_;
  std::unique_ptr<operators::TaskContext> context_;  ///< from its preparation on: many runs may wait for a thread
  std::set<std::string, std::less<>> keys_read_;
  std::unique_ptr<TaskLog> task_log_;  ///< where task logs are kept
  std::string last_output_;
  std::int64_t command_millis_ = 0;

  mutable std::mutex mutex_;  ///< of what `stop` and others meet
  std::optional<std::int64_t> kill_grace_seconds_;
  std::optional<command::CommandRunner::Id> command_;  ///< while one runs
  std::int64_t grace_seconds_ = 0;
  std::atomic<bool> stopped_ = false;
  bool ended_ = false;
};

}  // namespace digdag::agent
