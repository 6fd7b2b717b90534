#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <utility>

namespace digdag {

/// For tests: a fifo at which a test and the programs that it starts wait for each other, whatever time they take.
class Gate {
 public:
  explicit Gate(std::filesystem::path path) : path_(std::move(path)) {
    EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0) << path_;
    file_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);  // also for writing: a program that comes first does not wait for us
    EXPECT_GE(file_, 0) << path_;
  }
  ~Gate() { ::close(file_); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;

  /// A step of a shell script that waits until it is let through.
  std::string pass() const { return "read gate < " + path_.string(); }
  void let_through(int count = 1) {
    const std::string lines(static_cast<std::size_t>(count), '\n');
    EXPECT_EQ(::write(file_, lines.data(), lines.size()), count);
  }

  /// A step of a shell script that says that it has come here.
  std::string arrive() const { return "echo > " + path_.string(); }
  /// Waits until that many more have come; fails where they do not come at all.
  void await(int count = 1) {
    for (char line; count > 0; --count) {
      pollfd ready{file_, POLLIN, 0};
      ASSERT_EQ(::poll(&ready, 1, 60'000), 1) << "nobody came to " << path_;
      ASSERT_EQ(::read(file_, &line, 1), 1);
    }
  }

 private:
  std::filesystem::path path_;
  int file_;
};

}  // namespace digdag
