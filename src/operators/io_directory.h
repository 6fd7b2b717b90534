#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "operators/operator.h"

namespace digdag::operators {

/// `<project>/.digdag/tmp`, where the programs of one agent's tasks have their files. They may hold secrets, so nothing stays:
/// what a process that was killed has left is removed by the next agent of the project.
///
/// A living agent is known by its lock on the file `.ID.lock` there, and its directories by the ID in their names; those of the
/// original have none and are left alone. Thread-safe.
class IoArea {
 public:
  struct Options {
    bool keep = false;  ///< the files of tasks stay (spec/decisions.md O-22)
    /// Gets the lock before the first directory is made, for programs that outlive us. May be unset.
    std::function<void(int fd)> hold;
  };
  /// Removes what agents that are gone have left.
  IoArea(const std::filesystem::path& project_directory, Options options);
  /// Removes what could not be removed before, and `tmp` where nothing else is in it.
  ~IoArea();
  IoArea(const IoArea&) = delete;
  IoArea& operator=(const IoArea&) = delete;

  /// A new directory `digdag-<name>-<unique>`. Error(kind "io") with the path and the cause where it cannot be made.
  std::filesystem::path make_directory(std::string_view name);
  bool keeps_files() const { return options_.keep; }

 private:
  bool remove_directories_of(const std::string& id) const;
  void sweep() const;
  void become_known();
  bool take_lock();

  const std::filesystem::path path_;
  const Options options_;
  std::mutex mutex_;
  std::string id_;  ///< empty until the first directory is made
  Fd lock_;
  std::atomic<std::int64_t> made_ = 0;
};

/// A directory for the files that an operator and its program hand to each other, `digdag-<type>-<task id>-…`, readable by us
/// alone. Removed with all that is in it when the run is over.
class IoDirectory {
 public:
  /// Error(kind "io") with the path and the cause where it cannot be made.
  IoDirectory(const TaskContext& task, std::string_view type);
  ~IoDirectory();
  IoDirectory(const IoDirectory&) = delete;
  IoDirectory& operator=(const IoDirectory&) = delete;

  std::filesystem::path file(std::string_view name) const { return path_ / name; }
  /// The same as seen from the directory that the program runs in; the program may make this file.
  std::string relative(std::string_view name);
  /// A file that is not there yet.
  void write(std::string_view name, std::string_view content);

 private:
  std::filesystem::path path_;
  std::filesystem::path workspace_;
  std::set<std::string, std::less<>> names_;  ///< of the files that may be in it
  const bool keep_;
};

}  // namespace digdag::operators
