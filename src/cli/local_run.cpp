#include "cli/local_run.h"

#include "base/json.h"

namespace digdag::cli {

LocalRun::LocalRun(Options options, TaskSelection selection, Log& log, command::CommandRunner& commands)
    : options_(std::move(options)), selection_(std::move(selection)), log_(log), commands_(commands) {}

std::shared_ptr<StateFiles> LocalRun::open_session(std::int64_t attempt, const std::string& workflow, Instant session_time,
                                                   const TimeZone& zone) {
  if (!options_.save) return nullptr;
  const std::lock_guard lock(mutex_);
  Marks& marks = marks_of(attempt);
  if (marks.files) return marks.files;
  const std::filesystem::path directory = options_.state_root / format_state_directory(session_time, zone);
  auto& shared = sessions_[{workflow, directory}];
  marks.files = shared.lock();
  if (!marks.files) {
    const auto use = options_.dry_run ? StateFiles::Use::look : StateFiles::Use::run;
    shared = marks.files = std::make_shared<StateFiles>(directory, workflow, use);
    if (marks.files->lock_file() >= 0) commands_.hold(marks.files->lock_file());
    if (!marks.files->lock_problem().empty()) {
      log_.write(LogLevel::warn, "main", "cli",
                 "Nothing keeps other runs of this session out while this one goes on: " + marks.files->lock_problem());
    }
  }
  return marks.files;
}

std::optional<agent::RunFilter::Skip> LocalRun::before(const agent::RunRequest& request) {
  const std::string& name = request.identity.task_name;
  const bool main = request.attempt == main_attempt;
  std::unique_lock lock(mutex_);
  Marks& marks = marks_of(request.attempt);
  if (main && !selection_.may_run(name)) {
    marks.left_out.insert(request.task);
    return Skip{};
  }
  StateFiles* files = marks.files.get();
  const bool first_run = request.retry_count == 0 && !request.lenient;
  if (files && first_run && (!main || selection_.may_use_state(name)) && !marks.saved.contains(name)) {
    lock.unlock();
    std::string problem;
    auto saved = files->load(name, problem);
    if (!problem.empty()) log_.write(LogLevel::warn, "main", "cli", "Ignoring a state file that cannot be read; the task runs: " + problem);
    if (saved) {
      if (files->was_edited(name, digest_of(request.local))) {
        log_.write(LogLevel::warn, "main", "cli",
                   "Task " + name + " was changed since it succeeded; use --start " + name + " to run it again");
      }
      ++skipped_by_state_;
      lock.lock();
      marks.from_state.insert(request.task);
      return Skip{std::move(*saved), true};
    }
    lock.lock();
  }
  marks.from_state.erase(request.task);
  marks.saved.erase(name);
  lock.unlock();
  if (files && !request.lenient && !options_.dry_run && request.retry_count == 0) files->remove(name);
  if (request.retry_count == 0) ++executed_;
  return std::nullopt;
}

std::optional<agent::RunFilter::Skip> LocalRun::evaluated(const agent::RunRequest& request, const Value& config) {
  if (options_.show_params) log_.write(LogLevel::warn, "main", "cli", "\n" + to_yaml(config, 2));
  if (!options_.dry_run) return std::nullopt;
  const std::lock_guard lock(mutex_);
  marks_of(request.attempt).left_out.insert(request.task);
  return Skip{{}, false};
}

void LocalRun::save(Marks& marks, const engine::Attempt& tasks, engine::TaskIndex task) {
  const std::string name = tasks.full_name(task);
  marks.files->save(name, tasks.result(task), tasks.is_group(task) ? "" : digest_of(tasks.local(task)));
  marks.saved.insert(name);
}

void LocalRun::committed(const executor::AttemptIdentity& attempt, const engine::Attempt& tasks,
                         const std::vector<engine::TaskIndex>& changed) {
  if (attempt.attempt_id == main_attempt) count(tasks, changed);
  const std::lock_guard lock(mutex_);
  Marks& marks = marks_of(attempt.attempt_id);
  // Children before their parents, which have smaller indexes: a group is not saved where a descendant was left out.
  for (auto place = changed.rbegin(); place != changed.rend(); ++place) {
    const engine::TaskIndex task = *place;
    const engine::TaskState state = tasks.state(task);
    if (state == engine::TaskState::success && marks.left_out.contains(task)) {
      if (tasks.parent(task) != engine::no_task) marks.left_out.insert(tasks.parent(task));
      continue;
    }
    if (!marks.files || options_.dry_run || tasks.in_handler(task)) continue;
    if (state == engine::TaskState::success) {
      // A disabled task, which is a group, did not run: it must when it is enabled.
      const bool disabled = tasks.is_group(task) && tasks.local(task).find("_disable");
      if (!disabled && !marks.from_state.contains(task)) save(marks, tasks, task);
    } else if (state == engine::TaskState::planned && tasks.is_group(task)) {
      // A group that runs again: what its file says no longer holds.
      marks.files->remove(tasks.full_name(task));
    } else if (state == engine::TaskState::blocked && !marks.saved.empty()) {
      // A further generation of a name.
      const std::string name = tasks.full_name(task);
      if (marks.saved.erase(name) > 0) marks.files->remove(name);
    }
  }
  if (tasks.done() && attempt.attempt_id != main_attempt) forget(attempt.attempt_id);
}

void LocalRun::forget(std::int64_t attempt) {
  const auto place = marks_.find(attempt);
  const std::shared_ptr<StateFiles> files = std::move(place->second.files);
  marks_.erase(place);
  if (files && files.use_count() == 1) close_files(*files);
}

void LocalRun::close_files(StateFiles& files) {
  if (files.lock_file() >= 0) commands_.release(files.lock_file());
  files.close();
  unsaved_ += files.failures();
  if (first_unsaved_.empty()) first_unsaved_ = files.first_failure();
}

void LocalRun::count(const engine::Attempt& tasks, const std::vector<engine::TaskIndex>& changed) {
  for (std::size_t task = seen_.size(); task < tasks.size(); ++task) {
    seen_.push_back(engine::TaskState::blocked);
    if (!tasks.is_group(static_cast<engine::TaskIndex>(task))) ++total_;
  }
  for (const engine::TaskIndex task : changed) {
    if (tasks.is_group(task)) continue;
    engine::TaskState& seen = seen_[static_cast<std::size_t>(task)];
    const engine::TaskState state = tasks.state(task);
    done_ += is_done(state) - is_done(seen);
    running_ += (state == engine::TaskState::running) - (seen == engine::TaskState::running);
    seen = state;
  }
}

void LocalRun::run_failed(const agent::RunRequest& request, const agent::RunFailed& failure) {
  if (request.attempt != main_attempt) return;
  const std::lock_guard lock(mutex_);
  failures_.insert_or_assign(request.task, failure);
}

const agent::RunFailed* LocalRun::failure_of(engine::TaskIndex task) const {
  const std::lock_guard lock(mutex_);
  const auto found = failures_.find(task);
  return found == failures_.end() ? nullptr : &found->second;
}

std::string LocalRun::progress() const {
  return std::to_string(done_) + "/" + std::to_string(total_) + " done, " + std::to_string(running_) + " running";
}

std::pair<std::size_t, std::string> LocalRun::close() {
  const std::lock_guard lock(mutex_);
  while (!marks_.empty()) forget(marks_.begin()->first);
  return {unsaved_, first_unsaved_};
}

}  // namespace digdag::cli
