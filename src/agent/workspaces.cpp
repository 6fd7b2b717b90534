#include "agent/workspaces.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <map>
#include <mutex>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/private_directory.h"
#include "base/process_directory.h"
#include "base/text.h"
#include "store/crypto.h"
#include "store/project_archive.h"

namespace digdag::agent {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t most_name_bytes = 100;  // of a workflow, in the name of a directory

void copy_content(int from, int to, const fs::path& path) {
  if (ioctl(to, FICLONE, from) == 0) return;
  char bytes[1 << 16];
  for (;;) {
    const ssize_t got = read(from, bytes, sizeof bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error(path, errno);
    if (got == 0) return;
    for (ssize_t written = 0; written < got;) {
      const ssize_t count = write(to, bytes + written, static_cast<std::size_t>(got - written));
      if (count < 0 && errno != EINTR) throw io_error(path, errno);
      if (count > 0) written += count;
    }
  }
}

/// An unpacked revision, which nobody changes. Its files are copied for each run, since tasks may write to theirs.
class UnpackedRevision {
 public:
  UnpackedRevision(const fs::path& parent, const std::string& archive) : directory_(parent, "revision-") {
    entries_ = store::extract_archive(archive, store::ArchiveLimits::of_stored(), directory_.path());
    for (const auto& entry : entries_) {
      std::error_code unknown;
      if (entry.kind == store::ArchiveEntry::Kind::file) bytes_ += fs::file_size(directory_.path() / entry.path, unknown);
    }
  }
  UnpackedRevision(const UnpackedRevision&) = delete;
  UnpackedRevision& operator=(const UnpackedRevision&) = delete;

  std::uint64_t bytes() const { return bytes_; }

  void copy_to(const fs::path& target) const {
    std::unordered_set<std::string> folders;
    for (const auto& entry : entries_) {
      const fs::path to = target / entry.path;
      const std::size_t end = entry.path.rfind('/');
      if (end != std::string::npos && folders.insert(entry.path.substr(0, end)).second) fs::create_directories(to.parent_path());
      copy(entry, target, to);
    }
  }

 private:
  void copy(const store::ArchiveEntry& entry, const fs::path& target, const fs::path& to) const {
    int failed = 0;
    switch (entry.kind) {
      case store::ArchiveEntry::Kind::file: return copy_file(entry, to);
      case store::ArchiveEntry::Kind::link: failed = symlink(entry.target.c_str(), to.c_str()); break;
      case store::ArchiveEntry::Kind::hard_link: failed = link((target / entry.target).c_str(), to.c_str()); break;
    }
    if (failed != 0) throw io_error(to, errno);
  }
  void copy_file(const store::ArchiveEntry& entry, const fs::path& to) const {
    const fs::path from = directory_.path() / entry.path;
    const Fd source(open(from.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!source) throw io_error(from, errno);
    const Fd copy(open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!copy) throw io_error(to, errno);
    copy_content(source.get(), copy.get(), to);
    const timespec times[2] = {{entry.mtime, 0}, {entry.mtime, 0}};
    futimens(copy.get(), times);
    if (fchmod(copy.get(), entry.mode | 0400) != 0) throw io_error(to, errno);
  }

  const PrivateDirectory directory_;
  std::vector<store::ArchiveEntry> entries_;  ///< links refer to what stands before or behind them; nothing lies below one
  std::uint64_t bytes_ = 0;
};

class LocalWorkspace : public Workspace {
 public:
  LocalWorkspace(const fs::path& directory, operators::IoArea& io_area) : directory_(directory), io_area_(io_area) {}
  const fs::path& directory() override { return directory_; }
  operators::IoArea& io_area() override { return io_area_; }

 private:
  const fs::path& directory_;
  operators::IoArea& io_area_;
};

}  // namespace

ProjectDirectory::ProjectDirectory(fs::path directory, operators::IoArea::Options options)
    : directory_(std::move(directory)), io_area_(directory_, std::move(options)) {}

std::unique_ptr<Workspace> ProjectDirectory::workspace_for(const operators::TaskIdentity&) {
  return std::make_unique<LocalWorkspace>(directory_, io_area_);
}

struct RevisionWorkspaces::Impl {
  Impl(const Options& options, ArchiveSource& source)
      : archives(source), cache_bytes(options.cache_bytes), ours(swept(options.tmpdir / "workspace"), options.hold) {}

  /// Once more: programs of one that was killed may have lived on while we began.
  ~Impl() { swept(ours.path().parent_path()); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  static fs::path swept(fs::path parent) {
    ProcessDirectory::sweep(parent, [](const fs::path& left) { remove_tree(left); });
    return parent;
  }

  /// One revision is unpacked once, whoever else waits for it.
  struct Slot {
    std::mutex mutex;
    std::shared_ptr<const UnpackedRevision> unpacked;
    std::list<std::int64_t>::iterator in_order;  ///< under the mutex of the cache
  };

  std::shared_ptr<const UnpackedRevision> revision(std::int64_t id, const operators::TaskIdentity& task) {
    std::shared_ptr<Slot> slot = slot_of(id);
    try {
      const std::lock_guard lock(slot->mutex);
      if (slot->unpacked) return slot->unpacked;
      slot->unpacked = unpack(id, task);
      make_room(id, slot->unpacked->bytes());
      return slot->unpacked;
    } catch (...) {
      leave(id, std::move(slot));
      throw;
    }
  }

  std::shared_ptr<Slot> slot_of(std::int64_t id) {
    const std::lock_guard lock(mutex);
    auto& slot = cache[id];
    if (!slot) {
      slot = std::make_shared<Slot>();
      slot->in_order = order.insert(order.begin(), id);
    }
    order.splice(order.begin(), order, slot->in_order);
    return slot;
  }

  /// One that could not be unpacked is forgotten by the last that waits for it: it may never be asked for again.
  void leave(std::int64_t id, std::shared_ptr<Slot> slot) {
    const std::lock_guard lock(mutex);
    slot.reset();
    const auto kept = cache.find(id);
    if (kept == cache.end() || kept->second.use_count() > 1 || sizes.contains(id)) return;
    order.erase(kept->second->in_order);
    cache.erase(kept);
  }

  std::shared_ptr<const UnpackedRevision> unpack(std::int64_t id, const operators::TaskIdentity& task) {
    const std::string name = "project id=" + std::to_string(task.project_id) + " revision='" + task.revision + "'";
    const auto archive = archives.fetch(id);
    if (!archive) throw Error("illegal state", "Archive data for " + name + " is not found in database").hint("push the project again");
    if (!archive->md5.empty() && store::md5(archive->bytes) != archive->md5)
      throw Error("illegal state", "Archive data for " + name + " is damaged: its MD5 is not the one that was stored with it")
          .hint("push the project again");
    try {
      return std::make_shared<UnpackedRevision>(ours.path(), archive->bytes);
    } catch (const Error& error) {
      throw Error(error.kind(), "Archive data for " + name + " cannot be unpacked: " + error.message()).hint(error.hint_text());
    }
  }

  /// Forgets the revisions that were not used for the longest time. Their files go when no run needs them any more.
  void make_room(std::int64_t newest, std::uint64_t bytes) {
    std::vector<std::shared_ptr<Slot>> forgotten;
    const std::lock_guard lock(mutex);
    sizes[newest] = bytes;
    cached_bytes += bytes;
    for (auto id = order.end(); cached_bytes > cache_bytes && id != order.begin();) {
      --id;
      const auto size = sizes.find(*id);
      if (*id == newest || size == sizes.end()) continue;  // not unpacked yet
      cached_bytes -= size->second;
      sizes.erase(size);
      forgotten.push_back(std::move(cache[*id]));
      cache.erase(*id);
      id = order.erase(id);
    }
  }

  PrivateDirectory make_workspace(const operators::TaskIdentity& task) {
    const std::string workflow = replace_all(std::string(first_bytes(task.workflow_name, most_name_bytes)), "/", "_");
    return {ours.path(), std::to_string(task.project_id) + "_" + workflow + "_" + std::to_string(task.attempt_id) + "_" +
                             std::to_string(task.task_id) + "_"};
  }

  ArchiveSource& archives;
  const std::uint64_t cache_bytes;
  ProcessDirectory ours;

  std::mutex mutex;
  std::map<std::int64_t, std::shared_ptr<Slot>> cache;  ///< by revision
  std::list<std::int64_t> order;                        ///< the last used revision first
  std::map<std::int64_t, std::uint64_t> sizes;          ///< of those that are unpacked
  std::uint64_t cached_bytes = 0;
};

class RevisionWorkspaces::RunWorkspace : public Workspace {
 public:
  RunWorkspace(Impl& impl, const operators::TaskIdentity& task) : impl_(impl), task_(task) {}

  const fs::path& directory() override {
    if (!directory_) {
      const auto revision = task_.revision_id ? impl_.revision(*task_.revision_id, task_) : nullptr;
      PrivateDirectory made = impl_.make_workspace(task_);
      if (revision) revision->copy_to(made.path());
      directory_.emplace(std::move(made));
    }
    return directory_->path();
  }
  operators::IoArea& io_area() override {
    if (!io_area_) io_area_ = std::make_unique<operators::IoArea>(directory(), operators::IoArea::Options{});
    return *io_area_;
  }

 private:
  Impl& impl_;
  const operators::TaskIdentity& task_;
  std::optional<PrivateDirectory> directory_;
  std::unique_ptr<operators::IoArea> io_area_;  ///< in it
};

RevisionWorkspaces::RevisionWorkspaces(const Options& options, ArchiveSource& archives)
    : impl_(std::make_unique<Impl>(options, archives)) {}
RevisionWorkspaces::~RevisionWorkspaces() = default;

std::unique_ptr<Workspace> RevisionWorkspaces::workspace_for(const operators::TaskIdentity& task) {
  return std::make_unique<RunWorkspace>(*impl_, task);
}

}  // namespace digdag::agent
