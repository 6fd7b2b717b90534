#include "store/servers.h"

#include <gtest/gtest.h>

#include "base/eventually_for_test.h"
#include "store/schema_for_test.h"

namespace digdag::store {
namespace {

class Servers : public DatabaseWithSchema {
 protected:
  /// A server of another machine, which nothing but the database tells about. `key`: of its lock.
  ServerProcess elsewhere(const std::string& id, std::int64_t key = 0) {
    ServerProcess server{.id = id, .host = "elsewhere", .boot_id = "another", .pid = 1, .process_start = 1, .agent_id = "1@elsewhere"};
    server.lock_key = key;
    return server;
  }
  void insert(const ServerProcess& server) {
    write([&](Transaction& transaction) { insert_server(transaction, server); });
  }
  void let_pass(const std::string& id, std::int64_t seconds) {
    static constexpr Sql sql(
        "update digdag_native_servers set lease_expires_at = lease_expires_at - make_interval(secs => cast($2 as double precision)) where "
        "id = $1",
        "update digdag_native_servers set lease_expires_at = lease_expires_at - $2 * 1000000 where id = $1");
    write([&](Transaction& transaction) { transaction.execute(sql, {id, seconds}); });
  }
  bool is_dead(const std::string& id, bool alone = false) {
    return write([&](Transaction& transaction) {
      for (const ServerProcess& dead : dead_servers(transaction, here_, alone)) {
        if (dead.id == id) return true;
      }
      return false;
    });
  }
  /// PostgreSQL has just been started, and all get the time to come back.
  bool is_dead_in_the_end(const std::string& id) {
    return eventually([&] { return is_dead(id); });
  }

  const ServerProcess here_ = this_process("1@here");
};

// decisions E-44
TEST_P(Servers, OneThatDoesNotRenewItsLeaseIsDead) {
  insert(here_);
  insert(elsewhere("a"));
  insert(elsewhere("b"));
  let_pass("b", 11);
  EXPECT_TRUE(is_dead_in_the_end("b"));
  EXPECT_FALSE(is_dead("a"));
  EXPECT_TRUE(is_dead("a", true));
  EXPECT_FALSE(is_dead(here_.id, true));
}

// decisions E-44
TEST_P(Servers, ALeaseLastsAsLongAsTheConfigurationSays) {
  ServerProcess patient = elsewhere("patient");
  patient.lease = std::chrono::seconds(60);
  insert(patient);
  insert(elsewhere("other"));
  let_pass("patient", 30);
  let_pass("other", 30);
  EXPECT_TRUE(is_dead_in_the_end("other"));
  EXPECT_FALSE(is_dead("patient"));
  write([&](Transaction& transaction) { renew_server(transaction, patient); });
  let_pass("patient", 59);
  EXPECT_FALSE(is_dead("patient"));
}

// decisions E-44
TEST_P(Servers, OneOfThisMachineThatHasEndedIsDeadAtOnce) {
  ServerProcess ended = here_;
  ended.id = "ended";
  ++ended.process_start;  // its number belongs to another process now
  insert(ended);
  EXPECT_TRUE(is_dead("ended"));
  ServerProcess rebooted = here_;
  rebooted.id = "rebooted";
  rebooted.boot_id = "before";
  insert(rebooted);
  EXPECT_FALSE(is_dead("rebooted"));
}

// decisions E-44
TEST_P(Servers, OneWhoseLockIsFreeIsDeadWhenItHasMissedARenewal) {
  if (database_->type() != "postgresql") return;
  insert(elsewhere("fresh", 1));
  insert(elsewhere("connected", 2));
  insert(elsewhere("gone", 3));
  const auto listening = database_->listen({.heard = [](const std::string&) {}, .lock_key = 2});
  let_pass("connected", 5);
  let_pass("gone", 5);
  EXPECT_TRUE(eventually([&] {
    // As it does itself every three seconds.
    write([&](Transaction& transaction) { renew_server(transaction, elsewhere("fresh")); });
    return is_dead("gone");
  }));
  EXPECT_FALSE(is_dead("fresh"));  // it only connects anew
  let_pass("connected", -5);
  EXPECT_FALSE(is_dead("connected"));
}

// decisions E-44
TEST_P(Servers, RenewingTellsOfTheOthersAndThatOneWasTakenForDead) {
  insert(here_);
  const auto renew = [&] { return write([&](Transaction& transaction) { return renew_server(transaction, here_); }); };
  EXPECT_EQ(renew(), 0);
  insert(elsewhere("a"));
  EXPECT_EQ(renew(), 1);
  write([&](Transaction& transaction) { remove_server(transaction, here_); });
  EXPECT_EQ(renew(), std::nullopt);
}

TEST_P(Servers, WhatConnectionsHaveLeftIsForgottenAfterAMonth) {
  const auto marks = [&] {
    return write([](Transaction& transaction) {
      return transaction.query("select id from digdag_native_commits where id in ('old', 'new')").size();
    });
  };
  write([](Transaction& transaction) {
    const Timestamp today = transaction.now();
    const auto left = [&](const std::string& id, int days) {
      transaction.send("insert into digdag_native_commits (id, number, at) values ($1, 1, $2)",
                       {id, Timestamp{today.micros - days * std::int64_t{86'400'000'000}}});
    };
    left("old", 31);
    left("new", 29);
  });
  EXPECT_EQ(marks(), 2u);
  write([](Transaction& transaction) { forget_old_commits(transaction); });
  EXPECT_EQ(marks(), 1u);
}

DIGDAG_FOR_EVERY_DATABASE(Servers);

}  // namespace
}  // namespace digdag::store
