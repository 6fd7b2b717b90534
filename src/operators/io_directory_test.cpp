#include "operators/io_directory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <optional>

#include "base/eventually_for_test.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::operators {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;

class IoAreaTest : public testing::Test {
 protected:
  fs::path tmp() const { return project / ".digdag" / "tmp"; }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(tmp())) found.push_back(entry.path().filename().string());
    return found;
  }
  /// A process that makes a directory with a file in it and ends without another word.
  void leave_files() {
    const pid_t child = fork();
    if (child == 0) {
      IoArea area(project, {});
      std::ofstream(area.make_directory("sh-1") / "runner.sh") << "secret";
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_EQ(status, 0);
  }

  const TemporaryDirectory root;
  const fs::path project = root.path();
};

TEST_F(IoAreaTest, LeavesNothing) {
  {
    IoArea area(project, {});
    std::ofstream(area.make_directory("sh-1") / "runner.sh") << "x";
  }
  EXPECT_FALSE(fs::exists(tmp()));
}

TEST_F(IoAreaTest, MakesNothingBeforeItIsNeeded) {
  const IoArea area(project, {});
  EXPECT_FALSE(fs::exists(project / ".digdag"));
}

TEST_F(IoAreaTest, RemovesWhatAKilledProcessHasLeft) {
  leave_files();
  EXPECT_THAT(names(), SizeIs(2)) << "a directory and a lock";
  const IoArea area(project, {});
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(IoAreaTest, LeavesTheFilesOfLivingAgentsAndOfOthersAlone) {
  IoArea living(project, {});
  const fs::path directory = living.make_directory("sh-1");
  fs::create_directories(tmp() / "digdag-sh-1-1234567890123456789");
  leave_files();
  { const IoArea area(project, {}); }
  EXPECT_TRUE(fs::exists(directory));
  EXPECT_THAT(names(), SizeIs(3)) << "two directories and a lock";
}

TEST_F(IoAreaTest, LeavesTheFilesOfProgramsThatGoOnAlone) {
  std::array<int, 2> gate{};
  ASSERT_EQ(pipe(gate.data()), 0);
  const pid_t agent = fork();
  if (agent == 0) {
    IoArea area(project, {});
    area.make_directory("sh-1");
    close(gate[1]);
    char byte = 0;
    if (fork() == 0 && read(gate[0], &byte, 1) < 0) abort();  // this one has the lock until the gate opens
    _exit(0);
  }
  close(gate[0]);
  waitpid(agent, nullptr, 0);
  { const IoArea area(project, {}); }
  EXPECT_THAT(names(), SizeIs(2));
  close(gate[1]);
  EXPECT_TRUE(eventually([&] {
    { const IoArea area(project, {}); }
    return !fs::exists(tmp());
  }));
}

TEST_F(IoAreaTest, FilesAreRemovedThoughNoFileCanBeOpened) {
  IoArea area(project, {});
  TaskContext task;
  task.io_area = [&]() -> IoArea& { return area; };
  task.workspace = project;
  std::optional<IoDirectory> directory;
  directory.emplace(task, "py");
  directory->write("runner.py", "x");
  const fs::path output = project / directory->relative("output.json");
  std::ofstream(output) << "{}";
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  const rlimit none{3, limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  directory.reset();
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_FALSE(fs::exists(output.parent_path()));
}

TEST_F(IoAreaTest, WorksThoughItsDirectoryIsRemoved) {
  IoArea area(project, {});
  area.make_directory("sh-1");
  fs::remove_all(project / ".digdag");
  EXPECT_TRUE(fs::exists(area.make_directory("sh-2")));
}

}  // namespace
}  // namespace digdag::operators
