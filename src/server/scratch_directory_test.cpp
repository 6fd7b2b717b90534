#include "server/scratch_directory.h"

#include <gtest/gtest.h>

#include "base/temporary_directory_for_test.h"

namespace digdag::server {
namespace {

namespace fs = std::filesystem;

class ScratchDirectoryTest : public testing::Test {
 protected:
  ScratchDirectoryTest() { config_.set("tmpdir", (root_ / "tmp").string()); }

  const TemporaryDirectory root_;
  const fs::path uploads_ = root_ / "tmp/uploads";
  SystemConfig config_;
  Log log_{{.file = root_ / "log"}};
};

TEST_F(ScratchDirectoryTest, WhatAKilledServerWasUnpackingInAConfiguredDirectoryIsRemoved) {
  fs::create_directories(uploads_ / "process-0123abcd/upload-x/a");
  fs::create_directories(root_ / "tmp/of others/process-0123abcd");
  { const ScratchDirectory scratch(config_, log_); }
  EXPECT_FALSE(fs::exists(uploads_));
  EXPECT_TRUE(fs::exists(root_ / "tmp/of others/process-0123abcd"));
}

TEST_F(ScratchDirectoryTest, WhatALivingServerUnpacksThereStays) {
  const ScratchDirectory living(config_, log_);
  fs::create_directories(living.uploads() / "upload-x");
  { const ScratchDirectory other(config_, log_); }
  EXPECT_TRUE(fs::exists(living.uploads() / "upload-x"));
}

TEST_F(ScratchDirectoryTest, NothingStaysOfAServerThatEnds) {
  for (const std::string& tmpdir : {(root_ / "tmp").string(), std::string()}) {
    config_.set("tmpdir", tmpdir);
    fs::path uploads;
    {
      const ScratchDirectory scratch(config_, log_);
      uploads = scratch.uploads();
      fs::create_directories(uploads / "upload-x");
    }
    EXPECT_FALSE(fs::exists(uploads));
  }
}

}  // namespace
}  // namespace digdag::server
