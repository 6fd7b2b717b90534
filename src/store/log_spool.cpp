#include "store/log_spool.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/process_directory.h"
#include "base/thread.h"

namespace digdag::store {
namespace fs = std::filesystem;
namespace {

constexpr std::int64_t first_interval_millis = 10'000, longest_interval_millis = 600'000;
constexpr std::string_view packed_suffix = ".gz";
constexpr std::size_t most_head_bytes = 2048;
constexpr std::int64_t longest_sleep_millis = 3'600'000;
/// Of a complete log that no storage takes. Its attempt may end on another server, and nobody says so here.
constexpr std::int64_t unkept_millis = std::int64_t{24} * 3'600'000;
/// Where no storage takes them, short logs need no file: one for each task cost more than the task.
constexpr std::size_t most_bytes_in_memory = 16 << 10, most_bytes_of_all_in_memory = 8 << 20;

/// How many bytes were written; with `error` where not all were.
std::size_t append(const fs::path& path, std::string_view bytes, int& error) {
  // Not kept open: thousands of tasks may run at once.
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  error = file ? 0 : errno;
  std::size_t written = 0;
  while (error == 0 && written < bytes.size()) {
    const ssize_t count = write(file.get(), bytes.data() + written, bytes.size() - written);
    if (count > 0) written += static_cast<std::size_t>(count);
    if (count < 0 && errno != EINTR) error = errno;
  }
  return written;
}

/// What stands there from `offset` on.
std::string read_part(const fs::path& path, std::uint64_t offset, std::size_t most) {
  const Fd file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  std::string bytes(most, '\0');
  const ssize_t got = file ? pread(file.get(), bytes.data(), most, static_cast<off_t>(offset)) : -1;
  if (got < 0) throw io_error(path, errno);
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

void pack(const fs::path& source, std::uint64_t offset, const fs::path& target) {
  const Fd file(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) throw io_error(source, errno);
  gzFile const packed = gzopen(target.c_str(), "wbe");
  if (packed == nullptr) throw io_error(target, errno);
  int error = lseek(file.get(), static_cast<off_t>(offset), SEEK_SET) < 0 ? errno : 0;
  char bytes[1 << 16];
  for (ssize_t got = 1; got != 0 && error == 0;) {
    got = read(file.get(), bytes, sizeof bytes);
    if (got < 0 && errno != EINTR) error = errno;
    if (got > 0 && gzwrite(packed, bytes, static_cast<unsigned>(got)) == 0) error = errno;
  }
  if (gzclose(packed) != Z_OK && error == 0) error = errno;
  if (error == 0) return;
  unlink(target.c_str());
  throw io_error(target, error);
}

}  // namespace

/// A file that is not published. Its first two lines say what it is to become; behind them stands what the task wrote.
struct LogSpool::Spool {
  fs::path path;
  std::string attempt_directory, file_name;
  std::size_t head_bytes = 0;
  std::atomic<std::uint64_t> bytes = 0;  ///< behind the head
  std::shared_ptr<Run> run;              ///< that writes it, or has; none where that process is gone

  // Under the mutex of the LogSpool:
  Instant due{};  ///< when it is published, or that is tried again
  std::int64_t retry_millis = first_interval_millis;
  std::uint64_t unkept_as = 0;  ///< its number among those; 0: it is none

  mutable std::mutex content;
  bool on_disk = true;  ///< by `content`
  std::string memory;   ///< all of it, where it is not

  std::atomic<bool> complete = false;  ///< nobody writes it any more
  std::mutex publishing;
  std::atomic<bool> published = false;  ///< set under `publishing`
};

/// One run of a task.
struct LogSpool::Run {
  std::string attempt_directory, task_name;
  std::mutex mutex;  ///< of all that follows
  std::shared_ptr<Spool> current;
  std::vector<std::shared_ptr<Spool>> before;  ///< complete, perhaps not published yet
  std::int64_t interval_millis = first_interval_millis;
  bool in_line = false;  ///< the last line is not complete
  std::string lost;      ///< why some is missing here, until that is written
};

struct LogSpool::Impl {
  Impl(Options wanted, LogStorage& target, Log& log) : options(std::move(wanted)), storage(target), process_log(log) {
    adopt_left();
    if (!options.discard) guarded([&] { const ProcessDirectory probe(options.directory); });
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      closed = true;
    }
    wake.notify_all();
    thread.join();
    if (!options.discard) return;
    for (const auto& [key, spool] : spools) unlink(spool->path.c_str());
  }

