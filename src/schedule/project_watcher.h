#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "dig/loader.h"

namespace digdag::schedule {

/// Follows the workflows of a directory (scheduler mode, spec/scheduling.md 12): reads them again when a file changes, at the latest
/// after 5 s, and tells when their definitions are others. A directory that does not load is logged, the old definitions stay, and
/// it is read again.
class ProjectWatcher {
 public:
  /// Stores the definitions as a new revision and gives its number, for the log line `Added new revision N`. What it throws is
  /// logged as a failed reload, and it is called again with the next reading.
  using NewRevision = std::function<std::string(const dig::Project&)>;

  /// `known`: the definitions that are stored already.
  ProjectWatcher(std::filesystem::path directory, const dig::Project& known, NewRevision new_revision, Log& log);
  ~ProjectWatcher();

  void start();
  void stop();

  /// Reads the directory once; true where a revision was added.
  bool reload();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::schedule
