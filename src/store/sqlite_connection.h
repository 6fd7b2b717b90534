#pragma once

#include <filesystem>
#include <unordered_map>
#include <vector>

#include "store/database.h"
#include "store/sqlite_library.h"

namespace digdag::store {

/// A connection to a SQLite file. For one thread at a time.
class SqliteConnection {
 public:
  /// `flags` of sqlite3_open_v2. A file of `:memory:` is a private database in memory.
  SqliteConnection(std::filesystem::path file, int flags);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  /// A statement without parameters and rows: a pragma, `begin`.
  void run(const char* sql);
  /// Runs a statement and gives how many rows it changed, or found where it only reads; `rows`: what it found, unless null. Its text is
  /// known by its address from now on.
  std::int64_t run(const char* sql, const SqlValues& parameters, Rows* rows);
  /// What `now()` gives from now on.
  void set_now(Timestamp now) { now_ = now.micros; }
  bool in_transaction() const;
  /// Ends a transaction that may have ended by itself; an error here changes nothing that counts.
  void roll_back();

 private:
  sqlite3_stmt* prepared(const char* sql);
  [[noreturn]] void fail(const char* sql);

  const Sqlite3& library_;
  std::filesystem::path file_;
  sqlite3* database_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
  std::int64_t now_ = 0;
};

/// A transaction that somebody else has begun on the connection and ends.
class SqliteTransaction : public Transaction {
 public:
  explicit SqliteTransaction(SqliteConnection& connection) : connection_(connection) {}
  Rows query(const Sql& sql, const SqlValues& parameters) override;
  std::int64_t execute(const Sql& sql, const SqlValues& parameters) override;
  void send(const Sql& sql, const SqlValues& parameters, std::optional<std::int64_t> expected) override;
  void send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected) override;
  /// Throws the first error of a statement, also where the work caught it: such a transaction must not be committed.
  void must_be_good() const;

 private:
  std::int64_t run(const Sql& sql, const SqlValues& parameters, Rows* rows);
  void expect(const Sql& sql, std::optional<std::int64_t> expected, std::int64_t changed);

  SqliteConnection& connection_;
  std::exception_ptr failure_;
};

}  // namespace digdag::store