  /// What fails is told in the log of the process alone, and once until it works again.
  template <typename Step>
  bool guarded(Step step) {
    try {
      step();
      return true;
    } catch (const std::exception& error) {
      fault(error.what());
    }
    return false;
  }
  void fault(const std::string& cause) {
    if (fault_was_told.exchange(true)) return;
    process_log.write(LogLevel::error, "main", "agent", "A task log cannot be written: " + cause);
  }

  fs::path new_path() {
    const std::lock_guard lock(mutex);
    if (!ours) ours.emplace(options.directory);
    return ours->path() / std::to_string(++count);
  }
  void know(const std::shared_ptr<Spool>& spool) {
    const std::lock_guard lock(mutex);
    spools[{spool->attempt_directory, spool->file_name}] = spool;
  }

  void adopt_left() {
    bool any = false;
    guarded([&] {
      ProcessDirectory::sweep(options.directory, [&](const fs::path& left) {
        any = true;
        adopt_all(left);
      });
    });
    if (any) wake_before(options.clock());
  }
  /// Takes over the files of a process that is gone. What it was packing is packed anew.
  void adopt_all(const fs::path& left) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(left)) files.push_back(entry.path());
    for (const fs::path& file : files) {
      guarded([&] {
        if (file.extension() == packed_suffix || !adopt(file)) fs::remove(file);
      });
    }
  }
  bool adopt(const fs::path& file) {
    auto spool = std::make_shared<Spool>();
    const std::string head = read_part(file, 0, most_head_bytes);
    const std::size_t first = head.find('\n'), second = first == std::string::npos ? first : head.find('\n', first + 1);
    if (second == std::string::npos) return false;  // it died before it had written anything
    spool->attempt_directory = head.substr(0, first);
    spool->file_name = head.substr(first + 1, second - first - 1);
    spool->head_bytes = second + 1;
    spool->bytes = fs::file_size(file) - spool->head_bytes;
    spool->path = new_path();
    fs::rename(file, spool->path);
    unpublished_bytes += spool->bytes;
    know(spool);
    return true;
  }

  /// With the run's mutex held.
  std::shared_ptr<Spool> begin(const std::shared_ptr<Run>& run) {
    const Instant at = options.clock();
    auto spool = std::make_shared<Spool>();
    spool->path = new_path();
    spool->attempt_directory = run->attempt_directory;
    // Several files may begin within a millisecond.
    const std::int64_t nanoseconds = (at.millis - at.seconds() * 1000) * 1'000'000 + static_cast<std::int64_t>(names++ % 1'000'000);
    spool->file_name = LogFileName{run->task_name, at.seconds(), nanoseconds, options.agent_id}.text();
    spool->run = run;
    spool->due = options.discard ? Instant{Instant::most_millis} : at.plus_millis(run->interval_millis);
    const std::string head = spool->attempt_directory + "\n" + spool->file_name + "\n";
    spool->head_bytes = head.size();
    spool->on_disk = !options.discard;
    if (spool->on_disk) write_head(*spool, head);
    know(spool);
    wake_before(spool->due);
    return spool;
  }

  static void write_head(const Spool& spool, const std::string& head) {
    int error = 0;
    append(spool.path, head, error);
    if (error == 0) return;
    unlink(spool.path.c_str());
    throw io_error(spool.path, error);
  }
  /// Into memory while it is short, else into its file.
  std::size_t store(Spool& spool, std::string_view bytes, int& error) {
    const std::lock_guard lock(spool.content);
    if (!spool.on_disk) {
      if (spool.memory.size() + bytes.size() <= most_bytes_in_memory && memory_bytes + bytes.size() <= most_bytes_of_all_in_memory) {
        spool.memory += bytes;
        memory_bytes += bytes.size();
        return bytes.size();
      }
      if (!guarded([&] { write_head(spool, spool.attempt_directory + "\n" + spool.file_name + "\n" + spool.memory); })) {
        error = EIO;
        return 0;
      }
      drop_memory(spool);
      spool.on_disk = true;
    }
    return append(spool.path, bytes, error);
  }
  /// With its `content` held.
  void drop_memory(Spool& spool) {
    memory_bytes -= spool.memory.size();
    spool.memory = std::string();
  }

  void write(const std::shared_ptr<Run>& run, std::string_view bytes) {
    write_now(run, bytes);
    tell(run->attempt_directory);
  }
  void tell(const std::string& attempt_directory) const {
    if (options.written) options.written(attempt_directory);
  }
  void write_now(const std::shared_ptr<Run>& run, std::string_view bytes) {
    if (options.discard) make_room(bytes.size());
    const std::lock_guard lock(run->mutex);
    write_mark(run);
    const bool fits = unpublished_bytes + bytes.size() <= options.most_bytes;
    if (!fits) run->lost = "log-server.spool-limit (" + std::to_string(options.most_bytes) + " bytes) is reached";
    if (!fits || !run->lost.empty()) return;
    add(run, bytes);
    if (run->current && run->current->bytes >= options.split_bytes) hand_over(run);
  }
  /// To the thread: whoever writes shall not wait until it is packed. With the run's mutex held.
  void hand_over(const std::shared_ptr<Run>& run) {
    const std::shared_ptr<Spool> full = set_aside(*run);
    const std::unique_lock lock(mutex);
    full->due = options.discard ? options.clock().plus_millis(unkept_millis) : options.clock();
    if (options.discard) unkept.emplace(full->unkept_as = ++unkept_count, full);
    wake_before(full->due, lock);
  }
  /// Where nothing is kept, what is written now is worth more than what is over.
  void make_room(std::size_t bytes) {
    while (unpublished_bytes + bytes > options.most_bytes) {
      std::shared_ptr<Spool> oldest;
      {
        const std::lock_guard lock(mutex);
        if (unkept.empty()) return;
        oldest = unkept.begin()->second;
        unkept.erase(unkept.begin());
      }
      publish(oldest);
    }
  }
  /// With the run's mutex held. The run begins another file with its next line.
  static std::shared_ptr<Spool> set_aside(Run& run) {
    std::erase_if(run.before, [](const auto& spool) { return spool->published.load(); });
    run.current->complete = true;
    return run.before.emplace_back(std::exchange(run.current, nullptr));
  }
  /// With the run's mutex held. What does not get onto the disk leaves a cause in `lost`.
  void add(const std::shared_ptr<Run>& run, std::string_view bytes) {
    int error = 0;
    const bool begun = run->current || guarded([&] { run->current = begin(run); });
    const std::size_t written = begun ? store(*run->current, bytes, error) : 0;
    if (written > 0) {
      run->current->bytes += written;
      unpublished_bytes += written;
      run->in_line = bytes[written - 1] != '\n';
    }
    if (begun && error == 0) return;
    run->lost = begun ? std::strerror(error) : "it cannot be written";
    if (begun) fault(io_error(run->current->path, error).message());
  }
  void write_mark(const std::shared_ptr<Run>& run) {
    if (run->lost.empty()) return;
    const std::string cause = std::exchange(run->lost, {});
    add(run, (run->in_line ? "\n" : "") + format_log_time(options.clock(), TimeZone::system(), true) +
                 " [WARN] (main) agent: Some of this log is missing here: " + cause + "\n");
  }

  void end(const std::shared_ptr<Run>& run) {
    std::vector<std::shared_ptr<Spool>> all;
    {
      const std::lock_guard lock(run->mutex);
      write_mark(run);
      if (run->current && options.discard)
        hand_over(run);
      else if (run->current)
        set_aside(*run);
      all = std::exchange(run->before, {});
    }
    if (options.discard) return;
    for (const auto& spool : all) publish(spool);  // waits where the thread is about it
  }

  /// Packs it and gives it to the storage. What fails is tried again.
  void publish(const std::shared_ptr<Spool>& spool) {
    const std::lock_guard publishing(spool->publishing);
    if (!spool->published) try_to_publish(spool);
  }
  /// The same, where nobody has tried it meanwhile.
  void publish_if_due(const std::shared_ptr<Spool>& spool) {
    const std::lock_guard publishing(spool->publishing);
    if (!spool->published && is_due(*spool)) try_to_publish(spool);
  }
  bool is_due(const Spool& spool) {
    const std::lock_guard lock(mutex);
    return spool.due <= options.clock();
  }
  void try_to_publish(const std::shared_ptr<Spool>& spool) {
    const fs::path packed = spool->path.string() + std::string(packed_suffix);
    const bool kept = guarded([&] {
      if (options.discard) return;
      pack(spool->path, spool->head_bytes, packed);
      storage.keep(spool->attempt_directory, spool->file_name, packed);
    });
    if (kept) {
      spool->published = true;
      fault_was_told = false;
      {
        const std::lock_guard content(spool->content);
        if (spool->on_disk) unlink(spool->path.c_str());
        drop_memory(*spool);
      }
      unpublished_bytes -= spool->bytes;
      if (options.published && !options.discard) options.published(spool->attempt_directory, spool->file_name);
      {
        const std::lock_guard lock(mutex);
        spools.erase({spool->attempt_directory, spool->file_name});
        unkept.erase(spool->unkept_as);
      }
      tell(spool->attempt_directory);
      return;
    }
    unlink(packed.c_str());
    const std::unique_lock lock(mutex);
    spool->due = options.clock().plus_millis(spool->retry_millis);
    spool->retry_millis = std::min(2 * spool->retry_millis, longest_interval_millis);
    wake_before(spool->due, lock);
  }

  void forget(const std::string& attempt_directory) {
    std::vector<std::shared_ptr<Spool>> all;
    {
      const std::lock_guard lock(mutex);
      for (auto one = spools.lower_bound({attempt_directory, ""}); one != spools.end() && one->first.first == attempt_directory; ++one)
        if (one->second->complete) all.push_back(one->second);
    }
    for (const auto& spool : all) publish(spool);
  }

  void publish_due() {
    std::vector<std::shared_ptr<Spool>> due;
    {
      const std::lock_guard lock(mutex);
      const Instant at = options.clock();
      for (const auto& [key, spool] : spools)
        if (spool->due <= at) due.push_back(spool);
    }
    for (const auto& spool : due) {
      take_from_run(spool);
      publish_if_due(spool);
    }
  }
  /// The next file stays open for longer.
  static void take_from_run(const std::shared_ptr<Spool>& spool) {
    if (!spool->run) return;
    const std::lock_guard lock(spool->run->mutex);
    if (spool->run->current != spool) return;
    set_aside(*spool->run);
    spool->run->interval_millis = std::min(2 * spool->run->interval_millis, longest_interval_millis);
  }

  void wake_before(Instant due) {
    const std::unique_lock lock(mutex);
    wake_before(due, lock);
  }
  /// With the mutex held. The thread begins with the first file.
  void wake_before(Instant due, const std::unique_lock<std::mutex>&) {
    if (closed || (next_wake && *next_wake <= due)) return;
    next_wake = due;
    if (thread.running())
      wake.notify_all();
    else
      guarded([&] { thread = Thread("task logs", [this] { publish_in_time(); }); });
  }
  void publish_in_time() {
    std::unique_lock lock(mutex);
    while (!closed) {
      next_wake.reset();
      for (const auto& [key, spool] : spools)
        if (!next_wake || spool->due < *next_wake) next_wake = spool->due;
      if (!next_wake) {
        wake.wait(lock);
      } else if (const std::int64_t millis = next_wake->millis - options.clock().millis; millis > 0) {
        wake.wait_for(lock, std::chrono::milliseconds(std::min(millis, longest_sleep_millis)));
      } else {
        lock.unlock();
        publish_due();
        lock.lock();
      }
    }
  }

  std::shared_ptr<Spool> find(const LogAttempt& attempt, std::string_view file_name) const {
    const std::lock_guard lock(mutex);
    const auto found = spools.find({attempt.directory().string(), std::string(file_name)});
    return found == spools.end() ? nullptr : found->second;
  }

  const Options options;
  LogStorage& storage;
  Log& process_log;
  std::atomic<bool> fault_was_told = false;
  std::atomic<std::uint64_t> unpublished_bytes = 0, memory_bytes = 0, names = 0;

  mutable std::mutex mutex;              ///< of all that follows; may be taken while a run's is held, not the other way round
  std::optional<ProcessDirectory> ours;  ///< made with the first file
  std::uint64_t count = 0;               ///< of the files in it
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Spool>> spools;
  std::map<std::uint64_t, std::shared_ptr<Spool>> unkept;  ///< complete ones that no storage takes, by age
  std::uint64_t unkept_count = 0;
  std::optional<Instant> next_wake;  ///< of the thread
  std::condition_variable wake;
  bool closed = false;
  Thread thread;
};

