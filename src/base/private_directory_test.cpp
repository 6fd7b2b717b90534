#include "base/private_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag {
namespace {

namespace fs = std::filesystem;

TEST(PrivateDirectory, IsForItsOwnerAloneAndGoesWithItsObject) {
  const TemporaryDirectory parent;
  std::optional<PrivateDirectory> kept;
  {
    PrivateDirectory made(parent.path(), "run-");
    EXPECT_THAT(made.path().string(), testing::StartsWith((parent / "run-").string()));
    EXPECT_EQ(fs::status(made.path()).permissions(), fs::perms::owner_all);
    write_new_file(made.path() / "file", "", 0600);
    kept.emplace(std::move(made));
  }
  EXPECT_TRUE(fs::exists(kept->path() / "file"));
  kept.reset();
  EXPECT_TRUE(fs::is_empty(parent.path()));
}

TEST(PrivateDirectory, ThatCannotBeMadeNamesPathAndCause) {
  try {
    const PrivateDirectory made("/nowhere", "run-");
    FAIL() << "it was made";
  } catch (const Error& error) {
    EXPECT_EQ(error.message_with_kind(), "/nowhere: No such file or directory (io)");
  }
}

}  // namespace
}  // namespace digdag
