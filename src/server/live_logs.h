#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "server/http.h"
#include "store/log_spool.h"
#include "store/log_storage.h"

namespace digdag::server {

/// Hands logs on to whoever reads them over HTTP: those of an attempt as they grow (spec/decisions.md R-30), and large files.
///
/// One thread of its own reads for all; a reader that is slower than the network buffer is read for only when that is empty. Thread-safe.
class LiveLogs {
 public:
  /// Whose logs are read, and which.
  struct Wanted {
    std::int64_t attempt_id = 0;
    store::LogAttempt attempt;
    std::string prefix;  ///< only tasks whose full name begins so; empty: all
  };
  /// Whether nothing more will be logged of it; asked now and then, on the thread.
  using IsOver = std::function<bool(const Wanted&)>;
  /// All must outlive it.
  LiveLogs(const store::LogStorage& storage, store::LogSpool& spool, IsOver is_over, Log& log);
  ~LiveLogs();
  LiveLogs(const LiveLogs&) = delete;
  LiveLogs& operator=(const LiveLogs&) = delete;

  /// Lines of JSON, until nothing more will be logged: pieces of log files (`{"file", "task", "from", "bytes", "text"}`: `from` and
  /// `bytes` count bytes of the unpacked file, in which `text` may have been invalid UTF-8), and `{"state": …}`: `live` once what was there
  /// has been sent, `waiting` now and then where nothing happens, `done` at the end.
  void follow(Wanted wanted, std::shared_ptr<BodyStream> stream);
  /// A file of the storage as it is, which has been there a moment ago.
  void send(const store::LogAttempt& attempt, std::string file_name, std::shared_ptr<BodyStream> stream);

  /// Something was written into a log of an attempt (LogSpool::Options::written).
  void written(const std::string& attempt_directory);
  /// A file of an attempt has come into the storage (LogSpool::Options::published).
  void published(const std::string& attempt_directory, const std::string& file_name);
  /// The attempt has ended. What no storage keeps is gone soon: the logs of the last attempts, where they are short, are still there for
  /// who begins to read just after the end (`start --follow`).
  void ended(const store::LogAttempt& attempt);
  /// Cuts all readers off.
  void close();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace digdag::server
