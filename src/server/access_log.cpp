#include "server/access_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace digdag::server {
namespace {

constexpr std::size_t most_waiting = 20'000;

}  // namespace

std::unique_ptr<AccessLog> AccessLog::of(const SystemConfig& config, Log& log) {
  const std::optional<std::string> directory = config.get("server.access-log.path");
  if (!directory) return nullptr;
  return std::make_unique<AccessLog>(Options{.directory = *directory, .pattern = config.get_or("server.access-log.pattern", "json")}, log);
}

AccessLog::AccessLog(Options options, Log& log) : options_(std::move(options)), format_(options_.pattern, options_.zone), log_(log) {
  std::error_code error;
  std::filesystem::create_directories(options_.directory, error);
  open();
  if (!file_)
    throw Error("io", "Cannot open the access log " + (options_.directory / "access.log").string() + ": " + std::strerror(errno))
        .hint("server.access-log.path must name a directory that this user may write to");
  thread_ = Thread("the access log", [this] { write_all(); });
}

AccessLog::~AccessLog() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  came_.notify_all();
  thread_.join();
}

void AccessLog::add(Exchange exchange) {
  {
    const std::lock_guard lock(mutex_);
    if (waiting_.size() >= most_waiting) {
      ++dropped_;
      return;
    }
    waiting_.push_back(std::move(exchange));
    if (waiting_.size() > 1) return;  // the thread knows already
  }
  came_.notify_one();
}

void AccessLog::write_all() {
  for (;;) {
    std::vector<Exchange> exchanges;
    std::uint64_t dropped = 0;
    {
      std::unique_lock lock(mutex_);
      came_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
      if (waiting_.empty()) return;
      exchanges.swap(waiting_);
      dropped = std::exchange(dropped_, 0);
    }
    write(exchanges);
    if (dropped > 0) complain(std::to_string(dropped) + " lines are missing in the access log: they came faster than the disk takes them");
  }
}

void AccessLog::write(const std::vector<Exchange>& exchanges) {
  std::string lines;
  for (const Exchange& exchange : exchanges) {
    // Requests that end together may be told of out of order: a day never comes back.
    if (std::string day = format_date(exchange.finished, options_.zone); day > day_) {
      write(lines);
      lines.clear();
      keep_as(day_);
      day_ = std::move(day);
      open();
    }
    lines += format_.line(exchange);
  }
  write(lines);
}

void AccessLog::write(const std::string& lines) {
  if (lines.empty()) return;
  const auto lose = [&](int error) {
    if (std::exchange(writing_fails_, true)) return;
    complain("Cannot write the access log " + (options_.directory / "access.log").string() + ": " + std::strerror(error) +
             "; its lines are lost until that is mended");
  };
  if (!file_) open();
  if (!file_) return lose(errno);
  for (std::size_t written = 0; written < lines.size();) {
    const ssize_t count = ::write(file_.get(), lines.data() + written, lines.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return lose(errno);
    written += static_cast<std::size_t>(count);
  }
  writing_fails_ = false;
}

/// A file that another process has left is from the day of its last line.
void AccessLog::open() {
  file_ = Fd(::open((options_.directory / "access.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  struct stat status {};
  if (!day_.empty() || !file_ || fstat(file_.get(), &status) != 0) return;
  day_ = format_date(status.st_size > 0 ? Instant::of_seconds(status.st_mtime) : now(), options_.zone);
}

void AccessLog::keep_as(const std::string& day) const {
  struct stat status {};
  if (!file_ || fstat(file_.get(), &status) != 0 || status.st_size == 0) return;
  std::error_code error;
  std::filesystem::path kept = options_.directory / ("access." + day + ".log");
  for (int i = 1; std::filesystem::exists(kept, error); ++i)
    kept = options_.directory / ("access." + day + '-' + std::to_string(i) + ".log");
  std::filesystem::rename(options_.directory / "access.log", kept, error);
}

void AccessLog::complain(const std::string& about) { log_.write(LogLevel::warn, "access-log", "server", about); }

}  // namespace digdag::server
