#include "store/log_spool.h"

#include <gmock/gmock.h>
#include <zlib.h>

#include <atomic>
#include <fstream>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::store {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string unpacked(const fs::path& file) {
  gzFile const packed = gzopen(file.c_str(), "rb");
  std::string text;
  char bytes[1000];
  for (int got = 0; (got = gzread(packed, bytes, sizeof bytes)) > 0;) text.append(bytes, static_cast<std::size_t>(got));
  int code = Z_OK;
  gzerror(packed, &code);
  EXPECT_EQ(code, Z_OK);
  EXPECT_EQ(gzclose(packed), Z_OK) << "no complete gzip member";
  return text;
}

/// A storage that can be away.
class Storage : public LogStorage {
 public:
  explicit Storage(const fs::path& directory) : below_(local_log_storage(directory)) {}
  std::vector<LogFile> list(const LogAttempt& attempt, std::string_view prefix) const override { return below_->list(attempt, prefix); }
  bool read(const LogAttempt& attempt, std::string_view name, const std::function<void(std::uint64_t)>& size,
            const std::function<bool(std::string_view)>& piece, std::uint64_t offset) const override {
    return below_->read(attempt, name, size, piece, offset);
  }
  void keep(const fs::path& directory, const std::string& name, const fs::path& file) override {
    if (away) throw Error("io", "the storage is away");
    below_->keep(directory, name, file);
  }
  std::atomic<bool> away = false;

 private:
  std::unique_ptr<LogStorage> below_;
};

class LogSpoolTest : public testing::Test {
 protected:
  LogSpoolTest() {
    options.directory = root / "logs/.spool";
    options.agent_id = "7@vm";
    options.clock = [this] { return Instant{at}; };
    Log::Options to_file;
    to_file.file = root / "process.log";
    log = std::make_unique<Log>(to_file);
    attempt.project_id = 1;
    attempt.workflow_name = "w";
    begin();
  }
  void begin() { spool = std::make_unique<LogSpool>(options, storage, *log); }
  void later(std::int64_t seconds) {
    at += seconds * 1000;
    spool->publish_due();
  }
  /// The texts of the complete files of a task.
  std::vector<std::string> published(const std::string& task = "+w+a") {
    std::vector<std::string> texts;
    for (const LogFile& file : storage.list(attempt, task)) texts.push_back(unpacked(root / "logs" / attempt.directory() / file.file_name));
    return texts;
  }
  std::string process_log() {
    log->flush();
    return read_file(root / "process.log");
  }

  const TemporaryDirectory root;
  std::atomic<std::int64_t> at = 0x6b00e38f * std::int64_t{1000};
  LogSpool::Options options;
  Storage storage{root / "logs"};
  std::unique_ptr<Log> log;
  LogAttempt attempt;
  std::unique_ptr<LogSpool> spool;
};

// server 23.67, decisions R-30
TEST_F(LogSpoolTest, PublishesALogWhenItsRunEnds) {
  auto writer = spool->open(attempt, "+w+a");
  writer->write("one\n");
  writer->write("two\n");
  EXPECT_THAT(published(), IsEmpty());
  writer.reset();
  EXPECT_THAT(published(), ElementsAre("one\ntwo\n"));
  EXPECT_EQ(storage.list(attempt, "")[0].file_name.substr(0, 14), "+w+a@6b00e38f0");
  EXPECT_EQ(storage.list(attempt, "")[0].parsed.agent_id, "7@vm");
}

TEST_F(LogSpoolTest, MakesNoFileForARunThatSaysNothing) {
  spool->open(attempt, "+w+a");
  spool.reset();
  EXPECT_TRUE(fs::is_empty(root / "logs"));
}

TEST_F(LogSpoolTest, LeavesNothingElseBehind) {
  spool->open(attempt, "+w+a")->write("x");
  spool.reset();
  EXPECT_FALSE(fs::exists(root / "logs/.spool"));
}

TEST_F(LogSpoolTest, PublishesALongRunAfterTenSecondsWithContentThenMoreRarely) {
  const auto writer = spool->open(attempt, "+w+a");
  later(100);
  writer->write("1");
  later(9);
  EXPECT_THAT(published(), IsEmpty());
  writer->write("2");
  later(1);
  EXPECT_THAT(published(), ElementsAre("12"));
  later(1000);
  EXPECT_EQ(published().size(), 1u) << "nothing new was written";
  std::size_t files = 1;
  for (const std::int64_t interval : {20, 40, 80, 160, 320, 600, 600}) {
    writer->write("x");
    later(interval - 1);
    EXPECT_EQ(published().size(), files) << interval;
    later(1);
    EXPECT_EQ(published().size(), ++files) << interval;
  }
}

// server 23.66
TEST_F(LogSpoolTest, BeginsANewFileAtTheSplitSize) {
  options.split_bytes = 5;
  begin();
  {
    const auto writer = spool->open(attempt, "+w+a");
    for (const char* text : {"123", "456", "7"}) writer->write(text);
    later(0);
    EXPECT_THAT(published(), ElementsAre("123456"));
  }
  EXPECT_THAT(published(), ElementsAre("123456", "7"));
}

