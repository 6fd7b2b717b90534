#pragma once

#include <atomic>
#include <string_view>

#include "store/database.h"

namespace digdag::store {

/// For tests: a database that goes away and comes back.
class AwayDatabase : public Database {
 public:
  explicit AwayDatabase(Database& real) : real_(real) {}
  std::string_view type() const override { return real_.type(); }
  void shut_down() override { real_.shut_down(); }

  std::atomic<bool> is_away = false;
  std::atomic<int> left = -1;    ///< pieces of work until it goes away by itself; negative: it does not
  std::atomic<int> refused = 0;  ///< pieces of work, while it was away

 protected:
  void run_write(const Body& work, Durability durability, Patience patience) override {
    must_be_there();
    real_.write([&](Transaction& transaction) { work(transaction); }, durability, patience);
  }
  void run_read(const Body& work, Patience patience) override {
    must_be_there();
    real_.read([&](Transaction& transaction) { work(transaction); }, patience);
  }

 private:
  void must_be_there() {
    if (left >= 0 && left-- == 0) is_away = true;
    if (!is_away) return;
    ++refused;
    throw DatabaseError(DatabaseError::Cause::unavailable, "it is away");
  }
  Database& real_;
};

}  // namespace digdag::store
