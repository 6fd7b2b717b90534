#include "store/project_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <unordered_set>
#include <utility>

#include "base/fd.h"
#include "base/file.h"
#include "base/private_directory.h"
#include "base/text.h"
#include "store/crypto.h"

namespace digdag::store {
namespace fs = std::filesystem;
namespace {

/// Makes what an archive shows. Its paths are sound (ArchiveTree), and no link exists before all files do, so none is followed.
class Extraction {
 public:
  explicit Extraction(const fs::path& directory) : directory_(directory) {}

  void make(const ArchiveEntry& entry) {
    if (entry.kind != ArchiveEntry::Kind::link) {
      const fs::path path = place_of(entry.path);
      if (entry.kind == ArchiveEntry::Kind::file)
        make_file(path, entry);
      else
        make_hard_link(path, entry);
    }
    made_.push_back(entry);
    made_.back().content = {};
  }
  std::vector<ArchiveEntry> finish() {
    for (const ArchiveEntry& entry : made_) {
      if (entry.kind != ArchiveEntry::Kind::link) continue;
      const fs::path path = place_of(entry.path);
      if (symlink(entry.target.c_str(), path.c_str()) != 0) throw io_error(path, errno);
    }
    return std::move(made_);
  }

 private:
  fs::path place_of(const std::string& path) {
    fs::path place = directory_ / path;
    if (const std::size_t end = path.rfind('/'); end != std::string::npos && folders_.insert(path.substr(0, end)).second) {
      std::error_code failure;
      fs::create_directories(place.parent_path(), failure);
      if (failure) throw io_error(place.parent_path(), failure.value());
    }
    return place;
  }
  void make_file(const fs::path& path, const ArchiveEntry& entry) {
    Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file && errno == EEXIST && unlink(path.c_str()) == 0)  // the later one of two entries counts
      file.reset(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) throw io_error(path, errno);
    for (std::string_view left = entry.content; !left.empty();) {
      const ssize_t written = write(file.get(), left.data(), left.size());
      if (written < 0 && errno != EINTR) throw io_error(path, errno);
      if (written > 0) left.remove_prefix(static_cast<std::size_t>(written));
    }
    const timespec times[2] = {{entry.mtime, 0}, {entry.mtime, 0}};
    futimens(file.get(), times);  // a time that the file system does not know is no reason to fail
    if (fchmod(file.get(), entry.mode | 0400) != 0) throw io_error(path, errno);
  }
  void make_hard_link(const fs::path& path, const ArchiveEntry& entry) {
    const fs::path target = directory_ / entry.target;
    if (link(target.c_str(), path.c_str()) != 0 && errno != EEXIST) throw io_error(path, errno);
  }

  const fs::path& directory_;
  std::unordered_set<std::string> folders_;  ///< that were made
  std::vector<ArchiveEntry> made_;
};

/// What loading a project reads, unless an `!include` or a link leads elsewhere.
bool is_read_by_loading(std::string_view path) {
  return path.find('/') == std::string_view::npos && (path.ends_with(".dig") || path == ".digdagignore");
}

/// Unpacks no more than loading reads: most files of a project are not its workflows. Nothing where that may not be enough: there are
/// links, or something is wrong, such as an `!include` of what was left out.
std::optional<dig::Project> load_workflows_alone(std::string_view bytes, const ArchiveLimits& limits, const fs::path& temporary_directory) {
  const PrivateDirectory scratch(temporary_directory, "upload-");
  Extraction extraction(scratch.path());
  bool has_links = false;
  read_archive(bytes, limits, [&](const ArchiveEntry& entry) {
    has_links = has_links || entry.kind != ArchiveEntry::Kind::file;
    if (!has_links && is_read_by_loading(entry.path)) extraction.make(entry);
  });
  if (has_links) return std::nullopt;
  dig::Project project = dig::load_project(scratch.path());
  const auto is_sound = [](const dig::Project::File& file) { return file.errors.empty(); };
  return std::all_of(project.files.begin(), project.files.end(), is_sound) ? std::optional(std::move(project)) : std::nullopt;
}

}  // namespace

std::vector<ArchiveEntry> extract_archive(std::string_view bytes, const ArchiveLimits& limits, const fs::path& directory) {
  Extraction extraction(directory);
  read_archive(bytes, limits, [&](const ArchiveEntry& entry) { extraction.make(entry); });
  return extraction.finish();
}

Upload check_upload(std::string_view bytes, const ArchiveLimits& limits, const fs::path& temporary_directory) {
  if (limits.bytes > 0 && bytes.size() > limits.bytes)
    throw Error("illegal argument", "Size of the uploaded archive file exceeds limit (" + std::to_string(limits.bytes) + " bytes)");
  std::error_code failure;
  fs::create_directories(temporary_directory, failure);  // where it fails, what is made in it says why
  if (std::optional<dig::Project> project = load_workflows_alone(bytes, limits, temporary_directory))
    return {.md5 = md5(bytes), .project = *std::move(project)};
  const PrivateDirectory scratch(temporary_directory, "upload-");
  extract_archive(bytes, limits, scratch.path());
  return {.md5 = md5(bytes), .project = dig::load_project(scratch.path())};
}

}  // namespace digdag::store
