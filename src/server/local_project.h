#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"
#include "dig/loader.h"
#include "schedule/project_watcher.h"
#include "store/database.h"

namespace digdag::server {

/// The project of scheduler mode: a directory, whose workflows are the revisions 1, 2, … of the project `default`
/// (spec/scheduling.md 12). They have no archive; tasks work in the directory itself.
class LocalProject {
 public:
  struct Parts {
    store::Database& database;
    std::function<Instant()> clock;
    std::function<void()> schedules_changed;
    Log& log;
  };
  /// `scheduler.autoLoadLocalProject`; nothing on a server whose projects are pushed.
  static std::optional<std::filesystem::path> directory_of(const SystemConfig& config);

  /// Stores what the directory defines, where the latest revision says something else (spec/decisions.md S-26). Throws Error where it
  /// cannot be loaded.
  LocalProject(const std::filesystem::path& directory, const SystemConfig& config, Parts parts);

  /// Follows the files from now on, until it ends.
  void start() { watcher_.start(); }

 private:
  dig::Project begin(const std::filesystem::path& directory);
  std::string add_revision(const dig::Project& project);

  const Parts parts_;
  const Value default_params_;
  schedule::ProjectWatcher watcher_;
};

}  // namespace digdag::server