TEST_F(LogSpoolTest, HasPublishedEverythingWhenTheRunHasEnded) {
  options.split_bytes = 1000;
  begin();
  auto writer = spool->open(attempt, "+w+a");
  std::string written, read;
  for (int i = 0; i < 500; ++i) {
    const std::string line = "line " + std::to_string(i) + std::string(40, '.') + "\n";
    writer->write(line);
    written += line;
  }
  writer.reset();
  for (const std::string& text : published()) read += text;
  EXPECT_EQ(read, written);
}

TEST_F(LogSpoolTest, ShowsToTheTailWhatIsNotPublished) {
  auto writer = spool->open(attempt, "+w+a");
  const auto other = spool->open(attempt, "+w+b");
  writer->write("hello ");
  writer->write("world");
  other->write("x");
  const auto open = spool->open_logs(attempt, "+w+a");
  ASSERT_EQ(open.size(), 1u);
  EXPECT_EQ(open[0].bytes, 11u);
  EXPECT_EQ(spool->read_open(attempt, open[0].file_name, 0, 100), "hello world");
  EXPECT_EQ(spool->read_open(attempt, open[0].file_name, 6, 3), "wor");
  EXPECT_EQ(spool->read_open(attempt, open[0].file_name, 11, 100), "");
  EXPECT_EQ(spool->open_logs(attempt, "").size(), 2u);
  writer.reset();
  EXPECT_FALSE(spool->read_open(attempt, open[0].file_name, 0, 100));
  EXPECT_THAT(spool->open_logs(attempt, "+w+a"), IsEmpty());
  EXPECT_EQ(storage.list(attempt, "+w+a")[0].file_name, open[0].file_name);
}

