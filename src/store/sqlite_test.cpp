#include "store/sqlite.h"

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <fstream>

#include "base/file.h"
#include "base/gate_for_test.h"
#include "base/temporary_directory_for_test.h"
#include "base/thread.h"

namespace digdag::store {
namespace {

using testing::HasSubstr;

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.report();
  }
  return "";
}

class Sqlite : public testing::Test {
 protected:
  void open() {
    database_.reset();
    database_ = open_sqlite(directory_ / "db", 4);
  }
  void make_table() {
    database_->write([](Transaction& transaction) { transaction.send("create table things (id integer primary key, name text)"); });
  }
  void add(const std::string& name) {
    database_->write([&](Transaction& transaction) { transaction.send("insert into things (name) values ($1)", {name}); });
  }
  std::int64_t count() {
    return database_->read([](Transaction& transaction) { return transaction.query("select count(*) from things").at(0).integer(0); });
  }
  unsigned mode_of(const std::filesystem::path& path) {
    struct stat status {};
    EXPECT_EQ(stat(path.c_str(), &status), 0);
    return status.st_mode & 0777;
  }

  TemporaryDirectory directory_;
  std::unique_ptr<Database> database_;
};

TEST_F(Sqlite, KeepsWhatWasWrittenInAFileThatNobodyElseCanRead) {
  open();
  make_table();
  add("a");
  EXPECT_EQ(mode_of(directory_ / "db"), 0700u);
  for (const char* name : {"digdag.sqlite", "digdag.sqlite-wal", "digdag.sqlite-shm", "digdag.lock"}) {
    EXPECT_EQ(mode_of(directory_ / "db" / name), 0600u) << name;
  }
  open();
  EXPECT_EQ(count(), 1);
}

TEST_F(Sqlite, IsForOneProcess) {
  open();
  EXPECT_THAT(message_of([&] { open_sqlite(directory_ / "db", 1); }),
              HasSubstr((directory_ / "db").string() + " is in use by pid " + std::to_string(getpid())));
  database_.reset();
  open();
}

TEST_F(Sqlite, DoesNotStartEmptyBesideADatabaseOfJava) {
  std::filesystem::create_directory(directory_ / "db");
  std::ofstream(directory_ / "db" / "digdag.mv.db") << "H2";
  EXPECT_THAT(message_of([&] { open(); }), HasSubstr("holds a database of the Java digdag (digdag.mv.db)"));
  EXPECT_FALSE(std::filesystem::exists(directory_ / "db" / "digdag.sqlite"));
  std::filesystem::rename(directory_ / "db" / "digdag.mv.db", directory_ / "away");
  open();
  std::filesystem::rename(directory_ / "away", directory_ / "db" / "digdag.mv.db");
  open();  // ours is there by now
}

TEST_F(Sqlite, NamesADamagedFile) {
  std::filesystem::create_directory(directory_ / "db");
  std::ofstream(directory_ / "db" / "digdag.sqlite") << std::string(5000, 'x');
  EXPECT_THAT(message_of([&] { open(); }), testing::AllOf(HasSubstr((directory_ / "db/digdag.sqlite").string()), HasSubstr("it is damaged"),
                                                          HasSubstr("hint: put a backup in its place")));
}

TEST_F(Sqlite, NamesADirectoryThatCannotBeMade) {
  std::ofstream(directory_ / "db") << "a file";
  EXPECT_THAT(message_of([&] { open(); }), HasSubstr((directory_ / "db").string()));
}

TEST_F(Sqlite, WritesWhatWaitsTogetherAndHarmsNoneForTheFailureOfAnother) {
  open();
  make_table();
  Gate started(directory_ / "started"), go(directory_ / "go");
  std::vector<Thread> all;
  std::atomic<int> transactions = 0, failed = 0;
  // The first one holds the writer up until the others wait.
  all.emplace_back("a test", [&] {
    database_->write([&](Transaction&) {
      started.let_through();
      go.await();
    });
  });
  started.await();
  for (int i = 0; i < 20; ++i) {
    all.emplace_back("a test", [&, i] {
      try {
        database_->write([&](Transaction& transaction) {
          transaction.send("insert into things (name) values ($1)", {std::to_string(i)});
          transaction.query("select count(*) from things");
          ++transactions;
          if (i % 2 == 1) transaction.send("insert into nowhere (name) values ('a')");
        });
      } catch (const DatabaseError&) {
        ++failed;
      }
    });
  }
  go.let_through();
  for (Thread& thread : all) thread.join();
  EXPECT_EQ(transactions, 20);
  EXPECT_EQ(failed, 10);
  EXPECT_EQ(count(), 10);
}

TEST_F(Sqlite, ReadersSeeWhatIsCommittedWhileSomebodyWrites) {
  open();
  make_table();
  add("a");
  Gate started(directory_ / "started"), go(directory_ / "go");
  Thread writer("a test", [&] {
    database_->write([&](Transaction& transaction) {
      transaction.send("insert into things (name) values ('b')");
      started.let_through();
      go.await();
    });
  });
  started.await();
  EXPECT_EQ(count(), 1);
  go.let_through();
  writer.join();
  EXPECT_EQ(count(), 2);
}

TEST_F(Sqlite, SurvivesAFullDiskAndGoesOnWhenThereIsSpaceAgain) {
  if (getuid() != 0) GTEST_SKIP() << "a small disk can be mounted by root alone";
  const std::filesystem::path disk = directory_ / "disk";
  std::filesystem::create_directory(disk);
  ASSERT_EQ(mount("tmpfs", disk.c_str(), "tmpfs", 0, "size=1m"), 0);
  database_ = open_sqlite(disk / "db", 4);
  make_table();
  add("small");
  const std::string filler = disk / "filler";
  {
    std::ofstream file(filler);
    while (file << std::string(4096, 'x') << std::flush) {
    }
  }
  std::string message;
  int added = 1;
  for (; message.empty() && added < 1000; ++added) message = message_of([&] { add(std::string(20'000, 'x')); });
  EXPECT_THAT(message, testing::AllOf(HasSubstr("digdag.sqlite fails: the disk is full"), HasSubstr("hint: free some space")));
  EXPECT_EQ(count(), added - 1);
  std::filesystem::remove(filler);
  add("again");
  EXPECT_EQ(count(), added);
  database_.reset();
  umount(disk.c_str());
}

}  // namespace
}  // namespace digdag::store
