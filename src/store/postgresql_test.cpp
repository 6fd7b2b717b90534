#include "store/postgresql.h"

#include <gmock/gmock.h>

#include <barrier>
#include <future>
#include <map>
#include <mutex>

#include "base/eventually_for_test.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"
#include "store/database_place.h"
#include "store/postgresql_for_test.h"
#include "store/proxy_for_test.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Cut = ProxyForTest::Cut;

/// What can happen to a server and to the way to it.
class Postgresql : public testing::Test {
 protected:
  Postgresql() : server_(PostgresqlForTest::instance()), system_(server_.new_database()) {
    name_ = *system_.get("database.database");
    server_.sql("create table things (id bigserial primary key, name text unique, count bigint not null default 0)", name_);
    server_.sql("create table digdag_native_commits (id text primary key, number bigint not null, at timestamptz not null)", name_);
  }
  Database& database() {
    if (!database_) database_ = open_database(system_, log_);
    return *database_;
  }
  void add(const std::string& name, Database::Patience patience = Database::default_patience) {
    database().write([&](Transaction& transaction) { transaction.send("insert into things (name) values ($1)", {name}, 1); },
                     Durability::power_cut, patience);
  }
  std::string sql(const std::string& statement) { return server_.sql(statement, name_); }
  std::string count() { return sql("select count(*) from things"); }
  void cut_off_all() {
    sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()");
  }
  std::string message_of(const std::function<void()>& work) {
    try {
      work();
    } catch (const Error& error) {
      return error.report();
    }
    return "";
  }
  std::string logged() {
    log_.flush();
    return read_file(directory_ / "log");
  }

  TemporaryDirectory directory_;
  Log log_{{.file = directory_ / "log"}};
  PostgresqlForTest& server_;
  SystemConfig system_;
  std::string name_;
  std::unique_ptr<Database> database_;
};

TEST_F(Postgresql, RepeatsWorkThatYieldedInADeadlock) {
  add("a");
  add("b");
  std::atomic<int> runs = 0;
  std::promise<void> locked_by[2];
  std::shared_future<void> is_locked[] = {locked_by[0].get_future().share(), locked_by[1].get_future().share()};
  const auto update = [&](const char* first, const char* second, int number) {
    bool is_first_run = true;
    database().write([&](Transaction& transaction) {
      ++runs;
      transaction.execute("update things set count = count + 1 where name = $1", {std::string(first)});
      if (std::exchange(is_first_run, false)) {
        locked_by[number].set_value();
        is_locked[1 - number].wait();
      }
      transaction.send("update things set count = count + 1 where name = $1", {std::string(second)}, 1);
    });
  };
  auto other = std::async(std::launch::async, [&] { update("b", "a", 1); });
  update("a", "b", 0);
  other.get();
  EXPECT_GE(runs, 3);
  EXPECT_EQ(sql("select string_agg(count::text, ' ') from things"), "2 2");
}

TEST_F(Postgresql, RepeatsWorkWhoseConnectionWasKilledInTheMiddle) {
  int runs = 0;
  database().write([&](Transaction& transaction) {
    transaction.execute("insert into things (name) values ('a')");
    if (++runs == 1) cut_off_all();
    transaction.send("insert into things (name) values ('b')");
  });
  EXPECT_EQ(runs, 2);
  EXPECT_EQ(count(), "2");
}

TEST_F(Postgresql, ReplacesIdleConnectionsThatWereKilled) {
  add("a");
  cut_off_all();
  add("b");
  cut_off_all();
  EXPECT_EQ(database().read([](Transaction& transaction) { return transaction.query("select count(*) from things").at(0).integer(0); }), 2);
}

TEST_F(Postgresql, RidesOutARestartAndACrash) {
  database();
  std::atomic<int> added = 0;
  std::atomic<bool> enough = false;
  std::vector<std::future<void>> writers;
  for (int i = 0; i < 4; ++i) {
    writers.push_back(std::async(std::launch::async, [&, i] {
      for (int round = 0; !enough; ++round, ++added) add(std::to_string(i) + "." + std::to_string(round), std::nullopt);
    }));
  }
  for (const int how : {SIGINT, SIGQUIT}) {
    const int before = added;
    ASSERT_TRUE(eventually([&] { return added > before + 20; }));
    server_.stop(how);
    server_.start();
  }
  const int before = added;
  EXPECT_TRUE(eventually([&] { return added > before + 20; }));
  enough = true;
  for (auto& writer : writers) writer.get();  // nothing twice, or a name would not be unique
  EXPECT_EQ(count(), std::to_string(added));
  EXPECT_THAT(logged(), HasSubstr("trying again"));
}

