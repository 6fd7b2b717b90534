#pragma once

#include <filesystem>
#include <functional>
#include <string_view>

#include "base/fd.h"

namespace digdag {

/// A directory for the files of this process alone, `<parent>/<prefix><random>`. It is locked while the process lives, so that another one
/// can see which are left: those of dead processes.
class ProcessDirectory {
 public:
  /// How such directories are called, and whether their parent is there for them alone.
  struct Kind {
    std::string_view prefix;
    bool own_parent;
  };
  /// `hold` gets the lock before the directory is used, for programs that outlive us; may be unset. Error(kind "io") with path and cause.
  explicit ProcessDirectory(const std::filesystem::path& parent, const std::function<void(int fd)>& hold = {},
                            Kind kind = {"process-", true});
  /// Removes it, and the parent where that is its own, where they are empty.
  ~ProcessDirectory();
  ProcessDirectory(const ProcessDirectory&) = delete;
  ProcessDirectory& operator=(const ProcessDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int lock() const { return lock_.get(); }

  /// Shows each directory that a dead process of this user has left, locked meanwhile, and removes it where it is empty then. Follows no
  /// links.
  static void sweep(const std::filesystem::path& parent, const std::function<void(const std::filesystem::path& left)>& show,
                    Kind kind = {"process-", true});

 private:
  bool make(const std::filesystem::path& parent);

  const Kind kind_;
  std::filesystem::path path_;
  Fd lock_;
};

}  // namespace digdag
