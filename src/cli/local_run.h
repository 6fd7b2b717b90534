#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "agent/agent.h"
#include "base/log.h"
#include "cli/state_files.h"
#include "cli/task_selection.h"
#include "command/command.h"
#include "executor/executor.h"

namespace digdag::cli {

/// What `digdag run` adds to the engine: saved state and selection decide which tasks are skipped, successes are saved,
/// progress is shown and failures are remembered for the summary (spec/execution.md 23, cli.md 6.2).
///
/// The attempt with id 1 is that of the workflow itself; others were started by `require>` and use saved state like a run of
/// their own. Called by the agent's threads and by the executor's.
class LocalRun : public agent::RunFilter, public executor::Listener {
 public:
  struct Options {
    bool save = true;
    bool dry_run = false;
    bool show_params = false;
    std::filesystem::path state_root;  ///< `<project>/.digdag/status`
  };
  static constexpr std::int64_t main_attempt = 1;

  /// `commands` keeps the locks of sessions that it runs commands for.
  LocalRun(Options options, TaskSelection selection, Log& log, command::CommandRunner& commands);

  /// Opens the state files of an attempt's session before the attempt starts; attempts of one session and workflow share them until
  /// the last of them is done. nullptr with --no-save. Throws what StateFiles throws.
  std::shared_ptr<StateFiles> open_session(std::int64_t attempt, const std::string& workflow, Instant session_time, const TimeZone& zone);

  std::optional<Skip> before(const agent::RunRequest& request) override;
  std::optional<Skip> evaluated(const agent::RunRequest& request, const Value& config) override;
  void committed(const executor::AttemptIdentity& attempt, const engine::Attempt& tasks,
                 const std::vector<engine::TaskIndex>& changed) override;
  void run_failed(const agent::RunRequest& request, const agent::RunFailed& failure) override;

  std::int64_t executed() const { return executed_; }
  std::int64_t skipped_by_state() const { return skipped_by_state_; }
  /// The failure of a task's last run; nullptr where there was none.
  const agent::RunFailed* failure_of(engine::TaskIndex task) const;
  /// `12/40 done, 3 running`: of the tasks with an operator.
  std::string progress() const;
  /// Writes what is kept for the end, and lets others in; the number of tasks whose state could not be saved, and the first cause.
  std::pair<std::size_t, std::string> close();

 private:
  /// What is known of an attempt's tasks besides their state.
  struct Marks {
    std::shared_ptr<StateFiles> files;
    std::unordered_set<engine::TaskIndex> left_out;    ///< skipped without a result, or holds such a task: not to be saved
    std::unordered_set<engine::TaskIndex> from_state;  ///< its file is what it came from
    std::unordered_set<std::string> saved;             ///< names whose file was written by this run
  };
  /// Of an attempt whose session was opened.
  Marks& marks_of(std::int64_t attempt) { return marks_[attempt]; }
  void close_files(StateFiles& files);
  void forget(std::int64_t attempt);
  void save(Marks& marks, const engine::Attempt& tasks, engine::TaskIndex task);
  void count(const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed);

  Options options_;
  TaskSelection selection_;
  Log& log_;
  command::CommandRunner& commands_;

  mutable std::mutex mutex_;
  std::map<std::int64_t, Marks> marks_;                                                          ///< by attempt
  std::map<std::pair<std::string, std::filesystem::path>, std::weak_ptr<StateFiles>> sessions_;  ///< by workflow and directory
  std::size_t unsaved_ = 0;
  std::string first_unsaved_;
  std::unordered_map<engine::TaskIndex, agent::RunFailed> failures_;  ///< of the main attempt
  std::atomic<std::int64_t> executed_ = 0, skipped_by_state_ = 0;
  std::atomic<std::int64_t> total_ = 0, done_ = 0, running_ = 0;
  std::vector<engine::TaskState> seen_;  ///< states of the main attempt as counted
};

}  // namespace digdag::cli