TEST_F(Postgresql, GivesUpWhenPatienceEndsAndEndsWaitingWhenItIsShutDown) {
  add("a");
  server_.stop();
  EXPECT_THAT(message_of([&] { add("b", milliseconds(100)); }), HasSubstr("cannot connect to PostgreSQL at "));
  auto waiting = std::async(std::launch::async, [&] { return message_of([&] { add("c", std::nullopt); }); });
  database().shut_down();
  EXPECT_THAT(waiting.get(), HasSubstr("the database has been shut down"));
  server_.start();
  EXPECT_EQ(count(), "1");
}

/// All connections but the one that listens are in use.
class PostgresqlInUse : public Postgresql {
 protected:
  PostgresqlInUse() {
    system_.set("database.maximumPoolSize", "2");
    listening_ = database().listen({.heard = [](const std::string&) {}});
  }
  std::string message_of_another() {
    return message_of([&] { add("a", milliseconds(50)); });
  }
  std::unique_ptr<Database::Listening> listening_;
};

TEST_F(PostgresqlInUse, ADatabaseThatDoesNotAnswerIsNotBlamedOnTheirNumber) {
  std::promise<void> locked, go;
  const auto other = open_database(server_.database(name_), log_);
  auto holder = std::async(std::launch::async, [&] {
    other->write_one_by_one([&](Transaction& statements) {
      statements.query("select pg_advisory_lock(42)");
      locked.set_value();
      go.get_future().wait();
    });
  });
  locked.get_future().wait();
  auto hanging = std::async(std::launch::async, [&] {
    database().read([](Transaction& transaction) { transaction.query("select pg_advisory_xact_lock(42)"); });
  });
  EXPECT_TRUE(eventually([&] { return message_of_another().find(" has not answered for ") != std::string::npos; }));
  EXPECT_THAT(message_of_another(),
              AllOf(HasSubstr("PostgreSQL at "), HasSubstr(" s on any connection"), Not(HasSubstr("maximumPoolSize"))));
  go.set_value();
  holder.get();
  hanging.get();
}

TEST_F(PostgresqlInUse, WorkThatTakesLongIsBlamedOnTheirNumber) {
  std::promise<void> begun, end;
  auto working = std::async(std::launch::async, [&] {
    database().read([&](Transaction& transaction) {
      transaction.query("select 1");
      begun.set_value();
      end.get_future().wait();
    });
  });
  begun.get_future().wait();
  EXPECT_THAT(message_of_another(), AllOf(HasSubstr("all 2 connections to "), HasSubstr("are in use (database.maximumPoolSize)")));
  end.set_value();
  working.get();
}

/// The commit of a piece of work, cut off in some way.
class PostgresqlCommit : public Postgresql {
 protected:
  PostgresqlCommit() {
    system_.set("database.host", "127.0.0.1");
    system_.set("database.port", std::to_string(proxy_.port()));
  }
  ~PostgresqlCommit() override { database_.reset(); }
  /// Without an expected number of rows COMMIT follows at once, else after the answer.
  int add_cut(Cut how, std::optional<std::int64_t> expected = {}) {
    database();
    proxy_.cut_next(how);
    int runs = 0;
    database().write([&](Transaction& transaction) {
      ++runs;
      transaction.send("insert into things (name) values ('a')", {}, expected);
    });
    EXPECT_TRUE(proxy_.has_cut());
    return runs;
  }
  /// For the lock 42, in a trigger that is made so.
  void let_inserts_wait(const std::string& create_trigger) {
    sql("create function wait() returns trigger language plpgsql as 'begin perform pg_advisory_xact_lock(42); return null; end'");
    sql(create_trigger + " for each row execute function wait()");
  }
  ProxyForTest proxy_{server_.socket()};
};

