#include "operators/io_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/text.h"

namespace digdag::operators {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t id_length = 8;  // of an agent, in hexadecimal digits
constexpr std::string_view directory_prefix = "digdag-", lock_suffix = ".lock";
/// How often what another process has removed meanwhile is made anew.
constexpr int most_tries = 100;

Error cannot_make(const fs::path& path, int error) {
  return Error("io", "Cannot create directory " + path.string() + ": " + std::strerror(error));
}

std::vector<std::string> names_in(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  return names;
}

std::string lock_name(const std::string& id) { return "." + id + std::string(lock_suffix); }

/// The ID in the name of a lock; empty for another file.
std::string id_of_lock(std::string_view name) {
  if (!name.starts_with('.') || !name.ends_with(lock_suffix) || name.size() != 1 + id_length + lock_suffix.size()) return "";
  const std::string_view id = name.substr(1, id_length);
  return id.find_first_not_of("0123456789abcdef") == std::string_view::npos ? std::string(id) : "";
}

bool is_directory_of(std::string_view name, const std::string& id) {
  return name.starts_with(directory_prefix) && name.substr(name.rfind('-') + 1).starts_with(id);
}

}  // namespace

IoArea::IoArea(const fs::path& project_directory, Options options)
    : path_(fs::absolute(project_directory).lexically_normal() / ".digdag" / "tmp"), options_(std::move(options)) {
  sweep();
}

IoArea::~IoArea() {
  if (!id_.empty()) {
    if (!options_.keep) remove_directories_of(id_);
    unlink((path_ / lock_name(id_)).c_str());
  }
  sweep();               // of one that was killed while we began, and whose commands have ended since
  rmdir(path_.c_str());  // only where it is empty
}

bool IoArea::remove_directories_of(const std::string& id) const {
  bool all = true;
  for (const std::string& name : names_in(path_)) {
    if (!is_directory_of(name, id)) continue;
    std::error_code error;
    fs::remove_all(path_ / name, error);
    all = all && !error;
  }
  return all;
}

void IoArea::sweep() const {
  for (const std::string& name : names_in(path_)) {
    const std::string id = id_of_lock(name);
    if (id.empty()) continue;
    const Fd lock(open((path_ / name).c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;  // its owner lives
    if (remove_directories_of(id)) unlink((path_ / name).c_str());
  }
}

/// False where it has to be tried again.
bool IoArea::take_lock() {
  const std::string id = random_uuid().substr(0, id_length);
  const fs::path file = path_ / lock_name(id);
  Fd lock(open(file.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!lock && errno == EEXIST) return false;
  if (!lock && (errno == ENOENT || errno == ENOTDIR)) {
    std::error_code error;
    fs::create_directories(path_, error);
    if (error) throw cannot_make(path_, error.value());
    return false;
  }
  if (!lock) throw Error("io", "Cannot create file " + file.string() + ": " + std::strerror(errno));
  struct stat status {};
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) {
    // Whoever looked at it between our two steps has taken it for that of a process that is gone.
    if (fstat(lock.get(), &status) != 0 || status.st_nlink == 0) return false;
    lock_ = std::move(lock);
    if (options_.hold) options_.hold(lock_.get());
  } else if (errno == EWOULDBLOCK) {
    return false;
  } else {
    unlink(file.c_str());  // a file system without locks
  }
  if (options_.keep) unlink(file.c_str());  // without this file nobody takes our directories for left ones
  id_ = id;
  return true;
}

void IoArea::become_known() {
  const std::lock_guard guard(mutex_);
  if (!id_.empty()) return;
  for (int tries_left = most_tries; !take_lock(); --tries_left) {
    if (tries_left == 0) throw cannot_make(path_, ENOENT);
  }
}

fs::path IoArea::make_directory(std::string_view name) {
  become_known();
  for (int tries_left = most_tries;; --tries_left) {
    fs::path path = path_ / (std::string(directory_prefix) + std::string(name) + '-' + id_ + std::to_string(++made_));
    if (mkdir(path.c_str(), 0700) == 0) return path;
    if ((errno != ENOENT && errno != ENOTDIR) || tries_left == 0) throw cannot_make(path, errno);
    std::error_code error;  // somebody has removed `tmp`
    fs::create_directories(path_, error);
    if (error) throw cannot_make(path_, error.value());
  }
}

IoDirectory::IoDirectory(const TaskContext& task, std::string_view type)
    : path_(task.io_area().make_directory(std::string(type) + "-" + std::to_string(task.identity.task_id))),
      workspace_(fs::absolute(task.workspace()).lexically_normal()),
      keep_(task.io_area().keeps_files()) {}

IoDirectory::~IoDirectory() {
  if (keep_) return;
  // By name: to look into it takes a file descriptor, and there may be none.
  for (const std::string& name : names_) unlink((path_ / name).c_str());
  if (rmdir(path_.c_str()) == 0) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string IoDirectory::relative(std::string_view name) {
  names_.emplace(name);
  const fs::path path = file(name).lexically_relative(workspace_);
  // `..` leads elsewhere where the workspace is reached through a link.
  std::error_code error;
  if (*path.begin() == ".." && !fs::equivalent(workspace_ / path.parent_path(), path_, error)) return file(name).string();
  return path.string();
}

void IoDirectory::write(std::string_view name, std::string_view content) {
  names_.emplace(name);
  write_new_file(file(name), content, 0600);
}

}  // namespace digdag::operators
