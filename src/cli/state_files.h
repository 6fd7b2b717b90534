#pragma once

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "base/value.h"
#include "engine/task.h"

namespace digdag::cli {

/// The saved state of one session of a local run: one file for each task that succeeded, in the original's form, so that
/// either program continues what the other one left (spec/cli.md 6.2 "State directory", decisions.md C-20 to C-27).
///
/// A file is removed before its task runs and written, whole or not at all, when the task has succeeded. The first failure
/// to write is kept; tasks go on. Thread-safe.
class StateFiles {
 public:
  explicit StateFiles(std::filesystem::path directory);
  StateFiles(const StateFiles&) = delete;
  StateFiles& operator=(const StateFiles&) = delete;
  ~StateFiles();

  const std::filesystem::path& directory() const { return directory_; }

  /// Keeps other runs of this workflow out of this session until we end. Throws Error `… is being run by pid N`.
  void lock(std::string_view workflow);

  /// The saved result of a task that succeeded; nothing where there is none. A file that cannot be read gives nothing too;
  /// `problem` then says why.
  std::optional<engine::TaskResult> load(const std::string& full_name, std::string& problem) const;
  void remove(const std::string& full_name);
  /// `digest`: of the task's definition, to notice later that it was edited (C-25); empty for groups.
  void save(const std::string& full_name, const engine::TaskResult* result, const std::string& digest);
  /// Whether the task was edited since it succeeded.
  bool was_edited(const std::string& full_name, const std::string& digest) const;
  /// Writes what is kept for the end: the digests.
  void close();

  std::size_t failures() const;
  std::string first_failure() const;

 private:
  std::filesystem::path file_of(const std::string& full_name) const;

  std::filesystem::path directory_;
  int lock_file_ = -1;
  mutable std::mutex mutex_;
  /// Names whose file is there: read once, so that a task without one costs no system call. Nobody else changes them while we
  /// hold the lock.
  std::unordered_set<std::string> present_;
  bool directory_made_ = false;
  bool digests_changed_ = false;
  std::unordered_map<std::string, std::string> digests_;
  std::size_t failures_ = 0;
  std::string first_failure_;
};

/// A short digest of a task's definition.
std::string digest_of(const Value& local);

}  // namespace digdag::cli
