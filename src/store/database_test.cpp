#include "store/database.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>

#include "store/database_for_test.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using testing::HasSubstr;

/// What every kind of database must do alike.
class AnyDatabase : public DatabaseOfKind {
 protected:
  void SetUp() override {
    database_->write([](Transaction& transaction) {
      transaction.send(
          {"create table things (id bigserial primary key, name text, count bigint, at timestamptz, content bytea, good boolean, "
           "key uuid)",
           "create table things (id integer primary key autoincrement, name text, count bigint, at timestamptz, content blob, good "
           "boolean, key text)"});
      transaction.send("create unique index things_on_name on things (name) where length(name) < 100");
    });
  }
  void add(const std::string& name) {
    database_->write([&](Transaction& transaction) { transaction.send("insert into things (name) values ($1)", {name}, 1); });
  }
  std::int64_t count() {
    return database_->read([](Transaction& transaction) { return transaction.query("select count(*) from things").at(0).integer(0); });
  }
  std::vector<std::string> names() {
    return database_->read([](Transaction& transaction) {
      std::vector<std::string> all;
      for (const Row& row : transaction.query("select name from things order by name")) all.push_back(row.text(0));
      return all;
    });
  }
};

TEST_P(AnyDatabase, GivesBackWhatWasWritten) {
  std::string long_text;
  for (int i = 0; i < 100'000; ++i) long_text += "täsk 仕事 🚀 \"'\\ ";
  std::string bytes;
  for (int i = 0; i < 3'000'000; ++i) bytes += static_cast<char>(i * 7);
  const std::vector<SqlValues> rows = {
      {std::string(), std::int64_t{0}, Timestamp{0}, Bytes{}, std::int64_t{0}},
      {long_text, std::numeric_limits<std::int64_t>::max(), Timestamp{1'795'225'514'123'456}, Bytes{bytes}, std::int64_t{1}},
      {std::string("before 1970"), std::numeric_limits<std::int64_t>::min(), Timestamp{-1}, Bytes{std::string("\0\xff\\x", 4)}, Null{}},
      {std::string("long ago"), Null{}, Timestamp{-62'135'596'800'000'001}, Null{}, Null{}},  // in the year 1 before Christ
      {Null{}, Null{}, Null{}, Null{}, Null{}},
  };
  for (const SqlValues& row : rows) {
    const std::int64_t id = database_->write([&](Transaction& transaction) {
      return transaction.query("insert into things (name, count, at, content, good) values ($1, $2, $3, $4, $5) returning id", row)
          .at(0)
          .integer(0);
    });
    const Row found = database_->read([&](Transaction& transaction) {
      return transaction.query("select name, count, at, content, good from things where id = $1", {id}).at(0);
    });
    EXPECT_EQ(found.optional_text(0), row[0] == SqlValue(Null{}) ? std::nullopt : std::optional(std::get<std::string>(row[0])));
    EXPECT_EQ(found.optional_integer(1), row[1] == SqlValue(Null{}) ? std::nullopt : std::optional(std::get<std::int64_t>(row[1])));
    EXPECT_EQ(found.optional_time(2), row[2] == SqlValue(Null{}) ? std::nullopt : std::optional(std::get<Timestamp>(row[2])));
    EXPECT_EQ(found.is_null(3), row[3] == SqlValue(Null{}));
    EXPECT_TRUE(found.is_null(3) || found.bytes(3) == std::get<Bytes>(row[3]).bytes);
    EXPECT_TRUE(found.is_null(4) || found.boolean(4) == (row[4] == SqlValue(std::int64_t{1})));
  }
}

TEST_P(AnyDatabase, WritesManyRowsAtOnce) {
  const std::vector<SqlValues> columns = {
      {std::string("a\"b\\"), std::string("{}"), std::string("NULL"), std::string("é,\n"), Null{}},
      {std::int64_t{1}, std::int64_t{-2}, std::int64_t{3}, Null{}, std::int64_t{5}},
      {Timestamp{1}, Timestamp{-1}, Null{}, Timestamp{1'000'000}, Timestamp{2}},
      {Bytes{std::string("\0\1", 2)}, Bytes{"\\\""}, Bytes{}, Null{}, Bytes{"x"}},
  };
  static constexpr Sql insert = {
      "insert into things (name, count, at, content) select * from unnest($1::text[], $2::bigint[], $3::timestamptz[], $4::bytea[])",
      "insert into things (name, count, at, content) values ($1, $2, $3, $4)"};
  database_->write([&](Transaction& transaction) {
    transaction.send_rows(insert, columns, 5);
    transaction.send_rows(insert, {{}, {}, {}, {}}, 0);
  });
  const Rows rows = database_->read(
      [](Transaction& transaction) { return transaction.query("select name, count, at, content from things order by id"); });
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].text(0), "a\"b\\");
  EXPECT_EQ(rows[0].bytes(3), std::string("\0\1", 2));
  EXPECT_EQ(rows[1].text(0), "{}");
  EXPECT_EQ(rows[1].integer(1), -2);
  EXPECT_EQ(rows[1].time(2), Timestamp{-1});
  EXPECT_EQ(rows[2].text(0), "NULL");
  EXPECT_TRUE(rows[2].is_null(2));
  EXPECT_EQ(rows[3].text(0), "é,\n");
  EXPECT_TRUE(rows[3].is_null(3));
  EXPECT_TRUE(rows[4].is_null(0));
}

TEST_P(AnyDatabase, FindsWhatIsInAList) {
  for (const char* name : {"a", "b", "c\"{},"}) add(name);
  static constexpr Sql by_id = {"select name from things where id = any($1) order by id",
                                "select name from things where id in (select value from json_each($1)) order by id"};
  static constexpr Sql by_name = {"select id from things where name = any($1) order by id",
                                  "select id from things where name in (select value from json_each($1)) order by id"};
  database_->read([&](Transaction& transaction) {
    EXPECT_EQ(transaction.query(by_id, {std::vector<std::int64_t>{1, 3, 7}}).at(1).text(0), "c\"{},");
    EXPECT_EQ(transaction.query(by_id, {std::vector<std::int64_t>{}}).size(), 0u);
    EXPECT_EQ(transaction.query(by_name, {std::vector<std::string>{"c\"{},", "b", "nobody"}}).size(), 2u);
  });
}

TEST_P(AnyDatabase, RefusesATextWithANulCharacterOrThatIsNotUtf8) {
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xff")}) {
    EXPECT_THROW(add(text), DatabaseError);
  }
  EXPECT_EQ(count(), 0);
}

TEST_P(AnyDatabase, TellsHowManyRowsAStatementChanged) {
  for (const char* name : {"a", "b", "c"}) add(name);
  database_->write([](Transaction& transaction) {
    EXPECT_EQ(transaction.execute("update things set count = 1 where name <> 'c'"), 2);
    EXPECT_EQ(transaction.execute("update things set count = 1 where name = 'z'"), 0);
    EXPECT_EQ(transaction.execute("insert into things (name) values ('a') on conflict do nothing"), 0);
    EXPECT_EQ(transaction.execute({"select 1 from things where count = 1 for update", "select 1 from things where count = 1"}), 2);
    EXPECT_EQ(transaction.execute("delete from things"), 3);
    EXPECT_TRUE(transaction.changes_one("insert into things (name) values ($1)", {std::string("d")}));
  });
}

TEST_P(AnyDatabase, CommitsNothingWhereAStatementChangedAnotherNumberOfRows) {
  add("a");
  try {
    database_->write([](Transaction& transaction) {
      transaction.send("insert into things (name) values ('b')");
      transaction.send("update things set count = 1 where name = $1", {std::string("nobody")}, 1);
      transaction.send("insert into things (name) values ('c')");
    });
    FAIL() << "it was committed";
  } catch (const DatabaseError& error) {
    EXPECT_EQ(error.why(), Cause::unexpected_rows);
    EXPECT_THAT(error.message(), HasSubstr("a statement changed 0 rows, not 1: update things set count"));
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_P(AnyDatabase, RollsEverythingBackWhereTheWorkThrows) {
  EXPECT_THROW(database_->write([](Transaction& transaction) {
    transaction.send("insert into things (name) values ('a')");
    throw std::out_of_range("thrown by the work");
  }),
               std::out_of_range);
  EXPECT_EQ(count(), 0);
}

TEST_P(AnyDatabase, NamesARefusedStatementAndCommitsNothingEvenWhereTheWorkCaughtIt) {
  add("a");
  try {
    database_->write([](Transaction& transaction) {
      transaction.send("insert into things (name) values ('b')");
      try {
        transaction.execute("insert into things (name) values ('a')");
      } catch (const DatabaseError&) {
      }
    });
    FAIL() << "it was committed";
  } catch (const DatabaseError& error) {
    EXPECT_EQ(error.why(), Cause::refused);
    EXPECT_THAT(error.message(), HasSubstr("insert into things (name) values ('a')"));
  }
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
  add("still works");
}

TEST_P(AnyDatabase, ReadsChangeNothing) {
  EXPECT_THROW(database_->read([](Transaction& transaction) { transaction.execute("insert into things (name) values ('a')"); }),
               DatabaseError);
  EXPECT_EQ(count(), 0);
  add("b");
  EXPECT_EQ(count(), 1);
}

TEST_P(AnyDatabase, HasOneTimeInATransaction) {
  database_->write([](Transaction& transaction) {
    const Timestamp now = transaction.now();
    transaction.send("insert into things (name, at) values ('a', now())");
    EXPECT_EQ(transaction.query("select at from things").at(0).time(0), now);
    EXPECT_NEAR(static_cast<double>(now.instant().seconds()), static_cast<double>(digdag::now().seconds()), 60);
    EXPECT_EQ(transaction.now(), now);
  });
  database_->read(
      [](Transaction& transaction) { EXPECT_GE(transaction.now(), transaction.query("select max(at) from things").at(0).time(0)); });
}

TEST_P(AnyDatabase, MakesUuids) {
  database_->write([](Transaction& transaction) {
    const std::string key = transaction.query("insert into things (key) values (gen_random_uuid()) returning key").at(0).text(0);
    EXPECT_THAT(key, testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
    EXPECT_EQ(transaction.query("select count(*) from things where key = $1", {key}).at(0).integer(0), 1);
  });
}

TEST_P(AnyDatabase, GivesTheFirstRowWhereThereIsOne) {
  add("a");
  database_->read([](Transaction& transaction) {
    EXPECT_EQ(transaction.first("select name from things")->text(0), "a");
    EXPECT_FALSE(transaction.first("select name from things where id = $1", {std::int64_t{9}}));
  });
}

TEST_P(AnyDatabase, RefusesOnePieceOfWorkInsideOfAnother) {
  EXPECT_THROW(database_->write([&](Transaction&) { count(); }), std::logic_error);
  EXPECT_THROW(database_->read([&](Transaction&) { add("a"); }), std::logic_error);
  add("b");
  EXPECT_EQ(count(), 1);
}

TEST_P(AnyDatabase, ServesManyThreadsAndHarmsNoneForTheFailureOfAnother) {
  constexpr int threads = 12, rounds = 20;
  std::atomic<int> failed = 0;
  std::vector<std::thread> all;
  for (int i = 0; i < threads; ++i) {
    all.emplace_back([&, i] {
      for (int round = 0; round < rounds; ++round) {
        const std::string name = std::to_string(i) + "." + std::to_string(round);
        try {
          database_->write(
              [&](Transaction& transaction) {
                transaction.send("insert into things (name) values ($1)", {name});
                if (i % 3 == 0) transaction.execute("insert into things (name) values ($1)", {name});
                if (i % 3 == 1) throw std::out_of_range("thrown by the work");
              },
              round % 2 == 0 ? Durability::power_cut : Durability::process);
          EXPECT_EQ(i % 3, 2);
          count();
        } catch (const DatabaseError&) {
          EXPECT_EQ(i % 3, 0);
          ++failed;
        } catch (const std::out_of_range&) {
          EXPECT_EQ(i % 3, 1);
          ++failed;
        }
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  EXPECT_EQ(failed, threads / 3 * 2 * rounds);
  EXPECT_EQ(count(), threads / 3 * rounds);
}

TEST_P(AnyDatabase, WorksWithTwoConnections) {
  system_.set("database.maximumPoolSize", "2");
  if (std::string_view(GetParam()) != "memory") open();
  std::vector<std::future<std::int64_t>> all;
  for (int i = 0; i < 16; ++i) {
    all.push_back(std::async(std::launch::async, [&, i] {
      add("x" + std::to_string(i));
      return count();
    }));
  }
  for (auto& each : all) EXPECT_GE(each.get(), 1);
  EXPECT_EQ(count(), 16);
}

TEST_P(AnyDatabase, RefusesWorkAfterItWasShutDown) {
  database_->shut_down();
  EXPECT_THROW(add("a"), DatabaseError);
  EXPECT_THROW(count(), DatabaseError);
}

TEST_P(AnyDatabase, GettersOfTheWrongTypeAreErrorsOfTheProgram) {
  add("a");
  database_->read([](Transaction& transaction) {
    const Row row = transaction.query("select name, count from things").at(0);
    EXPECT_THROW(row.integer(0), std::logic_error);
    EXPECT_THROW(row.integer(1), std::logic_error);
    EXPECT_THROW(row.text(2), std::out_of_range);
  });
}

TEST(Timestamps, RoundDownToMilliseconds) {
  EXPECT_EQ(Timestamp{1999}.instant(), Instant{1});
  EXPECT_EQ(Timestamp{-1}.instant(), Instant{-1});
  EXPECT_EQ(Timestamp{-1000}.instant(), Instant{-1});
  EXPECT_EQ(Timestamp::of(Instant{-3}), Timestamp{-3000});
}

INSTANTIATE_TEST_SUITE_P(Every, AnyDatabase, testing::Values("memory", "sqlite", "postgresql"), name_of_kind);

}  // namespace
}  // namespace digdag::store
