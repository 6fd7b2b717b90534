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
constexpr ProcessDirectory::Kind whole_kind{.prefix = "digdag-tempdir-", .own_parent = false};

fs::path system_directory() {
  std::error_code failure;
  fs::path path = fs::temp_directory_path(failure);
  if (failure) throw Error("io", "There is no directory for temporary files: " + failure.message()).hint("set tmpdir, or TMPDIR");
  return path;
}

/// Many servers may have theirs in one `tmpdir`, and other programs, too.
constexpr ProcessDirectory::Kind uploads_kind{.prefix = "process-", .own_parent = true};

void remove_left(const fs::path& parent, ProcessDirectory::Kind kind, Log& log) {
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
  const std::string configured(trim(config.get_or("tmpdir", "")));
  is_configured_ = !configured.empty();
  if (is_configured_) {
    path_ = configured;
    std::error_code failure;
    fs::create_directories(path_, failure);
    if (failure) throw config_error("tmpdir " + configured + " cannot be made: " + failure.message());
  }
  const fs::path parent = is_configured_ ? path_ / "uploads" : system_directory();
  const ProcessDirectory::Kind own_kind = is_configured_ ? uploads_kind : whole_kind;
  try {
    own_.emplace(parent, std::function<void(int)>(), own_kind);
  } catch (const Error& error) {
    throw Error(error.kind(), error.message()).hint(is_configured_ ? "set tmpdir to a directory that can be written" : "set tmpdir");
  }
  if (!is_configured_) path_ = own_->path();
  sweeping_ = Thread("removing what killed servers have left", [parent, own_kind, &log] { remove_left(parent, own_kind, log); });
}

ScratchDirectory::~ScratchDirectory() {
  sweeping_.join();
  remove_tree(own_->path());
}

}  // namespace digdag::server
