#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "store/log_storage.h"

namespace digdag::store {

/// The logs of the tasks that run in this process, until they are complete files of a LogStorage (spec/decisions.md R-30, V-62, V-64).
///
/// What a task writes goes uncompressed into a file of a directory that is ours alone (it is locked; what a process that died has left is
/// published by the next one). It becomes a complete gzip file of the storage at the end of the run, at the split size, or after 10 s
/// with content, then 20, 40 … 600. Until then the live tail reads it here.
///
/// Nothing that goes wrong reaches the task: it is told once in the log of the process, and a line in the task's log says that some is
/// missing. Thread-safe.
class LogSpool {
 public:
  struct Options {
    std::filesystem::path directory;  ///< where spools lie: on the file system of the storage where that is local
    std::string agent_id;             ///< `pid@host`; part of the file names
    std::uint64_t split_bytes = 16 << 20;
    std::uint64_t most_bytes = std::uint64_t{1} << 30;  ///< log-server.spool-limit, of all that is not published
    bool discard = false;  ///< log-server.type null: only the live tail reads them, until `forget`, for a day, or until the room is needed
    /// Called after a task has written something, and after a file was published; by the writer, so it must not block. May be unset.
    std::function<void(const std::string& attempt_directory)> written;
    /// Called when the storage has a file, before `open_logs` leaves it out; must not block. May be unset.
    std::function<void(const std::string& attempt_directory, const std::string& file_name)> published;
    std::function<Instant()> clock = now;
  };
  /// Publishes what dead processes have left there. Never throws for a directory that cannot be written: that is told once, now and not
  /// when the first task has lost its log.
  /// `storage` and `log` must outlive it.
  LogSpool(Options options, LogStorage& storage, Log& log);
  /// All writers must be gone. What the storage does not take stays for the next process.
  ~LogSpool();
  LogSpool(const LogSpool&) = delete;
  LogSpool& operator=(const LogSpool&) = delete;

  /// The log of one run of one task. Its end publishes what it holds. Opens nothing until the first byte.
  class Writer {
   public:
    virtual ~Writer() = default;
    virtual void write(std::string_view bytes) = 0;
  };
  std::unique_ptr<Writer> open(const LogAttempt& attempt, const std::string& task_name);

  /// What is being written now of an attempt: names as the files will have, and how many bytes (uncompressed) there are.
  struct OpenLog {
    std::string file_name;
    std::uint64_t bytes = 0;
  };
  std::vector<OpenLog> open_logs(const LogAttempt& attempt, std::string_view prefix) const;
  /// Up to `most` bytes from `offset`; nothing where the file is not open (any more): then the storage has it, with the same name, and
  /// the same bytes at the same (uncompressed) offset.
  std::optional<std::string> read_open(const LogAttempt& attempt, std::string_view file_name, std::uint64_t offset, std::size_t most) const;

  /// The attempt is over: what no storage takes is dropped.
  void forget(const LogAttempt& attempt);

  /// Publishes what processes that have died since have left in the same directory. Cheap where there is nothing.
  void adopt_left();

  /// Publishes what is due, and tries again what the storage did not take. A thread of ours calls it; tests do.
  void publish_due();

 private:
  struct Spool;
  struct Run;
  struct Impl;
  class RunWriter;
  std::shared_ptr<Impl> impl_;
};

/// The options that `log-server.*` gives (spec/server.md 4.6). `tmpdir`: where spools lie if the logs are not kept on this machine.
LogSpool::Options log_spool_options(const SystemConfig& system, const std::filesystem::path& tmpdir, std::string agent_id);

}  // namespace digdag::store
