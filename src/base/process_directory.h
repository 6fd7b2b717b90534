#pragma once

#include <filesystem>
#include <functional>

#include "base/fd.h"

namespace digdag {

/// A directory for the files of this process alone, `<parent>/process-<random>`. It is locked while the process lives, so that another one
/// can see which are left: those of dead processes.
class ProcessDirectory {
 public:
  /// `hold` gets the lock before the directory is used, for programs that outlive us; may be unset. Error(kind "io") with path and cause.
  explicit ProcessDirectory(const std::filesystem::path& parent, const std::function<void(int fd)>& hold = {});
  /// Removes it, and the parent, where they are empty.
  ~ProcessDirectory();
  ProcessDirectory(const ProcessDirectory&) = delete;
  ProcessDirectory& operator=(const ProcessDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int lock() const { return lock_.get(); }

  /// Shows each directory that a dead process has left, locked meanwhile, and removes it where it is empty then.
  static void sweep(const std::filesystem::path& parent, const std::function<void(const std::filesystem::path& left)>& show);

 private:
  bool make(const std::filesystem::path& parent);

  std::filesystem::path path_;
  Fd lock_;
};

}  // namespace digdag
