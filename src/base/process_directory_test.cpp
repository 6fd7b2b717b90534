#include "base/process_directory.h"

#include <gmock/gmock.h>

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::filesystem::path> left_in(const std::filesystem::path& parent) {
  std::vector<std::filesystem::path> left;
  ProcessDirectory::sweep(parent, [&](const std::filesystem::path& path) { left.push_back(path); });
  return left;
}

TEST(ProcessDirectory, IsLeftAloneWhileItsOwnerLives) {
  const TemporaryDirectory root;
  const ProcessDirectory ours(root / "a/b");
  EXPECT_TRUE(std::filesystem::is_directory(ours.path()));
  EXPECT_THAT(left_in(root / "a/b"), IsEmpty());
}

TEST(ProcessDirectory, OfADeadProcessIsShownAndRemovedWhenEmpty) {
  const TemporaryDirectory root;
  std::filesystem::create_directories(root / "a/process-0123abcd");
  std::filesystem::create_directories(root / "a/process-00000000");
  std::filesystem::create_directories(root / "a/somebody else's");
  write_new_file(root / "a/process-00000000/file", "", 0600);
  EXPECT_EQ(left_in(root / "a").size(), 2u);
  EXPECT_THAT(left_in(root / "a"), ElementsAre(root / "a/process-00000000"));
  EXPECT_TRUE(std::filesystem::exists(root / "a/somebody else's"));
}

TEST(ProcessDirectory, StaysLockedAsLongAsWhoHoldsItLives) {
  const TemporaryDirectory root;
  Fd held;
  {
    const ProcessDirectory ours(root / "a", [&](int fd) { held.reset(dup(fd)); });
    write_new_file(ours.path() / "file", "", 0600);
  }
  EXPECT_THAT(left_in(root / "a"), IsEmpty());
  held.reset();
  EXPECT_EQ(left_in(root / "a").size(), 1u);
}

TEST(ProcessDirectory, GoesWithItsObjectWhereItIsEmpty) {
  const TemporaryDirectory root;
  { const ProcessDirectory ours(root / "a"); }
  EXPECT_FALSE(std::filesystem::exists(root / "a"));
}

TEST(ProcessDirectory, LeavesAloneWhatIsNotOfItsKind) {
  const TemporaryDirectory root;
  constexpr ProcessDirectory::Kind ours{"digdag-ours-", false};
  std::filesystem::create_directories(root / "process-0123abcd");
  { const ProcessDirectory made(root.path(), {}, ours); }
  ProcessDirectory::sweep(
      root.path(), [](const std::filesystem::path& left) { ADD_FAILURE() << left; }, ours);
  EXPECT_TRUE(std::filesystem::exists(root / "process-0123abcd"));
}

TEST(ProcessDirectory, FollowsNoLinks) {
  const TemporaryDirectory root;
  std::filesystem::create_directories(root / "somebody else's");
  std::filesystem::create_directories(root / "a");
  std::filesystem::create_directory_symlink(root / "somebody else's", root / "a/process-0123abcd");
  EXPECT_THAT(left_in(root / "a"), IsEmpty());
  EXPECT_TRUE(std::filesystem::exists(root / "somebody else's"));
}

TEST(ProcessDirectory, OfAnotherUserIsLeftAlone) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  const TemporaryDirectory root;
  std::filesystem::create_directories(root / "process-0123abcd");
  ASSERT_EQ(chown((root / "process-0123abcd").c_str(), 12345, 12345), 0);
  EXPECT_THAT(left_in(root.path()), IsEmpty());
}

TEST(ProcessDirectory, NamesWhatIsInTheWay) {
  const TemporaryDirectory root;
  write_new_file(root / "a", "", 0600);
  try {
    const ProcessDirectory ours(root / "a");
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::StartsWith("Cannot create directory " + (root / "a").string() + ": "));
  }
}

}  // namespace
}  // namespace digdag
