#include "store/log_storage.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

LogAttempt calc() {
  return {.site_id = 0,
          .project_id = 1,
          .workflow_name = "calc",
          .session_time = *parse_instant("2026-03-04T05:00:00Z"),
          .timezone = *TimeZone::of("America/New_York"),
          .retry_attempt_name = "again-4",
          .created_at = *parse_instant("2026-11-20T23:59:59Z")};
}

class LocalLogs : public testing::Test {
 protected:
  void keep(const std::string& name, const std::string& content = "") {
    write_new_file(root / "new", content, 0600);
    storage->keep(attempt.directory(), name, root / "new");
  }
  std::vector<std::string> names(const std::string& prefix = "") {
    std::vector<std::string> found;
    for (const LogFile& file : storage->list(attempt, prefix)) found.push_back(file.file_name);
    return found;
  }
  std::optional<std::string> content(const std::string& name) {
    std::string whole;
    std::uint64_t told = 0;
    const bool there = storage->read(
        attempt, name, [&](std::uint64_t size) { told = size; },
        [&](std::string_view piece) {
          whole += piece;
          return true;
        });
    EXPECT_EQ(told, whole.size());
    return there ? std::optional(whole) : std::nullopt;
  }

  const TemporaryDirectory root;
  std::unique_ptr<LogStorage> storage = local_log_storage(root / "logs");
  LogAttempt attempt = calc();
  const std::string shell = "+calc+shell@6b00e38f17e25cec.27937@vm.log.gz";
};

// server 23.64, 23.65
TEST(LogAttempt, NamesItsDirectoryAsTheOriginal) {
  EXPECT_EQ(calc().directory(), "2026-11-20/0.1calc@20260304T000000-0500_again-4");
  LogAttempt utc = calc();
  utc.timezone = TimeZone();
  utc.retry_attempt_name.reset();
  EXPECT_EQ(utc.directory(), "2026-11-20/0.1calc@20260304T050000+0000");
}

TEST(LogAttempt, NoNameLeadsElsewhereOrIsTooLong) {
  LogAttempt hostile = calc();
  hostile.workflow_name = std::string(255, 'w');
  hostile.retry_attempt_name = "../../" + std::string(255, 'r') + "\n";
  const fs::path directory = hostile.directory();
  EXPECT_EQ(std::distance(directory.begin(), directory.end()), 2);
  EXPECT_LE(directory.filename().string().size(), 255u);
  EXPECT_THAT(directory.filename().string(), testing::HasSubstr("_..%2F..%2Frrr"));
  LogAttempt other = hostile;
  other.retry_attempt_name = *hostile.retry_attempt_name + "x";
  EXPECT_NE(other.directory(), directory);
}

// server 23.64
TEST(LogFileName, IsReadAsItIsWritten) {
  const LogFileName name{"+calc+shell", 0x6b00e38f, 0x17e25cec, "27937@vm"};
  EXPECT_EQ(name.text(), "+calc+shell@6b00e38f17e25cec.27937@vm.log.gz");
  const auto read = LogFileName::parse(name.text());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->task_name, "+calc+shell");
  EXPECT_EQ(read->seconds, 0x6b00e38f);
  EXPECT_EQ(read->nanoseconds, 0x17e25cec);
  EXPECT_EQ(read->agent_id, "27937@vm");
  const LogFileName odd{"+w+a/b%2Gc", 1, 2, "agent/1"};
  EXPECT_EQ(odd.text(), "+w+a%2Fb%2Gc@0000000100000002.agent%2F1.log.gz");
  EXPECT_EQ(LogFileName::parse(odd.text())->task_name, "+w+a/b%2Gc");
  EXPECT_EQ(LogFileName::parse(odd.text())->agent_id, "agent/1");
  EXPECT_EQ((LogFileName{std::string(1000, 'x'), 1, 2, "a"}).text().size(), 255u);
}

TEST(LogFileName, OfAnotherFormIsNone) {
  for (const char* text : {"", "+a", "+a@0000000100000002.log.gz", "+a@000000010000000G.x.log.gz", "+a@0000000100000002.x.log",
                           "+a@0000000100000002xx.log.gz", "+a.0000000100000002.x.log.gz", "+a@.x.log.gz"})
    EXPECT_FALSE(LogFileName::parse(text)) << text;
}

// rest-api 18.91
TEST_F(LocalLogs, AreListedByNameWithThoseOfOneTask) {
  EXPECT_THAT(names(), IsEmpty());
  keep("+calc+b@0000000200000000.a.log.gz");
  keep("+calc+b@0000000100000000.a.log.gz", "12345");
  keep("+calc+bc@0000000100000000.a.log.gz");
  keep("+calc+a@0000000100000000.a.log.gz");
  EXPECT_THAT(names(), ElementsAre("+calc+a@0000000100000000.a.log.gz", "+calc+b@0000000100000000.a.log.gz",
                                   "+calc+b@0000000200000000.a.log.gz", "+calc+bc@0000000100000000.a.log.gz"));
  EXPECT_THAT(names("+calc+bc"), ElementsAre("+calc+bc@0000000100000000.a.log.gz"));
  EXPECT_EQ(names("+calc+b").size(), 3u);
  EXPECT_EQ(storage->list(attempt, "+calc+b@00000001")[0].bytes, 5u);
}

TEST_F(LocalLogs, WhatIsNoLogIsNotListed) {
  keep(shell);
  const fs::path folder = root / "logs" / attempt.directory();
  write_new_file(folder / "notes.log.gz", "", 0600);
  write_new_file(folder / (".+calc+a@0000000100000000.a.log.gz"), "", 0600);
  fs::create_directory(folder / "+calc+a@0000000100000000.a.log.gz");
  fs::create_symlink(folder / shell, folder / "+calc+b@0000000100000000.a.log.gz");
  EXPECT_THAT(names(), ElementsAre(shell));
}

// rest-api 18.92
TEST_F(LocalLogs, AreReadByNameAndNothingElse) {
  keep(shell, std::string(200'000, 'x'));
  write_new_file(root / "logs/secret", "", 0600);
  fs::create_symlink("/etc/passwd", root / "logs" / attempt.directory() / "link.log.gz");
  EXPECT_EQ(content(shell), std::string(200'000, 'x'));
  EXPECT_FALSE(content("x.log.gz"));
  EXPECT_FALSE(content("link.log.gz"));
  EXPECT_FALSE(content(".hidden"));
  for (const char* name : {"../../secret", "..", ".", "", "a/b", "/etc/passwd"}) {
    try {
      content(name);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.message_with_kind(), "Invalid file name: " + std::string(name) + " (illegal argument)");
    }
  }
}

TEST_F(LocalLogs, AnAttemptDirectoryThatIsALinkIsNotEntered) {
  keep(shell);
  fs::rename(root / "logs" / attempt.directory(), root / "elsewhere");
  fs::create_symlink(root / "elsewhere", root / "logs" / attempt.directory());
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_FALSE(content(shell));
}

// server 23.63
TEST(LogStorage, NullKeepsNothing) {
  const TemporaryDirectory root;
  const auto storage = open_log_storage(SystemConfig());
  write_new_file(root / "new", "", 0600);
  storage->keep(calc().directory(), "x", root / "new");
  EXPECT_FALSE(fs::exists(root / "new"));
  EXPECT_THAT(storage->list(calc(), ""), IsEmpty());
}

TEST(LogStorage, AnUnknownTypeIsAnError) {
  SystemConfig system;
  system.set("log-server.type", "tape");
  EXPECT_THROW(open_log_storage(system), Error);
}

}  // namespace
}  // namespace digdag::store