class LogSpool::RunWriter : public LogSpool::Writer {
 public:
  RunWriter(std::shared_ptr<Impl> impl, const LogAttempt& attempt, const std::string& task_name)
      : impl_(std::move(impl)), run_(std::make_shared<Run>()) {
    run_->attempt_directory = attempt.directory();
    run_->task_name = task_name;
  }
  ~RunWriter() override { impl_->end(run_); }
  RunWriter(const RunWriter&) = delete;
  RunWriter& operator=(const RunWriter&) = delete;

  void write(std::string_view bytes) override {
    if (!bytes.empty()) impl_->write(run_, bytes);
  }

 private:
  const std::shared_ptr<Impl> impl_;
  const std::shared_ptr<Run> run_;
};

LogSpool::LogSpool(Options options, LogStorage& storage, Log& log) : impl_(std::make_shared<Impl>(std::move(options), storage, log)) {}
LogSpool::~LogSpool() = default;

std::unique_ptr<LogSpool::Writer> LogSpool::open(const LogAttempt& attempt, const std::string& task_name) {
  return std::make_unique<RunWriter>(impl_, attempt, task_name);
}

std::vector<LogSpool::OpenLog> LogSpool::open_logs(const LogAttempt& attempt, std::string_view prefix) const {
  std::vector<OpenLog> logs;
  const std::string directory = attempt.directory();
  const std::lock_guard lock(impl_->mutex);
  for (auto spool = impl_->spools.lower_bound({directory, std::string(prefix)});
       spool != impl_->spools.end() && spool->first.first == directory && spool->first.second.starts_with(prefix); ++spool)
    logs.push_back({spool->first.second, spool->second->bytes});
  return logs;
}

