#include "base/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"

namespace digdag {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class FileTest : public testing::Test {
 protected:
  FileTest() {
    std::string name = (fs::temp_directory_path() / "digdag-file-test-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
  }
  ~FileTest() override { fs::remove_all(directory_); }

  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(directory_)) found.push_back(entry.path().filename().string());
    return found;
  }
  template <typename Action>
  static Error error_of(Action action) {
    try {
      action();
    } catch (const Error& error) {
      return error;
    }
    return task_error("(no error)");
  }

  fs::path directory_;
};

TEST_F(FileTest, ReadsBackWhatWasWritten) {
  const std::string content("line\n\0\xFF", 7);
  write_file_atomically(directory_ / "a", content);
  EXPECT_EQ(read_file(directory_ / "a"), content);
  write_file_atomically(directory_ / "a", "");
  EXPECT_EQ(read_file(directory_ / "a"), "");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(FileTest, WhatSomebodyElseLeftMustBeAFile) {
  const std::string pipe = "/tmp/digdag-file-test-" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  try {
    read_regular_file(pipe);
    ADD_FAILURE() << "a pipe is no file";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), pipe + ": is no regular file");
  }
  ::unlink(pipe.c_str());
  EXPECT_THROW(read_regular_file("/dev/zero"), Error);
}

TEST_F(FileTest, ReadsFilesThatHaveNoSize) { EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Name:")); }

TEST_F(FileTest, WritesANameOfTheLongestLength) {
  const std::string name(255, 'n');
  write_file_atomically(directory_ / name, "x");
  EXPECT_THAT(names(), ElementsAre(name));
}

TEST_F(FileTest, WritesWithTheModeThatIsAskedFor) {
  write_file_atomically(directory_ / "secret", "x", 0600);
  struct stat status {};
  ASSERT_EQ(::stat((directory_ / "secret").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(FileTest, WritesRelativeToTheCurrentDirectory) {
  const fs::path before = fs::current_path();
  fs::current_path(directory_);
  write_file_atomically("here", "x");
  fs::current_path(before);
  EXPECT_EQ(read_file(directory_ / "here"), "x");
}

TEST_F(FileTest, AMissingFileIsNamed) {
  EXPECT_EQ(error_of([&] { read_file("no/such.yml"); }).message_with_kind(), "no/such.yml (no such file)");
}

TEST_F(FileTest, OtherReadErrorsNamePathAndCause) {
  EXPECT_EQ(error_of([&] { read_file(directory_); }).message_with_kind(), directory_.string() + ": Is a directory (io)");
  write_file_atomically(directory_ / "a", "12345");
  EXPECT_EQ(error_of([&] { read_file(directory_ / "a", 4); }).message(), (directory_ / "a").string() + ": larger than 4 bytes");
  EXPECT_EQ(read_file(directory_ / "a", 5), "12345");
}

TEST_F(FileTest, WriteErrorsNamePathAndCauseAndLeaveNothingBehind) {
  const fs::path missing = directory_ / "none" / "a";
  EXPECT_EQ(error_of([&] { write_file_atomically(missing, "x"); }).message_with_kind(),
            missing.string() + ": No such file or directory (io)");
  fs::create_directory(directory_ / "taken");
  EXPECT_EQ(error_of([&] { write_file_atomically(directory_ / "taken", "x"); }).message(),
            (directory_ / "taken").string() + ": Is a directory");
  EXPECT_THAT(names(), ElementsAre("taken"));
}

TEST_F(FileTest, AWriteThatDoesNotFitKeepsTheOldContent) {
  write_file_atomically(directory_ / "a", "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Error error = error_of([&] { write_file_atomically(directory_ / "a", std::string(5000, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_DFL);
  EXPECT_EQ(error.message(), (directory_ / "a").string() + ": File too large");
  EXPECT_EQ(read_file(directory_ / "a"), "old");
  EXPECT_THAT(names(), ElementsAre("a"));
}

TEST_F(FileTest, KnowsWhatIsInsideOfADirectory) {
  fs::create_directories(directory_ / "root" / "sub");
  fs::create_directories(directory_ / "rootling");
  const fs::path root = directory_ / "root";
  EXPECT_TRUE(is_inside(root, root));
  EXPECT_TRUE(is_inside(root / "sub" / "not" / "there", root));
  EXPECT_TRUE(is_inside(root / "sub" / ".." / "x", root));
  EXPECT_TRUE(is_inside(root, root / "sub" / ".."));
  EXPECT_TRUE(is_inside(root / "x", fs::path(root.string() + "/")));
  EXPECT_TRUE(is_inside("/etc", "/"));
  EXPECT_FALSE(is_inside(directory_ / "rootling", root));
  EXPECT_FALSE(is_inside(root / ".." / "rootling", root));
  EXPECT_FALSE(is_inside(root / "missing" / ".." / ".." / "x", root));
  EXPECT_FALSE(is_inside(directory_, root));
}

TEST_F(FileTest, FollowsLinksToKnowWhatIsInside) {
  fs::create_directories(directory_ / "root" / "sub");
  const fs::path root = directory_ / "root";
  fs::create_directory_symlink("sub", root / "inner");
  fs::create_directory_symlink("..", root / "outer");
  fs::create_symlink(directory_ / "nowhere", root / "dangling");
  fs::create_symlink("loop", root / "loop");
  fs::create_directory_symlink(root, directory_ / "alias");
  EXPECT_TRUE(is_inside(root / "inner" / "x", root));
  EXPECT_TRUE(is_inside(directory_ / "alias" / "x", root));
  EXPECT_TRUE(is_inside(root / "x", directory_ / "alias"));
  EXPECT_FALSE(is_inside(root / "outer" / "x", root));
  EXPECT_FALSE(is_inside(root / "dangling", root));
  EXPECT_FALSE(is_inside(root / "loop" / "x", root));
}

}  // namespace
}  // namespace digdag
