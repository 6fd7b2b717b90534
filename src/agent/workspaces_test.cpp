#include "agent/workspaces.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"
#include "store/crypto.h"
#include "store/project_archive.h"

namespace digdag::agent {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::MatchesRegex;

/// Archives in memory.
class Archives : public ArchiveSource {
 public:
  std::optional<Archive> fetch(std::int64_t revision_id) override {
    ++fetched;
    const auto found = archives.find(revision_id);
    return found == archives.end() ? std::nullopt : std::optional(found->second);
  }
  std::map<std::int64_t, Archive> archives;
  std::atomic<int> fetched = 0;
};

class WorkspacesTest : public testing::Test {
 protected:
  /// Revision 1 of the project that the test has written.
  void push(std::int64_t revision = 1) {
    Archives::Archive archive;
    store::write_archive(project, store::project_entries(project, false), [&](std::string_view piece) { archive.bytes += piece; });
    archive.md5 = store::md5(archive.bytes);
    archives.archives[revision] = archive;
  }
  void write(const std::string& name, const std::string& content, unsigned mode = 0644) {
    fs::create_directories((project / name).parent_path());
    write_new_file(project / name, content, mode);
  }
  void begin(std::uint64_t cache_bytes = 1 << 20) {
    workspaces = std::make_unique<RevisionWorkspaces>(
        RevisionWorkspaces::Options{.tmpdir = root / "tmp", .cache_bytes = cache_bytes, .hold = {}}, archives);
  }
  std::unique_ptr<Workspace> workspace(std::optional<std::int64_t> revision = 1) {
    if (!workspaces) begin();
    task.revision_id = revision;
    return workspaces->workspace_for(task);
  }
  std::string fault() {
    try {
      workspace()->directory();
    } catch (const Error& error) {
      return error.message_with_kind();
    }
    return "";
  }
  std::vector<std::string> names_in(const fs::path& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename());
    return names;
  }

  WorkspacesTest() {
    task.project_id = 3;
    task.workflow_name = "daily/x";
    task.attempt_id = 5;
    task.task_id = 7;
    task.revision = "r1";
    fs::create_directory(project);
  }

  const TemporaryDirectory root;
  const fs::path project = root / "project";
  Archives archives;
  operators::TaskIdentity task;
  std::unique_ptr<RevisionWorkspaces> workspaces;
};

// execution 32.85, 32.86
TEST_F(WorkspacesTest, EachRunGetsTheFilesOfItsRevisionAnewAndLeavesNothing) {
  write("main.dig", "+a:\n");
  write("bin/run", "#!/bin/sh\n", 0755);
  fs::create_symlink("../main.dig", project / "bin/link");
  fs::create_hard_link(project / "main.dig", project / "other");
  push();
  fs::path first;
  {
    const auto run = workspace();
    first = run->directory();
    EXPECT_THAT(first.string(), MatchesRegex((root / "tmp/workspace/process-").string() + "[0-9a-f]*/3_daily_x_5_7_......"));
    EXPECT_EQ(std::system(("diff -r --no-dereference '" + project.string() + "' '" + first.string() + "'").c_str()), 0);
    struct stat status {};
    stat((first / "bin/run").c_str(), &status);
    EXPECT_EQ(status.st_mode & 0777, 0755u);
    write_file_atomically(first / "made", "by the task");
    std::ofstream(first / "main.dig") << "changed";
    const auto other = workspace();
    EXPECT_EQ(read_file(other->directory() / "main.dig"), "+a:\n");
    EXPECT_FALSE(fs::exists(other->directory() / "made"));
  }
  EXPECT_FALSE(fs::exists(first));
  EXPECT_EQ(archives.fetched, 1);
  workspaces.reset();
  EXPECT_FALSE(fs::exists(root / "tmp/workspace"));
}

TEST_F(WorkspacesTest, NothingIsMadeBeforeItIsAskedFor) {
  { const auto run = workspace(); }
  EXPECT_EQ(archives.fetched, 0);
}

TEST_F(WorkspacesTest, ScratchFilesLieBelowTheWorkspace) {
  push();
  const auto run = workspace();
  const fs::path scratch = run->io_area().make_directory("sh");
  EXPECT_EQ(scratch.parent_path(), run->directory() / ".digdag/tmp");
}

TEST_F(WorkspacesTest, WithoutARevisionIsEmpty) { EXPECT_TRUE(fs::is_empty(workspace(std::nullopt)->directory())); }

TEST_F(WorkspacesTest, AFolderThatTheTaskMadeReadOnlyIsRemoved) {
  push();
  fs::path made;
  {
    const auto run = workspace();
    made = run->directory();
    fs::create_directories(made / "a/b");
    fs::permissions(made / "a", fs::perms::owner_read | fs::perms::owner_exec);
  }
  EXPECT_FALSE(fs::exists(made));
}

TEST_F(WorkspacesTest, WhatADeadProcessHasLeftIsRemovedAtTheStart) {
  fs::create_directories(root / "tmp/workspace/process-0123abcd/1_w_1_1_abc/a");
  begin();
  EXPECT_FALSE(fs::exists(root / "tmp/workspace/process-0123abcd"));
}

// decisions V-55
TEST_F(WorkspacesTest, AnArchiveThatIsMissingOrDamagedIsTheReasonOfTheFailure) {
  EXPECT_EQ(fault(), "Archive data for project id=3 revision='r1' is not found in database (illegal state)");
  archives.archives[1] = {.bytes = "this is no archive", .md5 = {}};
  EXPECT_EQ(fault(), "Archive data for project id=3 revision='r1' cannot be unpacked: Input is not in the .gz format (illegal argument)");
  archives.archives[1].md5 = std::string(16, 'x');
  EXPECT_EQ(fault(),
            "Archive data for project id=3 revision='r1' is damaged: its MD5 is not the one that was stored with it (illegal state)");
  archives.archives.clear();
  push();
  EXPECT_EQ(fault(), "") << "a failure is not remembered";
  EXPECT_EQ(names_in(root / "tmp/workspace").size(), 1u);
}

TEST_F(WorkspacesTest, ARevisionThatCouldNotBeUnpackedIsUnpackedOnceWhenItCan) {
  EXPECT_NE(fault(), "");
  push();
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(fault(), "");
  EXPECT_EQ(archives.fetched, 2);
}

TEST_F(WorkspacesTest, RevisionsThatWereNotUsedForLongAreForgotten) {
  write("a", std::string(400, 'x'));
  for (const std::int64_t revision : {1, 2, 3}) push(revision);
  begin(1000);
  const auto use = [&](std::int64_t revision) { return workspace(revision)->directory(); };
  use(1);
  use(2);
  use(1);
  use(3);  // forgets 2
  use(1);
  EXPECT_EQ(archives.fetched, 3);
  use(2);
  EXPECT_EQ(archives.fetched, 4);
  const fs::path ours = root / "tmp/workspace" / names_in(root / "tmp/workspace").front();
  EXPECT_EQ(names_in(ours).size(), 2u) << "the files of what was forgotten stayed";
}

TEST_F(WorkspacesTest, RunsThatBeginTogetherUnpackOnce) {
  write("a", "text");
  push();
  begin();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      operators::TaskIdentity own = task;
      own.revision_id = 1;
      for (int k = 0; k < 10; ++k) good += read_file(workspaces->workspace_for(own)->directory() / "a") == "text";
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
  EXPECT_EQ(archives.fetched, 1);
}

}  // namespace
}  // namespace digdag::agent