std::optional<std::string> LogSpool::read_open(const LogAttempt& attempt, std::string_view file_name, std::uint64_t offset,
                                               std::size_t most) const {
  const auto spool = impl_->find(attempt, file_name);
  if (!spool) return std::nullopt;
  // Not under `publishing`: who reads shall not wait until it is packed and the storage has it. It goes under `content`, after that.
  const std::lock_guard content(spool->content);
  if (spool->published) return std::nullopt;
  if (spool->on_disk) return read_part(spool->path, spool->head_bytes + offset, most);
  return spool->memory.substr(std::min<std::size_t>(offset, spool->memory.size()), most);
}

void LogSpool::forget(const LogAttempt& attempt) {
  if (impl_->options.discard) impl_->forget(attempt.directory());
}

void LogSpool::adopt_left() { impl_->adopt_left(); }

void LogSpool::publish_due() { impl_->publish_due(); }

LogSpool::Options log_spool_options(const SystemConfig& system, const fs::path& tmpdir, std::string agent_id) {
  LogSpool::Options options;
  const std::string type = system.get_or("log-server.type", "null");
  const bool local = type == "local";
  options.discard = type == "null";
  options.directory = local ? fs::path(system.get_or("log-server.local.path", "digdag.log")) / ".spool" : tmpdir / "logs";
  options.agent_id = std::move(agent_id);
  if (const std::int64_t split = system.integer_or("log-server.local.split_size", 0); local && split > 0)
    options.split_bytes = std::min(options.split_bytes, static_cast<std::uint64_t>(split));
  options.most_bytes =
      static_cast<std::uint64_t>(std::max<std::int64_t>(0, system.integer_or("log-server.spool-limit", std::int64_t{1} << 30)));
  return options;
}

}  // namespace digdag::store
