#include "schedule/project_watcher.h"

#include <gmock/gmock.h>

#include <atomic>
#include <fstream>

#include "base/error.h"
#include "base/eventually_for_test.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::schedule {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Watched : public testing::Test {
 protected:
  Watched() { write("w.dig", "+a:\n  echo>: 1\n"); }

  void write(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(project_ / name).parent_path());
    std::ofstream(project_ / name) << text;
  }
  ProjectWatcher& watcher() {
    if (!watcher_) {
      watcher_ = std::make_unique<ProjectWatcher>(
          project_.path(), dig::load_project(project_.path()),
          [this](const dig::Project& project) {
            if (refuse_) throw Error("database", "the database is away");
            revisions_ += "+" + std::to_string(project.files.size());
            ++added_;
            return std::to_string(added_ + 1);
          },
          *log_);
    }
    return *watcher_;
  }
  std::string logged() {
    log_->flush();
    std::ifstream file(log_directory_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryDirectory project_, log_directory_;
  std::unique_ptr<Log> log_ = std::make_unique<Log>(Log::Options{.file = log_directory_ / "log"});
  std::string revisions_;  ///< `+files` of each
  std::atomic<int> added_ = 0;
  bool refuse_ = false;
  std::unique_ptr<ProjectWatcher> watcher_;
};

// scheduling 14.59
TEST_F(Watched, AddsARevisionWhereTheDefinitionsAreOthers) {
  EXPECT_FALSE(watcher().reload());
  write("w.dig", "+a:\n  echo>: 2\n");
  EXPECT_TRUE(watcher().reload());
  EXPECT_THAT(logged(), HasSubstr("Added new revision 2"));
  EXPECT_FALSE(watcher().reload());
  write("script.sh", "echo 1");
  write("w.dig", "# a comment\n+a:\n  echo>: 2\n");
  EXPECT_FALSE(watcher().reload()) << "no definition is another one";
  write("w.dig", "timezone: Asia/Tokyo\n+a:\n  echo>: 2\n");
  EXPECT_TRUE(watcher().reload());
  write("x.dig", "+a:\n  echo>: 2\n");
  EXPECT_TRUE(watcher().reload());
  EXPECT_EQ(revisions_, "+1+1+2");
}

TEST_F(Watched, CountsTheOrderOfTasks) {
  write("w.dig", "+a:\n  echo>: 1\n+b:\n  echo>: 1\n");
  watcher();
  write("w.dig", "+b:\n  echo>: 1\n+a:\n  echo>: 1\n");
  EXPECT_TRUE(watcher().reload());
}

// scheduling 14.60
TEST_F(Watched, KeepsTheOldRevisionWhileAFileIsBroken) {
  watcher();
  write("w.dig", "+a:\n  echo>: [1\n");
  EXPECT_FALSE(watcher().reload());
  EXPECT_FALSE(watcher().reload());
  const std::string log = logged();
  EXPECT_THAT(log, HasSubstr("Failed to reload"));
  EXPECT_EQ(log.find("Failed to reload"), log.rfind("Failed to reload")) << "said once";
  EXPECT_THAT(log, HasSubstr("w.dig:"));
  write("w.dig", "+a:\n  echo>: 3\n");
  EXPECT_TRUE(watcher().reload());
}

TEST_F(Watched, TriesAgainWhereARevisionCannotBeStored) {
  write("w.dig", "+a:\n  echo>: 1\n");
  watcher();
  write("w.dig", "+a:\n  echo>: 2\n");
  refuse_ = true;
  EXPECT_FALSE(watcher().reload());
  EXPECT_THAT(logged(), HasSubstr("the database is away"));
  refuse_ = false;
  EXPECT_TRUE(watcher().reload());
}

TEST_F(Watched, SeesChangesByItselfAlsoInNewDirectories) {
  watcher().start();
  write("w.dig", "+a:\n  echo>: 2\n");
  EXPECT_TRUE(eventually([&] { return added_ == 1; }));
  write("sub/part.yml", "+a:\n  echo>: 3\n");
  write("w.dig", "+sub:\n  !include : sub/part.yml\n");
  EXPECT_TRUE(eventually([&] { return added_ == 2; }));
  write("sub/part.yml", "+a:\n  echo>: 4\n");
  EXPECT_TRUE(eventually([&] { return added_ == 3; }));
  watcher().stop();
}

}  // namespace
}  // namespace digdag::schedule
