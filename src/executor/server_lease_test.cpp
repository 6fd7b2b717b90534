#include "executor/server_lease.h"

#include <gmock/gmock.h>

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/eventually_for_test.h"
#include "store/away_database_for_test.h"
#include "store/schema_for_test.h"

namespace digdag::executor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A server and, perhaps, another one, on a database that goes away.
class ServerLeaseOf : public store::DatabaseWithSchema {
 protected:
  void insert_other() {
    store::ServerProcess other{.id = "other", .host = "elsewhere", .boot_id = "another", .pid = 1, .process_start = 1, .agent_id = "1@b"};
    write([&](store::Transaction& transaction) { store::insert_server(transaction, other); });
  }
  void start(std::chrono::milliseconds kept) {
    away_.emplace(*database_);
    lease_.emplace(ServerLease::Options{here_, [this] { note("lost"); }, [this] { note("regained"); }, kept}, *away_, log_);
    lease_->start();
  }
  void note(std::string what) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(what));
  }
  std::vector<std::string> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  bool is_registered() {
    return write([&](store::Transaction& transaction) {
      return transaction.first("select 1 from digdag_native_servers where id = $1", {here_.id}).has_value();
    });
  }

  const store::ServerProcess here_ = store::this_process("1@here");
  std::mutex mutex_;
  std::vector<std::string> events_;
  std::optional<store::AwayDatabase> away_;
  std::optional<ServerLease> lease_;
};

// decisions E-44
TEST_P(ServerLeaseOf, OneThatCannotRenewStopsAsLongAsOthersMayBeginItsRuns) {
  insert_other();
  start(std::chrono::milliseconds(300));
  EXPECT_TRUE(lease_->has_company()) << "from the start";
  away_->is_away = true;
  ASSERT_TRUE(eventually([&] { return !events().empty(); }));
  away_->is_away = false;
  lease_->renew_soon();
  ASSERT_TRUE(eventually([&] { return events().size() == 2; }));
  EXPECT_THAT(events(), ElementsAre("lost", "regained"));
  EXPECT_TRUE(is_registered());
  for (const int lease : {1, 3, 10, 60})
    EXPECT_LT(time_kept(std::chrono::seconds(lease)), std::chrono::seconds(lease)) << "others must not begin before";
}

// decisions E-44
TEST_P(ServerLeaseOf, AloneItGoesOnHoweverLongTheDatabaseIsAway) {
  start(std::chrono::milliseconds(1));
  away_->is_away = true;
  for (int renewals = 1; renewals <= 5; ++renewals) {
    lease_->renew_soon();
    ASSERT_TRUE(eventually([&] { return away_->refused >= renewals; }));
  }
  EXPECT_THAT(events(), IsEmpty());
}

// decisions E-44
TEST_P(ServerLeaseOf, OneThatWasTakenForDeadStopsAndGoesOnAsANewOne) {
  start(time_kept(here_.lease));
  write([&](store::Transaction& transaction) { store::remove_server(transaction, here_); });
  lease_->renew_soon();
  ASSERT_TRUE(eventually([&] { return events().size() == 2; }));
  EXPECT_THAT(events(), ElementsAre("lost", "regained"));
  EXPECT_TRUE(is_registered());
}

DIGDAG_FOR_EVERY_DATABASE(ServerLeaseOf);

}  // namespace
}  // namespace digdag::executor
