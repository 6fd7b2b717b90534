#include "base/log_output.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"

namespace digdag {

namespace {

constexpr std::size_t buffer_size = 64 << 10;
constexpr std::size_t most_unread = 4 << 20;
constexpr std::chrono::milliseconds first_retry{1}, last_retry{200}, patience_at_the_end{1000};
constexpr std::int64_t full_file = 10 << 20;
constexpr int most_old_files = 5;

/// Keeps SIGPIPE of a write from ending the process, without a change that child processes would inherit.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    ::sigemptyset(&pipe_);
    ::sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~PipeSignalHeld() {
    const int error = errno;
    if (raised_) {
      const timespec at_once{};
      while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = error;
  }
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  PipeSignalHeld& operator=(const PipeSignalHeld&) = delete;
  void raised() { raised_ = true; }

 private:
  sigset_t pipe_{}, before_{};
  bool raised_ = false;
};

/// Copies a file into a gzip file; false where that did not work.
bool compress(const std::string& from, const std::string& to) {
  const int in = ::open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return false;
  const int out = ::open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const gzFile zip = out < 0 ? nullptr : ::gzdopen(out, "wb6");
  bool good = zip != nullptr;
  if (!good && out >= 0) ::close(out);
  std::array<char, 32 << 10> block;
  while (good) {
    const ssize_t size = ::read(in, block.data(), block.size());
    if (size == 0) break;
    good = size > 0 && ::gzwrite(zip, block.data(), static_cast<unsigned>(size)) == size;
  }
  if (zip != nullptr) good = ::gzclose(zip) == Z_OK && good;
  ::close(in);
  return good;
}

/// A regular file never makes anybody wait.
bool has_reader(int descriptor) {
  struct stat file {};
  return ::fstat(descriptor, &file) == 0 && !S_ISREG(file.st_mode);
}

}  // namespace

LogOutput::LogOutput(int descriptor, bool may_drop) : descriptor_(descriptor), may_drop_(may_drop && has_reader(descriptor)) {}

LogOutput::LogOutput(std::string path) : path_(std::move(path)) {
  std::error_code ignored;  // open() names the trouble
  const std::filesystem::path directory = std::filesystem::path(path_).parent_path();
  if (!directory.empty()) std::filesystem::create_directories(directory, ignored);
  open();
  if (descriptor_ < 0) {
    throw Error("io", "cannot open log file '" + path_ + "': " + std::generic_category().message(errno))
        .hint("give another file with -L, or - for the console");
  }
}

LogOutput::~LogOutput() {
  flush();
  if (!path_.empty() && descriptor_ >= 0) ::close(descriptor_);
}

void LogOutput::append(std::string_view bytes) {
  if (bytes.empty()) return;
  dropping_ = dropping_ || (may_drop_ && buffer_.size() + bytes.size() > most_unread && is_stuck());
  if (dropping_) {
    dropped_ += bytes.size();
    return;
  }
  if (buffer_.empty()) {
    waiting_since_ = Clock::now();
    if (buffer_.capacity() < buffer_size) buffer_.reserve(2 * buffer_size);
  }
  buffer_ += bytes;
  if (is_stuck() && Clock::now() < retry_at_) return;
  if (buffer_.size() >= buffer_size || waiting_since_ - written_at_ > patience) flush();
}

void LogOutput::flush() {
  if (buffer_.empty()) return;
  if (may_drop_) return flush_what_is_read(std::chrono::milliseconds(0));
  if (!path_.empty()) reopen_if_replaced();
  write_all(buffer_);
  buffer_.clear();
  if (buffer_.capacity() > 4 * buffer_size) buffer_.shrink_to_fit();
  written_at_ = Clock::now();
  if (!path_.empty()) roll_if_full();
}

void LogOutput::finish() {
  if (may_drop_ && !buffer_.empty())
    flush_what_is_read(patience_at_the_end);
  else
    flush();
}

void LogOutput::flush_what_is_read(std::chrono::milliseconds wait) {
  const std::size_t written = write_what_is_read(buffer_, wait);
  if (written > 0) retry_after_ = std::chrono::milliseconds(0);
  buffer_.erase(0, written);
  written_at_ = Clock::now();
  if (buffer_.empty()) {
    dropping_ = false;
    if (buffer_.capacity() > 4 * buffer_size) buffer_.shrink_to_fit();
    return;
  }
  retry_after_ = std::clamp(2 * retry_after_, first_retry, last_retry);
  retry_at_ = written_at_ + retry_after_;
}

/// How much of it need not be written any more. Who can take something can take as much as a pipe takes at once.
std::size_t LogOutput::write_what_is_read(std::string_view bytes, std::chrono::milliseconds wait) {
  if (reader_gone_) return bytes.size();
  PipeSignalHeld pipe_signal;
  std::size_t written = 0;
  while (written < bytes.size()) {
    pollfd wanted{.fd = descriptor_, .events = POLLOUT, .revents = 0};
    if (::poll(&wanted, 1, static_cast<int>(wait.count())) == 0) return written;
    const ssize_t size = ::write(descriptor_, bytes.data() + written, std::min<std::size_t>(bytes.size() - written, PIPE_BUF));
    if (size >= 0) {
      written += static_cast<std::size_t>(size);
    } else if (errno == EAGAIN) {
      return written;
    } else if (errno != EINTR) {
      if (errno == EPIPE) pipe_signal.raised();
      lose(errno);
      return bytes.size();
    }
  }
  losing_ = false;
  return written;
}

std::size_t LogOutput::take_dropped() { return dropping_ ? 0 : std::exchange(dropped_, 0); }

void LogOutput::write_all(std::string_view bytes) {
  if (reader_gone_ || descriptor_ < 0) return;
  PipeSignalHeld pipe_signal;
  while (!bytes.empty()) {
    const ssize_t size = ::write(descriptor_, bytes.data(), bytes.size());
    if (size >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {  // someone made it non-blocking
      pollfd wanted{.fd = descriptor_, .events = POLLOUT, .revents = 0};
      ::poll(&wanted, 1, -1);
    } else if (errno != EINTR) {
      if (errno == EPIPE) pipe_signal.raised();
      return lose(errno);
    }
  }
  losing_ = false;
}

void LogOutput::lose(int error) {
  if (error == EPIPE) {
    reader_gone_ = true;
  } else if (!losing_) {
    losing_ = true;
    trouble_ = std::generic_category().message(error);
  }
}

std::string LogOutput::take_trouble() {
  std::string trouble;
  trouble.swap(trouble_);
  return trouble;
}

void LogOutput::rescue() const {
  pollfd wanted{.fd = descriptor_, .events = POLLOUT, .revents = 0};
  if (may_drop_ && ::poll(&wanted, 1, 0) == 0) return;
  if (!buffer_.empty() && !reader_gone_) {
    const ssize_t size = ::write(descriptor_, buffer_.data(), buffer_.size());
    static_cast<void>(size);
  }
}

void LogOutput::open() { descriptor_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644); }

void LogOutput::reopen_if_replaced() {
  struct stat ours {
  }, there{};
  const bool same = descriptor_ >= 0 && ::fstat(descriptor_, &ours) == 0 && ::stat(path_.c_str(), &there) == 0 &&
                    ours.st_ino == there.st_ino && ours.st_dev == there.st_dev;
  if (same) return;
  if (descriptor_ >= 0) ::close(descriptor_);
  open();
  if (descriptor_ < 0) lose(errno);
}

void LogOutput::roll_if_full() {
  struct stat file {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &file) != 0 || !S_ISREG(file.st_mode) || file.st_size < full_file) return;
  // One process at a time; who comes second finds the file replaced.
  const int locked = descriptor_;
  if (::flock(locked, LOCK_EX) != 0) return;
  struct stat there {};
  if (::stat(path_.c_str(), &there) == 0 && there.st_ino == file.st_ino && there.st_dev == file.st_dev) {
    roll();
    open();
    ::close(locked);
  } else {
    ::flock(locked, LOCK_UN);
  }
}

void LogOutput::roll() {
  const auto old_file = [this](int n) { return path_ + "." + std::to_string(n) + ".gz"; };
  for (int n = most_old_files - 1; n >= 1; --n) ::rename(old_file(n).c_str(), old_file(n + 1).c_str());
  const std::string plain = path_ + ".1";
  if (::rename(path_.c_str(), plain.c_str()) != 0) return;
  if (compress(plain, old_file(1))) {
    ::unlink(plain.c_str());
  } else {
    trouble_ = "cannot compress " + plain + "; it is left as it is";
    ::unlink(old_file(1).c_str());
  }
}

}  // namespace digdag