/// Somebody else who has the lock 42 until it is released.
class HeldLock {
 public:
  explicit HeldLock(std::unique_ptr<Database> other)
      : other_(std::move(other)), holder_(std::async(std::launch::async, [this] { hold(); })) {
    locked_.get_future().wait();
  }
  void release() {
    go_.set_value();
    holder_.get();
  }

 private:
  void hold() {
    other_->write_one_by_one([&](Transaction& statements) {
      statements.query("select pg_advisory_lock(42)");
      locked_.set_value();
      go_.get_future().wait();
      statements.query("select pg_advisory_unlock(42)");
    });
  }

  std::unique_ptr<Database> other_;
  std::promise<void> locked_, go_;
  std::future<void> holder_;
};

TEST_F(PostgresqlCommit, IsNotRepeatedWhereItHappened) {
  EXPECT_EQ(add_cut(Cut::before_answer), 1);
  EXPECT_EQ(count(), "1");
}

TEST_F(PostgresqlCommit, IsRepeatedWhereItDidNotHappen) {
  EXPECT_EQ(add_cut(Cut::before_commit), 2);
  EXPECT_EQ(count(), "1");
}

TEST_F(PostgresqlCommit, IsAskedForAlsoWhereRowsWereExpected) {
  EXPECT_EQ(add_cut(Cut::before_answer, 1), 1);
  EXPECT_EQ(count(), "1");
}

TEST_F(PostgresqlCommit, IsRepeatedAlsoWhereRowsWereExpected) {
  EXPECT_EQ(add_cut(Cut::before_commit, 1), 2);
  EXPECT_EQ(count(), "1");
}

TEST_F(PostgresqlCommit, IsAskedForMoreAndMoreSlowly) {
  sql("create sequence asked");
  sql("create function refuse() returns trigger language plpgsql as 'begin if new.number < 0 then perform nextval(''asked''); perform "
      "pg_terminate_backend(pg_backend_pid()); end if; return new; end'");
  sql("create trigger refuse before insert on digdag_native_commits for each row execute function refuse()");
  database();
  proxy_.cut_next(Cut::before_answer);
  EXPECT_THAT(message_of([&] { add("a", milliseconds(300)); }), HasSubstr("whether a commit happened could not be found out"));
  EXPECT_LE(std::stoi(sql("select last_value from asked")), 8);  // 10, 20, 40 … ms lie between them
}

TEST_F(PostgresqlCommit, IsWaitedForWhileItIsUnderWay) {
  let_inserts_wait("create constraint trigger wait after insert on things deferrable initially deferred");
  HeldLock lock(open_database(server_.database(name_), log_));
  auto writer = std::async(std::launch::async, [&] { return add_cut(Cut::at_commit); });
  EXPECT_TRUE(eventually(
      [&] { return sql("select count(*) from pg_stat_activity where query like 'insert into digdag_native_commits as%'") != "0"; }));
  EXPECT_EQ(count(), "0");
  lock.release();
  EXPECT_EQ(writer.get(), 1);
  EXPECT_EQ(count(), "1");
}

TEST_F(PostgresqlCommit, DoesNotHappenLaterWhereItWasRepeated) {
  add("before");  // from now on COMMIT is sent together with what it commits
  let_inserts_wait("create trigger wait after insert on things");
  HeldLock lock(open_database(server_.database(name_), log_));
  proxy_.cut_next(Cut::at_commit, "cut here");
  auto writer = std::async(std::launch::async, [&] {
    int runs = 0;
    database().write([&](Transaction& transaction) {
      ++runs;
      transaction.send("insert into things (name) values ('cut here')");
    });
    return runs;
  });
  EXPECT_TRUE(eventually([&] { return sql("select count(*) from digdag_native_commits where number < 0") != "0"; }));
  lock.release();
  EXPECT_EQ(writer.get(), 2);
  EXPECT_EQ(count(), "2");
}

TEST_F(Postgresql, CommitsLightlyWhereAPowerCutMayUndoIt) {
  const auto setting = [&](Durability durability) {
    return database().write(
        [](Transaction& transaction) { return transaction.query("select current_setting('synchronous_commit')").at(0).text(0); },
        durability);
  };
  EXPECT_EQ(setting(Durability::process), "off");
  EXPECT_EQ(setting(Durability::power_cut), "on");
}

