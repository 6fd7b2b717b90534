#include "store/sqlite.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>

#include "base/file.h"
#include "base/gate_for_test.h"
#include "base/temporary_directory_for_test.h"
#include "base/thread.h"
#include "store/storage_for_test.h"

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

// server 23.76
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
  StorageForTest storage;
  open();
  make_table();
  add("a");
  storage.set_full(true);
  const std::string message = message_of([&] { add("b"); });
  EXPECT_THAT(message, testing::AllOf(HasSubstr((directory_ / "db/digdag.sqlite").string() + " fails: the disk is full"),
                                      HasSubstr("hint: free some space")));
  EXPECT_EQ(count(), 1);
  storage.set_full(false);
  add("c");
  EXPECT_EQ(count(), 2);
  database_.reset();
}

/// Writes numbers one after another, every fifth so that it outlives a power cut, and gives what is there after one.
struct AfterPowerCut {
  std::int64_t acknowledged = 0;  ///< the last number that must be there
  std::vector<std::int64_t> numbers;
  int operations = 0;
};
AfterPowerCut write_until_power_cut(int operation, unsigned seed) {
  const TemporaryDirectory directory;
  std::atomic<std::int64_t> kept = 0;
  AfterPowerCut after;
  {
    StorageForTest storage;
    const auto database = open_sqlite(directory / "before", 1);
    database->write([](Transaction& transaction) { transaction.send("create table things (number integer primary key, text text)"); });
    storage.cut_power_at(operation, seed, [&] { after.acknowledged = kept; });
    const int before = storage.operations();
    for (std::int64_t number = 1; number <= 120; ++number) {
      const Durability durability = number % 5 == 0 ? Durability::power_cut : Durability::process;
      database->write(
          [&](Transaction& transaction) {
            transaction.send("insert into things values ($1, $2)", {number, std::string(60'000, 'x')});
          },
          durability);
      if (durability == Durability::power_cut) kept = number;
    }
    after.operations = storage.operations() - before;
    storage.restore(directory / "after");
  }
  const auto database = open_sqlite(directory / "after", 1);
  database->read([&](Transaction& transaction) {
    EXPECT_EQ(transaction.query("pragma integrity_check").at(0).text(0), "ok");
    for (const Row& row : transaction.query("select number from things order by number")) after.numbers.push_back(row.integer(0));
  });
  return after;
}

TEST(SqliteAtAPowerCut, LosesNothingThatMustOutliveItAndOfTheRestOnlyTheEnd) {
  const int operations = write_until_power_cut(0, 0).operations;
  int lost = 0;
  for (unsigned seed = 1; seed <= 12; ++seed) {
    const AfterPowerCut after = write_until_power_cut(static_cast<int>(std::mt19937(seed)() % operations), seed);
    for (std::size_t i = 0; i < after.numbers.size(); ++i) EXPECT_EQ(after.numbers[i], static_cast<std::int64_t>(i) + 1) << "seed " << seed;
    EXPECT_GE(static_cast<std::int64_t>(after.numbers.size()), after.acknowledged) << "seed " << seed;
    lost += static_cast<std::int64_t>(after.numbers.size()) < 120;
  }
  EXPECT_GT(lost, 0) << "the power was never cut";
}

}  // namespace
}  // namespace digdag::store
