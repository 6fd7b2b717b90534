#include "base/process_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace digdag {
namespace fs = std::filesystem;
namespace {

constexpr int most_tries = 100;  // somebody may remove what we have just made, and take it for left

Error cannot_make(const fs::path& path, int error) {
  return Error("io", "Cannot create directory " + path.string() + ": " + std::strerror(error));
}

Fd open_directory(const fs::path& path) { return Fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)); }

bool is_ours(const Fd& directory) {
  struct stat status {};
  return fstat(directory.get(), &status) == 0 && status.st_uid == geteuid();
}

}  // namespace

ProcessDirectory::ProcessDirectory(const fs::path& parent, const std::function<void(int fd)>& hold, Kind kind) : kind_(kind) {
  const fs::path whole = fs::absolute(parent).lexically_normal();
  for (int tries_left = most_tries; !make(whole); --tries_left) {
    if (tries_left == 0) throw cannot_make(whole, ENOENT);
  }
  if (hold) hold(lock_.get());
}

/// False where it has to be tried again.
bool ProcessDirectory::make(const fs::path& parent) {
  std::error_code failure;
  fs::create_directories(parent, failure);
  if (failure) throw cannot_make(parent, failure.value());
  path_ = parent / (std::string(kind_.prefix) + random_uuid().substr(0, 8));
  if (mkdir(path_.c_str(), 0700) != 0) {
    if (errno == EEXIST || errno == ENOENT) return false;
    throw cannot_make(path_, errno);
  }
  lock_ = open_directory(path_);
  if (!lock_) return false;
  // A file system without locks: nobody takes it for left then, as nobody gets its lock.
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) return errno != EWOULDBLOCK;
  struct stat status {};
  return fstat(lock_.get(), &status) == 0 && status.st_nlink > 0;
}

ProcessDirectory::~ProcessDirectory() {
  rmdir(path_.c_str());
  if (kind_.own_parent) rmdir(path_.parent_path().c_str());
}

void ProcessDirectory::sweep(const fs::path& parent, const std::function<void(const fs::path& left)>& show, Kind kind) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (fs::directory_iterator entry(parent, failure), end; !failure && entry != end; entry.increment(failure)) {
    if (entry->path().filename().string().starts_with(kind.prefix)) found.push_back(entry->path());
  }
  for (const fs::path& path : found) {
    const Fd lock = open_directory(path);
    if (!lock || !is_ours(lock) || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;  // its owner lives
    show(path);
    rmdir(path.c_str());
  }
}

}  // namespace digdag
