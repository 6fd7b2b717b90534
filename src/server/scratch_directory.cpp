#include "server/scratch_directory.h"

#include <exception>
#include <string>
#include <system_error>

#include "base/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace digdag::server {
namespace {

namespace fs = std::filesystem;

/// The Java digdag calls its own `digdag-tempdir<number>` and locks none of them, so they must not be taken for ours.
constexpr ProcessDirectory::Kind kind{.prefix = "digdag-tempdir-", .own_parent = false};

fs::path system_directory() {
  std::error_code failure;
  fs::path path = fs::temp_directory_path(failure);
  if (failure) throw Error("io", "There is no directory for temporary files: " + failure.message()).hint("set tmpdir, or TMPDIR");
  return path;
}

void remove_left(const fs::path& parent, Log& log) {
  try {
    ProcessDirectory::sweep(
        parent, [](const fs::path& left) { remove_tree(left); }, kind);
  } catch (const std::exception& error) {
    log.write(LogLevel::warn, "main", "server",
              "What killed servers have left in " + parent.string() + " cannot be removed: " + error.what());
  }
}

}  // namespace

ScratchDirectory::ScratchDirectory(const SystemConfig& config, Log& log) {
  if (const std::string configured(trim(config.get_or("tmpdir", ""))); !configured.empty()) {
    path_ = configured;
    std::error_code failure;
    fs::create_directories(path_, failure);
    if (failure) throw config_error("tmpdir " + configured + " cannot be made: " + failure.message());
    return;
  }
  const fs::path parent = system_directory();
  try {
    own_.emplace(parent, std::function<void(int)>(), kind);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message()).hint("set tmpdir");
  }
  path_ = own_->path();
  sweeping_ = Thread("removing what killed servers have left", [parent, &log] { remove_left(parent, log); });
}

ScratchDirectory::~ScratchDirectory() {
  sweeping_.join();
  if (own_) remove_tree(path_);
}

}  // namespace digdag::server