TEST_F(Postgresql, CompressesLargeValuesTheFastWayUnlessItIsSetOtherwise) {
  const auto setting = [&] {
    return database().read(
        [](Transaction& transaction) { return transaction.query("select current_setting('default_toast_compression')").at(0).text(0); });
  };
  EXPECT_EQ(setting(), "lz4");
  sql("alter role current_user set default_toast_compression = 'pglz'");
  cut_off_all();
  EXPECT_EQ(setting(), "pglz");
  sql("alter role current_user reset default_toast_compression");
}

TEST_F(Postgresql, SendsMoreThanBothSidesCanBuffer) {
  const std::string text(1000, 'x');
  database().write([&](Transaction& transaction) {
    for (int i = 0; i < 20'000; ++i) transaction.send("select $1::text || generate_series(1, 2)", {text});
    transaction.send("insert into things (name) values ('a')", {}, 1);
  });
  EXPECT_EQ(count(), "1");
}

TEST_F(Postgresql, PreparesAgainWhatAChangeOfTheSchemaMadeStale) {
  const auto columns = [&] {
    return database().read([](Transaction& transaction) { return transaction.query("select * from things").size(); });
  };
  add("a");
  columns();
  sql("alter table things add column more text");
  EXPECT_EQ(columns(), 1u);
}

TEST_F(Postgresql, TellsAtOnceWhatWaitingCannotHelp) {
  system_.set("database.database", "nowhere");
  system_.set("database.password", "geheim");
  EXPECT_THAT(message_of([&] { database(); }), testing::AllOf(HasSubstr("database \"nowhere\" does not exist"), Not(HasSubstr("geheim"))));
  EXPECT_THAT(logged(), Not(HasSubstr("trying again")));
}

TEST_F(Postgresql, WarnsOfAnEncodingThatLacksCharactersAndRefusesThemInWordsThatItCanStore) {
  server_.sql("create database narrow encoding 'LATIN1' locale 'C' template template0");
  system_.set("database.database", "narrow");
  const auto store = [&](const std::string& text) {
    database().write([&](Transaction& transaction) {
      transaction.send("create table if not exists texts (text text)");
      transaction.send(
          "insert into texts values ($1)  -- long enough to be cut off where it is told, as a statement mostly is, and there as "
          "well must not stand anything that this database cannot take",
          {text}, 1);
    });
  };
  const std::string refusal = message_of([&] { store("\u3042"); });
  EXPECT_THAT(refusal, HasSubstr("has no equivalent in encoding \"LATIN1\""));
  store(refusal);
  EXPECT_THAT(logged(), HasSubstr("narrow has the encoding LATIN1: tasks and projects with other characters fail"));
}

TEST_F(Postgresql, HasAPlaceThatHoldsNoPassword) {
  SystemConfig system = system_;
  system.set("database.host", "db1");
  system.set("database.database", "digdag");
  system.set("database.password", "geheim");
  EXPECT_EQ(database_place(system), "PostgreSQL at db1:5432/digdag");
}

TEST_F(Postgresql, TellsWhereItCannotConnect) {
  system_.set("database.host", "127.0.0.1");
  system_.set("database.port", "1");
  system_.set("database.password", "geheim");
  system_.set("database.loginTimeout", "1");
  EXPECT_THAT(message_of([&] { database(); }),
              testing::AllOf(HasSubstr("cannot connect to PostgreSQL at 127.0.0.1:1/"),
                             HasSubstr("Connection refused; Is the server running"), Not(HasSubstr("geheim"))));
  try {
    database();
  } catch (const Error& error) {
    EXPECT_THAT(error.hint_text(), HasSubstr("database.host, .port"));
  }
}

TEST_F(Postgresql, ObeysDriverPropertiesThatItKnowsAndWarnsOfOthers) {
  sql("create schema \"own schema\"");
  system_.set("database.opts.ApplicationName", "night");
  system_.set("database.opts.currentSchema", "\"own schema\"");
  system_.set("database.opts.options", "-c statement_timeout=12345");
  system_.set("database.opts.reWriteBatchedInserts", "true");
  database().read([](Transaction& transaction) {
    const auto setting = [&](const std::string& name) { return transaction.query("select current_setting($1)", {name}).at(0).text(0); };
    EXPECT_EQ(setting("application_name"), "night");
    EXPECT_EQ(setting("search_path"), "\"own schema\"");
    EXPECT_EQ(setting("statement_timeout"), "12345ms");
    EXPECT_EQ(setting("jit"), "off");
  });
  EXPECT_THAT(logged(), HasSubstr("database.opts.reWriteBatchedInserts is ignored"));
}

/// What is heard, by everybody who listens.
class Heard {
 public:
  std::function<void(const std::string&)> ear() {
    return [this](const std::string& text) {
      const std::lock_guard lock(mutex_);
      ++times_[text];
    };
  }
  int times(const std::string& text) {
    const std::lock_guard lock(mutex_);
    return times_[text];
  }

 private:
  std::mutex mutex_;
  std::map<std::string, int> times_;
};

TEST_F(Postgresql, WhatIsSaidIsHeardAfterTheCommit) {
  system_.set("database.maximumPoolSize", "2");  // one listens, one works
  Heard heard;
  const auto listening = database().listen({.heard = heard.ear()});
  ASSERT_TRUE(listening);
  database().write([&](Transaction& transaction) {
    transaction.notify("schedules");
    transaction.notify("schedules");
    transaction.query("select 1");
    EXPECT_EQ(heard.times("schedules"), 0);
  });
  EXPECT_TRUE(eventually([&] { return heard.times("schedules") == 1; }));
  EXPECT_THROW(database().write([](Transaction& transaction) {
    transaction.notify("attempts");
    throw Error("internal", "rolled back");
  }),
               Error);
  database().write([](Transaction& transaction) { transaction.notify("other"); });
  EXPECT_TRUE(eventually([&] { return heard.times("other") == 1; }));
  EXPECT_EQ(heard.times("attempts"), 0);
}

// decisions E-44
TEST_F(Postgresql, ListensAgainWhereItsConnectionIsLost) {
  Heard heard;
  const auto listening = database().listen({.heard = heard.ear(), .lock_key = 4711});
  EXPECT_TRUE(eventually([&] { return heard.times("") == 1; }));
  cut_off_all();
  EXPECT_TRUE(eventually([&] { return heard.times("") == 2; }));  // something may have been said meanwhile
  database().write([](Transaction& transaction) { transaction.notify("attempts"); });
  EXPECT_TRUE(eventually([&] { return heard.times("attempts") == 1; }));
  EXPECT_TRUE(eventually([&] { return sql("select pg_try_advisory_lock(4711)") == "f"; }));
}

// decisions E-44
TEST_F(Postgresql, TheLockOfOneThatEndedIsFree) {
  Heard heard;
  auto listening = database().listen({.heard = heard.ear(), .lock_key = 4711});
  EXPECT_EQ(sql("select pg_try_advisory_lock(4711)"), "f");
  listening.reset();
  EXPECT_TRUE(eventually([&] { return sql("select pg_try_advisory_lock(4711)") == "t"; }));
}

TEST_F(Postgresql, OneConnectionIsNotSpentOnListening) {
  system_.set("database.maximumPoolSize", "1");
  EXPECT_FALSE(database().listen({.heard = [](const std::string&) {}}));
  add("a");
}

TEST_F(Postgresql, NamesMissingAndWrongKeys) {
  const auto with = [&](const char* key, const char* value) {
    SystemConfig system = system_;
    system.set(key, value);
    return message_of([&] { open_database(system, log_); });
  };
  EXPECT_THAT(with("database.host", ""), HasSubstr("Parameter 'database.host' is required but not set"));
  EXPECT_THAT(with("database.port", "70000"), HasSubstr("database.port"));
  EXPECT_THAT(with("database.maximumPoolSize", "0"), HasSubstr("database.maximumPoolSize"));
  EXPECT_THAT(with("database.type", "oracle"), HasSubstr("Unknown database.type: oracle"));
  const ProxyForTest proxy(server_.socket());
  system_.set("database.host", "127.0.0.1");
  system_.set("database.port", std::to_string(proxy.port()));
  EXPECT_THAT(with("database.ssl", "true"), HasSubstr("server does not support SSL, but SSL was required"));
}

}  // namespace
}  // namespace digdag::store
