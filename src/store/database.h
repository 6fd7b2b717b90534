#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"

namespace digdag::store {

/// A moment as the database keeps it (`timestamptz`): microseconds since 1970-01-01T00:00:00Z.
struct Timestamp {
  std::int64_t micros = 0;
  Instant instant() const;  ///< whole milliseconds, rounded down
  static Timestamp of(Instant instant);
  friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};
/// `bytea`, a blob.
struct Bytes {
  std::string bytes;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};
struct Null {
  friend bool operator==(Null, Null) { return true; }
};
/// Of a row or a parameter. Text also stands for JSON and UUIDs. The lists are parameters only: `id = any($1)` in PostgreSQL,
/// `id in (select value from json_each($1))` in SQLite.
using SqlValue = std::variant<Null, std::int64_t, std::string, Bytes, Timestamp, std::vector<std::int64_t>, std::vector<std::string>>;
using SqlValues = std::vector<SqlValue>;

template <typename T>
SqlValue sql_value(const std::optional<T>& value) {
  return value ? SqlValue(*value) : SqlValue(Null{});
}

/// A statement. Its text is a constant of the program (the compiler sees to it): nothing that came from outside can become SQL.
/// Parameters are $1, $2, … in both databases; what both understand: `cast($1 as bigint)`, `on conflict … do`, `returning`, `now()`.
class Sql {
 public:
  consteval explicit(false) Sql(const char* text) : postgresql(text), sqlite(text) {}
  /// Where the two need different texts. nullptr: nothing is to be done there (`send` and `send_rows` alone).
  consteval Sql(const char* postgresql_text, const char* sqlite_text) : postgresql(postgresql_text), sqlite(sqlite_text) {}

  const char *postgresql, *sqlite;
};

/// One row of an answer. A getter of the wrong type, or of NULL where it is not optional, throws std::logic_error.
class Row {
 public:
  explicit Row(SqlValues values) : values_(std::move(values)) {}
  bool is_null(std::size_t column) const { return std::holds_alternative<Null>(values_.at(column)); }
  std::int64_t integer(std::size_t column) const;
  const std::string& text(std::size_t column) const;
  const std::string& bytes(std::size_t column) const;
  Timestamp time(std::size_t column) const;
  bool boolean(std::size_t column) const;  ///< `boolean` of PostgreSQL, 0 or 1 of SQLite
  std::optional<std::int64_t> optional_integer(std::size_t column) const;
  std::optional<std::string> optional_text(std::size_t column) const;
  std::optional<Timestamp> optional_time(std::size_t column) const;

 private:
  SqlValues values_;
};
using Rows = std::vector<Row>;

/// The database refused a statement, cannot be reached or lost the connection (kind "database"). Never holds a password.
class DatabaseError : public Error {
 public:
  enum class Cause { unavailable, refused, unexpected_rows };
  DatabaseError(Cause cause, std::string message) : Error("database", std::move(message)), cause_(cause) {}
  Cause why() const { return cause_; }

 private:
  Cause cause_;
};

/// Statements that take effect together or not at all. Belongs to the thread that runs the piece of work.
///
/// In PostgreSQL statements of `send` are not waited for (pipeline mode); the next `query` or the commit gets their errors. So a unit of
/// work should send all that it can before it asks. After an error of a statement nothing more can be done: all further ones throw it
/// again, and nothing is committed even where the work caught it.
class Transaction {
 public:
  virtual ~Transaction() = default;
  virtual Rows query(const Sql& sql, const SqlValues& parameters = {}) = 0;
  /// Runs a statement whose rows nobody reads and tells how many rows it changed; for a `select` how many it found (locked).
  virtual std::int64_t execute(const Sql& sql, const SqlValues& parameters = {}) = 0;
  /// Runs a statement without waiting. `expected`: the number of rows that it must change, else the transaction fails with
  /// DatabaseError(unexpected_rows): somebody else was there (a lost owner, an old lease).
  virtual void send(const Sql& sql, const SqlValues& parameters = {}, std::optional<std::int64_t> expected = std::nullopt) = 0;
  /// The same for many rows. `columns` have equal lengths. PostgreSQL gets one statement whose parameters are arrays
  /// (`… select * from unnest($1::bigint[], $2::text[])`), SQLite its own text once for each row.
  virtual void send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected = std::nullopt) = 0;
  /// The time of the database at the begin of this transaction, which is what `now()` gives in it.
  Timestamp now();
  /// The first row; nothing where there is none.
  std::optional<Row> first(const Sql& sql, const SqlValues& parameters = {});
  bool changes_one(const Sql& sql, const SqlValues& parameters) { return execute(sql, parameters) == 1; }
  /// Says this to all who listen (Database::listen) when the transaction is committed; the same text twice is said once.
  void notify(const std::string& text) { send({"select pg_notify('digdag', $1)", nullptr}, {text}); }
};

