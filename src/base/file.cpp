#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace digdag {

Error io_error(const std::filesystem::path& path, int error) {
  return Error("io", path.string() + ": " + std::generic_category().message(error));
}

namespace {

/// The error number, or 0.
int write_all_and_close(int fd, std::string_view content) {
  int error = 0;
  while (!content.empty() && error == 0) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written >= 0) {
      content.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

/// A new file beside `target` whose name is nobody else's. Not made of the target's name, which may be as long as a name can be.
std::pair<int, std::string> make_temporary(const std::filesystem::path& target, unsigned mode) {
  static std::atomic<unsigned> count{0};
  const std::string directory = target.has_parent_path() ? target.parent_path().string() + "/" : std::string();
  for (;;) {
    std::string name = fmt::format("{}.digdag-{}-{}.tmp", directory, ::getpid(), count++);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd >= 0) return {fd, std::move(name)};
    if (errno != EEXIST && errno != EINTR) throw io_error(target, errno);
  }
}

std::string read(const std::filesystem::path& path, bool only_regular, std::size_t most_bytes) {
  // A pipe without a writer must not hold us up before we see that it is one.
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | (only_regular ? O_NONBLOCK : 0)));
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) throw Error("no such file", path.string());
    throw io_error(path, errno);
  }
  const auto too_big = [&] { return Error("io", fmt::format("{}: larger than {} bytes", path.string(), most_bytes)); };
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw io_error(path, errno);
  if (only_regular && !S_ISREG(status.st_mode)) throw Error("io", path.string() + ": is no regular file");
  if (status.st_size > 0 && static_cast<std::size_t>(status.st_size) > most_bytes) throw too_big();

  // One byte more than the size shows the end of the file in the first read; pipes and /proc files have no size.
  std::string content(static_cast<std::size_t>(status.st_size) + 1, '\0');
  std::size_t filled = 0;
  for (;;) {
    if (filled == content.size()) content.resize(content.size() + (content.size() < 4096 ? 4096 : content.size()));
    const ssize_t got = ::read(file.get(), content.data() + filled, content.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw io_error(path, errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    if (filled > most_bytes) throw too_big();
  }
  content.resize(filled);
  return content;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t most_bytes) { return read(path, false, most_bytes); }

std::string read_regular_file(const std::filesystem::path& path, std::size_t most_bytes) { return read(path, true, most_bytes); }

void write_file_atomically(const std::filesystem::path& path, std::string_view content, unsigned mode) {
  auto [fd, temporary] = make_temporary(path, mode);
  int error = write_all_and_close(fd, content);
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error == 0) return;
  ::unlink(temporary.c_str());
  throw io_error(path, error);
}

void write_new_file(const std::filesystem::path& path, std::string_view content, unsigned mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) throw io_error(path, errno);
  if (const int error = write_all_and_close(fd, content); error != 0) throw io_error(path, error);
}

namespace {

/// The real place of a path, whose end need not exist: every link followed, also one that leads nowhere yet. Nothing where
/// that cannot be known.
std::optional<std::filesystem::path> real_place(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error);
  if (error) return std::nullopt;
  std::deque<std::filesystem::path> rest(whole.begin(), whole.end());
  std::filesystem::path place = "/";
  for (int links = 0; !rest.empty();) {
    const std::filesystem::path part = std::move(rest.front());
    rest.pop_front();
    if (part.empty() || part == "." || part == "/") continue;
    if (part == "..") {
      place = place.parent_path();
      continue;
    }
    const std::filesystem::path next = place / part;
    const auto status = std::filesystem::symlink_status(next, error);
    if (status.type() == std::filesystem::file_type::none) return std::nullopt;
    if (status.type() != std::filesystem::file_type::symlink) {
      place = next;
      continue;
    }
    const std::filesystem::path target = std::filesystem::read_symlink(next, error);
    if (error || ++links > 40) return std::nullopt;
    if (target.is_absolute()) place = "/";
    rest.insert(rest.begin(), target.begin(), target.end());
  }
  return place;
}

}  // namespace

bool is_inside(const std::filesystem::path& path, const std::filesystem::path& root) {
  const auto place = real_place(path);
  const auto top = real_place(root);
  if (!place || !top) return false;
  const auto [left, unused] = std::mismatch(top->begin(), top->end(), place->begin(), place->end());
  return left == top->end() || left->empty();
}

void remove_tree(const std::filesystem::path& path) {
  std::error_code failure;
  std::filesystem::remove_all(path, failure);
  if (!failure) return;
  std::vector<std::filesystem::path> folders{path};
  while (!folders.empty()) {
    const std::filesystem::path folder = std::move(folders.back());
    folders.pop_back();
    chmod(folder.c_str(), 0700);
    std::error_code unreadable;
    for (std::filesystem::directory_iterator entry(folder, unreadable), end; !unreadable && entry != end; entry.increment(unreadable)) {
      if (entry->symlink_status().type() == std::filesystem::file_type::directory) folders.push_back(entry->path());
    }
  }
  std::filesystem::remove_all(path, failure);
}

}  // namespace digdag
