#include "store/log_storage.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <functional>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"

namespace digdag::store {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view suffix = ".log.gz";
constexpr std::size_t most_name_bytes = 255, hash_bytes = 17;  // of a cut part: `~` and 16 digits
constexpr std::string_view hexadecimal = "0123456789abcdef";

bool is_escaped(unsigned char byte) { return byte == '/' || byte < 0x20 || byte == 0x7f; }

/// A part of a file name: what cannot stand in one as `%2F`; what is longer than `most` bytes ends with its hash.
std::string as_file_name(std::string_view text, std::size_t most) {
  std::string name;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_escaped(byte)) {
      name += '%';
      name += "0123456789ABCDEF"[byte >> 4];
      name += "0123456789ABCDEF"[byte & 15];
    } else {
      name += c;
    }
  }
  if (name.size() <= most) return name;
  std::uint64_t hash = 14695981039346656037u;  // FNV-1a: the same in every process
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  char digits[hash_bytes + 1];
  std::snprintf(digits, sizeof digits, "~%016llx", static_cast<unsigned long long>(hash));
  return std::string(first_bytes(name, most - hash_bytes)) + digits;
}

std::string from_file_name(std::string_view name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    unsigned byte = 0;
    const bool escape = name[i] == '%' && i + 2 < name.size() &&
                        std::from_chars(name.data() + i + 1, name.data() + i + 3, byte, 16).ptr == name.data() + i + 3 &&
                        is_escaped(static_cast<unsigned char>(byte));
    text += escape ? static_cast<char>(byte) : name[i];
    if (escape) i += 2;
  }
  return text;
}

/// Keeps nothing.
class NullLogStorage : public LogStorage {
 public:
  std::vector<LogFile> list(const LogAttempt&, std::string_view) const override { return {}; }
  bool read(const LogAttempt&, std::string_view, const std::function<void(std::uint64_t)>&, const std::function<bool(std::string_view)>&,
            std::uint64_t) const override {
    return false;
  }
  void keep(const fs::path&, const std::string&, const fs::path& file) override { unlink(file.c_str()); }
};

/// Files below a directory. No link is followed below it.
class LocalLogStorage : public LogStorage {
 public:
  explicit LocalLogStorage(const fs::path& directory) : root_(fs::absolute(directory).lexically_normal()) {}

  std::vector<LogFile> list(const LogAttempt& attempt, std::string_view prefix) const override {
    std::vector<LogFile> files;
    Fd folder = open_folder(attempt);
    if (!folder) return files;
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(fdopendir(folder.get()), closedir);
    if (!entries) return files;
    folder.release();
    while (const dirent* entry = readdir(entries.get())) {
      const std::string_view name = entry->d_name;
      struct stat status {};
      if (!name.starts_with(prefix) || name.starts_with('.')) continue;
      auto parsed = LogFileName::parse(name);
      if (!parsed || fstatat(dirfd(entries.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode)) continue;
      files.push_back({std::string(name), static_cast<std::uint64_t>(status.st_size), std::move(*parsed)});
    }
    std::sort(files.begin(), files.end(), [](const LogFile& a, const LogFile& b) { return a.file_name < b.file_name; });
    return files;
  }

  bool read(const LogAttempt& attempt, std::string_view file_name, const std::function<void(std::uint64_t)>& size,
            const std::function<bool(std::string_view)>& piece, std::uint64_t offset) const override {
    if (file_name.empty() || file_name == "." || file_name == ".." || file_name.find('/') != std::string_view::npos ||
        file_name.find('\0') != std::string_view::npos)
      throw Error("illegal argument", "Invalid file name: " + visible(file_name));
    if (file_name.starts_with('.')) return false;
    const Fd folder = open_folder(attempt);
    const std::string name(file_name);
    const Fd file(folder ? openat(folder.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1);
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
    size(static_cast<std::uint64_t>(status.st_size));
    char bytes[1 << 16];
    for (;;) {
      const ssize_t got = ::pread(file.get(), bytes, sizeof bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw io_error(root_ / attempt.directory() / name, errno);
      if (got == 0 || !piece({bytes, static_cast<std::size_t>(got)})) return true;
      offset += static_cast<std::uint64_t>(got);
    }
  }

  void keep(const fs::path& attempt_directory, const std::string& file_name, const fs::path& file) override {
    const fs::path folder = root_ / attempt_directory, target = folder / file_name;
    if (rename(file.c_str(), target.c_str()) == 0) return;
    if (errno != ENOENT) throw io_error(target, errno);
    std::error_code failure;
    fs::create_directories(folder, failure);
    if (failure) throw io_error(folder, failure.value());
    if (rename(file.c_str(), target.c_str()) != 0) throw io_error(target, errno);
  }

 private:
  Fd open_folder(const LogAttempt& attempt) const {
    Fd folder(open(root_.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    for (const fs::path& part : attempt.directory()) {
      if (!folder) break;
      folder.reset(openat(folder.get(), part.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    }
    return folder;
  }

  const fs::path root_;
};

}  // namespace

fs::path LogAttempt::directory() const {
  const std::string begin = std::to_string(site_id) + "." + std::to_string(project_id);
  // The offset stands as +0000, also for UTC, which format_state_directory writes so too.
  std::string end = "@" + format_state_directory(session_time, timezone);
  const std::size_t half = (most_name_bytes - begin.size() - end.size() - 1) / 2;
  if (retry_attempt_name) end += "_" + as_file_name(*retry_attempt_name, half);
  return fs::path(format_date(created_at, TimeZone())) /
         (begin + as_file_name(workflow_name, most_name_bytes - begin.size() - end.size()) + end);
}

std::string LogFileName::text() const {
  char time[18];
  std::snprintf(time, sizeof time, "@%08llx%08llx", static_cast<unsigned long long>(seconds) & 0xffffffffu,
                static_cast<unsigned long long>(nanoseconds) & 0xffffffffu);
  const std::string end = time + ("." + as_file_name(agent_id, 80)) + std::string(suffix);
  return as_file_name(task_name, most_name_bytes - end.size()) + end;
}

std::optional<LogFileName> LogFileName::parse(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == std::string_view::npos || !text.ends_with(suffix) || text.size() < at + 18 + suffix.size()) return std::nullopt;
  const std::string_view time = text.substr(at + 1, 16);
  if (time.find_first_not_of(hexadecimal) != std::string_view::npos || text[at + 17] != '.') return std::nullopt;
  LogFileName name{.task_name = from_file_name(text.substr(0, at))};
  std::from_chars(time.data(), time.data() + 8, name.seconds, 16);
  std::from_chars(time.data() + 8, time.data() + 16, name.nanoseconds, 16);
  name.agent_id = from_file_name(text.substr(at + 18, text.size() - at - 18 - suffix.size()));
  return name;
}

std::unique_ptr<LogStorage> local_log_storage(const fs::path& directory) { return std::make_unique<LocalLogStorage>(directory); }

std::unique_ptr<LogStorage> open_log_storage(const SystemConfig& system) {
  const std::string type = system.get_or("log-server.type", "null");
  if (type == "null") return std::make_unique<NullLogStorage>();
  if (type == "local") return local_log_storage(system.get_or("log-server.local.path", "digdag.log"));
  throw config_error("Unknown storage type: " + type).hint("log-server.type is null or local");
}

}  // namespace digdag::store