/// What a commit must outlive. `power_cut`: what is acknowledged to somebody (push, start, kill, secrets, schedules). `process`: a
/// hand-over inside of this process; a power cut may undo the last ones, in the order in which they were made (docs/durability.md).
enum class Durability : std::uint8_t { power_cut, process };

/// One database: PostgreSQL through a pool of connections, or SQLite with one writer that commits what waits together.
///
/// Thread-safe. A piece of work blocks its thread and uses one connection; it must not open another one inside (std::logic_error).
class Database {
 public:
  virtual ~Database() = default;

  /// How long a piece of work waits for a connection or for a database that went away, before DatabaseError(unavailable). Nothing:
  /// until `shut_down`. A full disk is not waited for: it is that error at once.
  using Patience = std::optional<std::chrono::milliseconds>;
  static constexpr std::chrono::seconds default_patience{30};

  /// Runs `work(Transaction&)` and commits; gives what it gives. Where the connection is lost, or the database ends a deadlock by
  /// refusing one side, it is run again as a whole, so it must have no effect but its result. An unknown outcome of a commit is
  /// found out before anything is repeated. What `work` throws rolls everything back and comes out unchanged.
  template <typename Work>
  std::invoke_result_t<Work&, Transaction&> write(Work work, Durability durability = Durability::power_cut,
                                                  Patience patience = default_patience) {
    return give(work, [&](const Body& body) { run_write(body, durability, patience); });
  }
  /// The same for work that changes nothing.
  template <typename Work>
  std::invoke_result_t<Work&, Transaction&> read(Work work, Patience patience = default_patience) {
    return give(work, [&](const Body& body) { run_read(body, patience); });
  }

  /// Runs work each of whose statements takes effect by itself, at once, and is not repeated: `create index concurrently`, which
  /// PostgreSQL refuses in a transaction, and locks of the session around it, which end with the work. For migrations. In SQLite the
  /// same as `write`.
  template <typename Work>
  void write_one_by_one(Work work, Patience patience = default_patience) {
    run_one_by_one([&](Transaction& transaction) { work(transaction); }, patience);
  }

  /// What a process hears from others on the same database.
  struct Ear {
    /// Somebody, perhaps this process, has said this (Transaction::notify). "" after every connect: anything may have been said before.
    /// On a thread of its own; must not block, and must not use the database.
    std::function<void(const std::string& text)> heard;
    std::int64_t lock_key = 0;  ///< an advisory lock that is held while the connection stands; nobody else has its number
  };
  class Listening {
   public:
    virtual ~Listening() = default;
  };
  /// Listens until the result goes. Takes one connection for itself, and another one where that is lost; the lock of the first is held
  /// when this returns. nullptr where nobody can be heard: in SQLite, which one process uses, and where there is only one connection.
  virtual std::unique_ptr<Listening> listen(const Ear&) { return nullptr; }

  /// `postgresql`, `sqlite`, `memory`.
  virtual std::string_view type() const = 0;
  /// Ends waiting for a database that is away: pieces of work under way fail with DatabaseError(unavailable).
  virtual void shut_down() = 0;

 protected:
  using Body = std::function<void(Transaction&)>;
  virtual void run_write(const Body& work, Durability durability, Patience patience) = 0;
  virtual void run_read(const Body& work, Patience patience) = 0;
  virtual void run_one_by_one(const Body& work, Patience patience) { run_write(work, Durability::power_cut, patience); }

 private:
  template <typename Work, typename Run>
  static auto give(Work& work, const Run& run) {
    using Result = std::invoke_result_t<Work&, Transaction&>;
    if constexpr (std::is_void_v<Result>) {
      run([&](Transaction& transaction) { work(transaction); });
    } else {
      std::optional<Result> result;
      run([&](Transaction& transaction) { result.emplace(work(transaction)); });
      return std::move(*result);
    }
  }
};

/// Opens the database that `database.*` names (spec/server.md 4.2, 9; decisions.md 8.3) without looking at its schema. Throws Error(config)
/// for wrong keys, DatabaseError where it cannot be reached within `database.loginTimeout`.
std::unique_ptr<Database> open_database(const SystemConfig& system, Log& log);
/// False where `open_database` would make a new SQLite file, so that one can look without making it.
bool database_exists(const SystemConfig& system);

}  // namespace digdag::store
