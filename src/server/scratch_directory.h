#pragma once

#include <filesystem>
#include <optional>

#include "base/log.h"
#include "base/process_directory.h"
#include "base/properties.h"
#include "base/thread.h"

namespace digdag::server {

/// Where a server has its uploads, workspaces and what waits for the storage of logs: `tmpdir`, which several may share, else a directory
/// of its own below the system's (`$TMPDIR`), which goes with the server. What killed servers of this user have left there is removed
/// beside the start; of a `tmpdir` the uploads alone: the others look after what they have below it.
class ScratchDirectory {
 public:
  /// Error(config) or Error(kind "io") where there can be none.
  ScratchDirectory(const SystemConfig& config, Log& log);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Of this server alone: what is pushed is unpacked there.
  const std::filesystem::path& uploads() const { return own_->path(); }
  /// The lock that says that it is in use, -1 where it has none: who goes on in it after us must hold it.
  int lock() const { return is_configured_ ? -1 : own_->lock(); }

 private:
  std::filesystem::path path_;
  bool is_configured_ = false;
  std::optional<ProcessDirectory> own_;  ///< all of it, or its uploads
  Thread sweeping_;
};

}  // namespace digdag::server
