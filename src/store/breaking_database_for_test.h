#pragma once

#include <exception>
#include <string_view>
#include <vector>

#include "store/database.h"

namespace digdag::store {

/// For tests: a transaction, and a database of them, whose connection breaks for good at a statement: as if the process had ended there.
class Broken : public std::exception {};

class BreakingTransaction : public Transaction {
 public:
  BreakingTransaction(Transaction& real, int& left) : real_(real), left_(left) {}
  Rows query(const Sql& sql, const SqlValues& parameters) override {
    count();
    return real_.query(sql, parameters);
  }
  std::int64_t execute(const Sql& sql, const SqlValues& parameters) override {
    count();
    return real_.execute(sql, parameters);
  }
  void send(const Sql& sql, const SqlValues& parameters, std::optional<std::int64_t> expected) override {
    count();
    real_.send(sql, parameters, expected);
  }
  void send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected) override {
    count();
    real_.send_rows(sql, columns, expected);
  }

 private:
  void count() {
    if (left_-- == 0) throw Broken();
  }
  Transaction& real_;
  int& left_;
};

class BreakingDatabase : public Database {
 public:
  BreakingDatabase(Database& real, int statements) : real_(real), left_(statements) {}
  std::string_view type() const override { return real_.type(); }
  void shut_down() override { real_.shut_down(); }

 protected:
  void run_write(const Body& work, Durability durability, Patience patience) override {
    real_.write([&](Transaction& transaction) { run(work, transaction); }, durability, patience);
  }
  void run_read(const Body& work, Patience patience) override {
    real_.read([&](Transaction& transaction) { run(work, transaction); }, patience);
  }
  void run_one_by_one(const Body& work, Patience patience) override {
    real_.write_one_by_one([&](Transaction& transaction) { run(work, transaction); }, patience);
  }

 private:
  void run(const Body& work, Transaction& real) {
    BreakingTransaction transaction(real, left_);
    work(transaction);
  }
  Database& real_;
  int left_;
};

}  // namespace digdag::store