TEST_F(LogSpoolTest, PublishesWhatAProcessThatDiedHasLeft) {
  const fs::path left = root / "logs/.spool/process-0123abcd";
  fs::create_directories(left);
  const std::string name = "+w+a@0000000100000002.8@vm.log.gz";
  write_new_file(left / "1", attempt.directory().string() + "\n" + name + "\nline\nhalf a li", 0600);
  write_new_file(left / "1.gz", "half of an archive", 0600);
  write_new_file(left / "2", "2026", 0600);
  begin();
  spool->publish_due();
  EXPECT_THAT(published(), ElementsAre("line\nhalf a li"));
  EXPECT_EQ(storage.list(attempt, "")[0].file_name, name);
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(LogSpoolTest, PublishesWhatAProcessHasLeftThatDiedMeanwhile) {
  begin();
  const auto writer = spool->open(attempt, "+w+b");
  writer->write("ours");
  const fs::path left = root / "logs/.spool/process-0123abcd";
  fs::create_directories(left);
  write_new_file(left / "1", attempt.directory().string() + "\n+w+a@0000000100000002.8@vm.log.gz\nline\n", 0600);
  spool->adopt_left();
  spool->publish_due();
  EXPECT_THAT(published(), ElementsAre("line\n"));
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(LogSpoolTest, KeepsWhatTheStorageDoesNotTakeAndTriesAgain) {
  storage.away = true;
  spool->open(attempt, "+w+a")->write("kept");
  EXPECT_THAT(published(), IsEmpty());
  EXPECT_EQ(spool->read_open(attempt, spool->open_logs(attempt, "")[0].file_name, 0, 9), "kept");
  later(10);
  EXPECT_THAT(published(), IsEmpty());
  storage.away = false;
  later(20);
  EXPECT_THAT(published(), ElementsAre("kept"));
  EXPECT_THAT(process_log(), HasSubstr("A task log cannot be written: the storage is away"));
}

TEST_F(LogSpoolTest, LeavesToTheNextProcessWhatTheStorageNeverTook) {
  storage.away = true;
  spool->open(attempt, "+w+a")->write("kept");
  spool.reset();
  storage.away = false;
  begin();
  spool->publish_due();
  EXPECT_THAT(published(), ElementsAre("kept"));
}

TEST_F(LogSpoolTest, SaysWhereSomeIsMissingBecauseTheSpoolIsFull) {
  options.most_bytes = 10;
  begin();
  auto writer = spool->open(attempt, "+w+a");
  writer->write("12345");
  writer->write("too much for it");
  writer.reset();
  ASSERT_EQ(published().size(), 1u);
  EXPECT_THAT(published()[0],
              testing::MatchesRegex("12345\n[-0-9:. ]* \\+[0-9]* \\[WARN\\] \\(main\\) agent: Some of this log is missing here: "
                                    "log-server.spool-limit \\(10 bytes\\) is reached\n"));
}

TEST_F(LogSpoolTest, GoesOnWhereNothingCanBeWritten) {
  fs::remove(root / "logs");
  write_new_file(root / "logs", "a file in the way", 0600);
  const auto writer = spool->open(attempt, "+w+a");
  writer->write("lost");
  fs::remove(root / "logs");
  writer->write("written\n");
  later(10);
  ASSERT_EQ(published().size(), 1u);
  EXPECT_THAT(published()[0], HasSubstr("Some of this log is missing here: it cannot be written\nwritten\n"));
  EXPECT_THAT(process_log(), HasSubstr("A task log cannot be written: Cannot create directory "));
}

TEST_F(LogSpoolTest, TellsAtItsBeginThatNothingCanBeWritten) {
  fs::remove(root / "logs");
  write_new_file(root / "logs", "a file in the way", 0600);
  begin();
  EXPECT_THAT(process_log(), HasSubstr("[ERROR] (main): A task log cannot be written: Cannot create directory "));
}

// decisions V-61
TEST_F(LogSpoolTest, ShowsToTheTailAloneWhatNoStorageKeepsUntilTheAttemptIsOver) {
  options.discard = true;
  begin();
  auto writer = spool->open(attempt, "+w+a");
  writer->write("one");
  later(1000);
  ASSERT_EQ(spool->open_logs(attempt, "").size(), 1u);
  EXPECT_EQ(spool->read_open(attempt, spool->open_logs(attempt, "")[0].file_name, 0, 9), "one");
  writer.reset();
  EXPECT_EQ(spool->open_logs(attempt, "").size(), 1u);
  spool->forget(attempt);
  EXPECT_THAT(spool->open_logs(attempt, ""), IsEmpty());
  EXPECT_THAT(published(), IsEmpty());
  spool.reset();
  EXPECT_FALSE(fs::exists(root / "logs/.spool"));
}

TEST_F(LogSpoolTest, DropsAfterADayWhatNoStorageKeepsOfAnAttemptWhoseEndIsNeverHeardOf) {
  options.discard = true;
  begin();
  auto writer = spool->open(attempt, "+w+long");
  writer->write("one");
  spool->open(attempt, "+w+a")->write("one");
  later(24 * 3600 - 1);
  EXPECT_EQ(spool->open_logs(attempt, "").size(), 2u);
  later(1);
  ASSERT_EQ(spool->open_logs(attempt, "").size(), 1u) << "what is still written stays";
  EXPECT_THAT(spool->open_logs(attempt, "")[0].file_name, HasSubstr("+w+long@"));
}

TEST_F(LogSpoolTest, DropsTheOldestOfWhatNoStorageKeepsWhereTheRoomIsNeeded) {
  options.discard = true;
  options.most_bytes = 10;
  begin();
  for (const char* task : {"+w+a", "+w+b", "+w+c"}) spool->open(attempt, task)->write("12345");
  const auto left = spool->open_logs(attempt, "");
  ASSERT_EQ(left.size(), 2u);
  EXPECT_THAT(left[0].file_name, HasSubstr("+w+b@"));
  EXPECT_EQ(spool->read_open(attempt, left[1].file_name, 0, 9), "12345");
}

TEST_F(LogSpoolTest, TellsWhoeverWaitsThatSomethingWasWritten) {
  std::vector<std::string> told;
  options.written = [&](const std::string& directory) { told.push_back(directory); };
  begin();
  auto writer = spool->open(attempt, "+w+a");
  writer->write("one");
  EXPECT_THAT(told, ElementsAre(attempt.directory().string()));
  writer.reset();
  EXPECT_EQ(told.size(), 2u) << "of the file that is complete now";
}

TEST_F(LogSpoolTest, TellsAFaultAgainWhenItHadWorkedMeanwhile) {
  for (const bool away : {true, false, true}) {
    storage.away = away;
    spool->open(attempt, "+w+a")->write("x");
  }
  const std::string log_text = process_log();
  const std::size_t first = log_text.find("cannot be written");
  EXPECT_NE(log_text.find("cannot be written", first + 1), std::string::npos);
}

TEST_F(LogSpoolTest, NamesNeverMeet) {
  for (int i = 0; i < 3; ++i) spool->open(attempt, "+w+a")->write(std::to_string(i));
  EXPECT_THAT(published(), ElementsAre("0", "1", "2"));
}

TEST(LogSpoolOptions, ComeFromTheConfiguration) {
  SystemConfig system;
  EXPECT_EQ(log_spool_options(system, "/tmp/x", "a").directory, "/tmp/x/logs");
  EXPECT_TRUE(log_spool_options(system, "/tmp/x", "a").discard);
  system.set("log-server.type", "local");
  system.set("log-server.local.path", "/logs");
  system.set("log-server.local.split_size", "1000");
  system.set("log-server.spool-limit", "5000");
  const LogSpool::Options options = log_spool_options(system, "/tmp/x", "a");
  EXPECT_EQ(options.directory, "/logs/.spool");
  EXPECT_FALSE(options.discard);
  EXPECT_EQ(options.split_bytes, 1000u);
  EXPECT_EQ(options.most_bytes, 5000u);
}

}  // namespace
}  // namespace digdag::store
