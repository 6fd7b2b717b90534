#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/value.h"
#include "engine/task.h"

namespace digdag::cli {

/// Another process runs this session of the workflow; the message names it.
struct SessionInUse : Error {
  explicit SessionInUse(std::string message)
      : Error(Error("", std::move(message)).hint("wait for it, or give another session time with --session")) {}
};

/// The saved state of one session of a workflow: one file for each task that succeeded, in the original's form, so that
/// either program continues what the other one left (spec/cli.md 6.2 "State directory", decisions.md C-20 to C-27).
///
/// A file is removed before its task runs and written, whole or not at all, when the task has succeeded. The first failure
/// to write is kept; tasks go on. Thread-safe.
class StateFiles {
 public:
  enum class Use {
    run,   ///< keeps other processes out of this session of the workflow until `close`
    look,  ///< a dry run: nothing is locked, and nothing must be written
  };
  /// `directory`: of the session; need not exist. Throws SessionInUse; Error where the lock file is not ours to open.
  StateFiles(std::filesystem::path directory, std::string workflow, Use use);
  StateFiles(const StateFiles&) = delete;
  StateFiles& operator=(const StateFiles&) = delete;
  ~StateFiles();

  const std::filesystem::path& directory() const { return directory_; }
  /// The descriptor whose flock keeps others out; -1 where nothing is locked.
  int lock_file() const { return lock_file_.get(); }
  /// Why nothing is locked where something should be: a file system without locks.
  const std::string& lock_problem() const { return lock_problem_; }

  /// The saved result of a task that succeeded; nothing where there is none. A file that cannot be read gives nothing too;
  /// `problem` then says why.
  std::optional<engine::TaskResult> load(const std::string& full_name, std::string& problem) const;
  void remove(const std::string& full_name);
  /// `digest`: of the task's definition, to notice later that it was edited (C-25); empty for groups.
  void save(const std::string& full_name, const engine::TaskResult* result, const std::string& digest);
  /// Whether the task was edited since it succeeded.
  bool was_edited(const std::string& full_name, const std::string& digest) const;
  /// Writes what is kept for the end, the digests, and lets others in.
  void close();

  std::size_t failures() const;
  std::string first_failure() const;

 private:
  void lock();
  void unlock();
  /// Removes a file where it is there; the caller holds the mutex.
  void remove_file(const std::string& file);
  void write_digests();

  const std::filesystem::path directory_;
  const std::string workflow_;
  Fd lock_file_;
  std::string lock_problem_;
  mutable std::mutex mutex_;
  /// File names that are there: read once, so that a task without one costs no system call. Nobody else changes those of the
  /// workflow while we hold the lock.
  std::unordered_set<std::string> present_;
  bool directory_made_ = false;
  std::unordered_map<std::string, std::string> digests_;      ///< as they were at the start
  std::unordered_map<std::string, std::string> new_digests_;  ///< of what we saved
  std::size_t failures_ = 0;
  std::string first_failure_;
};

/// A short digest of a task's definition.
std::string digest_of(const Value& local);

}  // namespace digdag::cli
