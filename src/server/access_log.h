#pragma once

#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/properties.h"
#include "base/thread.h"
#include "base/time.h"
#include "server/http_server.h"

namespace digdag::server {

/// How a line of the access log is made (spec/server.md 8): `json`, `json{key:pattern …}`, `common`, `combined`, or a text with
/// `%h %m "%r" %{i,User-Agent} …`.
class AccessLogFormat {
 public:
  /// Error(config) where the pattern is none.
  AccessLogFormat(std::string_view pattern, TimeZone zone);

  std::string line(const Exchange& exchange) const;

 private:
  /// A part of a value; nothing where the exchange has none.
  using Part = std::function<std::optional<std::string>(const Exchange&)>;
  using Parts = std::vector<Part>;

  Parts parts_of(std::string_view pattern) const;
  Part attribute(std::string_view letter) const;
  Part named_attribute(std::string_view text) const;

  TimeZone zone_;
  Parts parts_;
  std::vector<std::pair<std::string, Parts>> json_;  ///< in place of `parts_`
};

/// One line for each finished request in `access.log`, which becomes `access.<yyyy-MM-dd>.log` when its day is over. Lines are written
/// by a thread of their own; where the disk is too slow for them they are dropped and counted. Thread-safe.
class AccessLog {
 public:
  struct Options {
    std::filesystem::path directory;  ///< made where it is missing
    std::string pattern = "json";
    TimeZone zone = TimeZone::system();  ///< of times and of midnight
  };
  /// Error(config) for a wrong pattern, Error(io) where the file cannot be opened. `log` must outlive it.
  AccessLog(Options options, Log& log);
  /// Writes what waits.
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  /// By `server.access-log.*`; nothing where it is off.
  static std::unique_ptr<AccessLog> of(const SystemConfig& config, Log& log);

  void add(Exchange exchange);

 private:
  void write_all();
  void write(const std::vector<Exchange>& exchanges);
  void write(const std::string& lines);
  void open();
  void keep_as(const std::string& day) const;
  void complain(const std::string& about);

  const Options options_;
  const AccessLogFormat format_;
  Log& log_;
  Fd file_;
  std::string day_;  ///< `yyyy-MM-dd` of the lines in the file
  bool writing_fails_ = false;

  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<Exchange> waiting_;
  std::uint64_t dropped_ = 0;
  bool stopping_ = false;
  Thread thread_;
};

}  // namespace digdag::server
