#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "operators/io_directory.h"
#include "operators/operator.h"

namespace digdag::agent {

/// The directory that one run of a task works in. Removed with the object, where it was made for it.
class Workspace {
 public:
  virtual ~Workspace() = default;
  /// The root of the project's files; made when it is first asked for. Error with the reason where it cannot be.
  virtual const std::filesystem::path& directory() = 0;
  /// Where operators have their scratch files: `.digdag/tmp` below it.
  virtual operators::IoArea& io_area() = 0;
};

/// Gives each run its workspace (spec/execution.md 21). Thread-safe; a workspace is used by one thread at a time.
class Workspaces {
 public:
  virtual ~Workspaces() = default;
  /// `task` must outlive it.
  virtual std::unique_ptr<Workspace> workspace_for(const operators::TaskIdentity& task) = 0;
};

/// Local runs: every task works in the project directory itself.
class ProjectDirectory : public Workspaces {
 public:
  ProjectDirectory(std::filesystem::path directory, operators::IoArea::Options options);
  std::unique_ptr<Workspace> workspace_for(const operators::TaskIdentity& task) override;

 private:
  const std::filesystem::path directory_;
  operators::IoArea io_area_;
};

/// Where project archives come from: the database, or a server over HTTP.
class ArchiveSource {
 public:
  virtual ~ArchiveSource() = default;
  struct Archive {
    std::string bytes;
    std::string md5;  ///< as it was stored with the revision (16 bytes); empty: none was
  };
  /// Blocks; repeats by itself what is worth it. Nothing where none is stored. What it throws fails the task.
  virtual std::optional<Archive> fetch(std::int64_t revision_id) = 0;
};

/// Server: a fresh directory for each run, `<tmpdir>/workspace/<ours>/<projectId>_<workflow>_<attemptId>_<taskId>_<random>`, filled when
/// it is first asked for, from revisions that were unpacked before (spec/decisions.md E-53). A revision never changes, so its id is the
/// key. A task without a revision gets an empty directory.
///
/// `<ours>` is locked while this process lives; those of dead processes are removed at the start.
class RevisionWorkspaces : public Workspaces {
 public:
  struct Options {
    std::filesystem::path tmpdir;
    std::uint64_t cache_bytes = 256 << 20;  ///< of unpacked revisions; the last used one always stays
    /// Gets the lock, for programs that outlive us. May be unset.
    std::function<void(int fd)> hold;
  };
  /// Error(io) where `tmpdir` cannot be written. `archives` must outlive it.
  RevisionWorkspaces(const Options& options, ArchiveSource& archives);
  /// All workspaces must be gone.
  ~RevisionWorkspaces() override;
  std::unique_ptr<Workspace> workspace_for(const operators::TaskIdentity& task) override;

 private:
  class RunWorkspace;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace digdag::agent
