#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace digdag {

/// Bytes on their way to a file descriptor, or to a file that is rolled. What goes wrong on the way (reader gone, disk full)
/// is remembered and never thrown: the log must not end what it tells about. Not thread-safe.
class LogOutput {
 public:
  /// To a descriptor that stays open and is not ours. `may_drop`: its reader is not waited for; what comes while the buffer is full is
  /// lost, up to the moment when all that waits has been read.
  explicit LogOutput(int descriptor, bool may_drop = false);
  /// Appends to a file; its directory is made. At 10 MB the file becomes PATH.1.gz, that becomes PATH.2.gz, up to PATH.5.gz.
  /// Several processes may write to the same file. Throws Error(kind "io") where it cannot be opened.
  explicit LogOutput(std::string path);
  ~LogOutput();
  LogOutput(const LogOutput&) = delete;
  LogOutput& operator=(const LogOutput&) = delete;

  using Clock = std::chrono::steady_clock;
  /// How long bytes may wait for others to come.
  static constexpr std::chrono::milliseconds patience{20};

  /// Adds bytes; they are written where enough have come together or the last writing is longer ago than `patience`.
  void append(std::string_view bytes);
  void flush();
  /// The same at the end: a reader is waited for as long as it reads on.
  void finish();
  /// When what waits must be written; only where something waits.
  Clock::time_point due() const { return is_stuck() ? retry_at_ : waiting_since_ + patience; }
  bool waiting() const { return !buffer_.empty(); }
  /// How many bytes were lost because nobody read; 0 until that is over.
  std::size_t take_dropped();

  /// Why bytes were lost, once for each time that writing stopped working; else empty. A reader that went away is no trouble.
  std::string take_trouble();
  /// It was a pipe or a socket; what is appended from then on is discarded.
  bool reader_is_gone() const { return reader_gone_; }
  /// For a signal handler: writes what waits, and changes nothing.
  void rescue() const;

 private:
  void write_all(std::string_view bytes);
  std::size_t write_what_is_read(std::string_view bytes, std::chrono::milliseconds wait);
  void flush_what_is_read(std::chrono::milliseconds wait);
  bool is_stuck() const { return retry_after_.count() > 0; }
  void lose(int error);
  void open();
  void reopen_if_replaced();
  void roll_if_full();
  void roll();

  std::string path_;  ///< empty: not a file of ours
  int descriptor_ = -1;
  const bool may_drop_ = false;
  std::string buffer_;
  Clock::time_point waiting_since_, written_at_;
  Clock::time_point retry_at_;
  std::chrono::milliseconds retry_after_{0};  ///< 0: all was read
  bool dropping_ = false;
  std::size_t dropped_ = 0;
  bool reader_gone_ = false;
  bool losing_ = false;
  std::string trouble_;
};

}  // namespace digdag
