#pragma once

#include <filesystem>
#include <optional>

#include "base/log.h"
#include "base/process_directory.h"
#include "base/properties.h"
#include "base/thread.h"

namespace digdag::server {

/// Where a server has its uploads, workspaces and what waits for the storage of logs: `tmpdir`, else a directory of its own below the
/// system's (`$TMPDIR`), which goes with the server. What killed servers of this user have left there is removed beside the start.
class ScratchDirectory {
 public:
  /// Error(config) or Error(kind "io") where there can be none.
  ScratchDirectory(const SystemConfig& config, Log& log);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// The lock that says that it is in use, -1 where it has none: who goes on in it after us must hold it.
  int lock() const { return own_ ? own_->lock() : -1; }

 private:
  std::filesystem::path path_;
  std::optional<ProcessDirectory> own_;
  Thread sweeping_;
};

}  // namespace digdag::server
