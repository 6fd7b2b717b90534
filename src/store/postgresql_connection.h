#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/database.h"
#include "store/postgresql_library.h"
#include "store/postgresql_settings.h"
#include "store/postgresql_values.h"

namespace digdag::store {

using Deadline = std::optional<std::chrono::steady_clock::time_point>;

/// An error of the server or of the connection, and what may be done about it.
class PostgresqlError : public DatabaseError {
 public:
  enum class Then {
    give_up,
    repeat,     ///< the transaction had to yield to another one
    reconnect,  ///< the connection is lost: how far it came is unknown
  };
  PostgresqlError(Then then, Cause cause, std::string message) : DatabaseError(cause, std::move(message)), then_(then) {}
  Then then() const { return then_; }

 private:
  Then then_;
};

/// A connection in pipeline mode: statements are sent without waiting, answers come in the same order. For one thread at a time.
/// Every function throws PostgresqlError; where `is_usable` is false afterwards, the connection must be closed.
class PostgresqlConnection {
 public:
  /// Connects. `wake`: a file that becomes readable when all waiting must end.
  PostgresqlConnection(const PostgresqlSettings& settings, int wake, Deadline deadline);
  ~PostgresqlConnection();
  PostgresqlConnection(const PostgresqlConnection&) = delete;
  PostgresqlConnection& operator=(const PostgresqlConnection&) = delete;

  /// Where an answer goes, and what it must be.
  struct Wish {
    std::optional<std::int64_t> expected = std::nullopt;  ///< rows changed
    Rows* rows = nullptr;
    std::int64_t* changed = nullptr;
  };
  /// Sends a statement. Its text is known by its address from now on.
  void send(const char* sql, const PostgresqlParameters& parameters, Wish wish);
  void send(const char* sql) { send(sql, PostgresqlParameters(SqlValues{}), {}); }
  /// Waits for the answers to all that was sent. Throws the first error, also DatabaseError(unexpected_rows); what comes after an
  /// error of the server is skipped by it until `synchronize`.
  void receive();
  /// Whether an answer is still out that could fail for its number of rows.
  bool expects_rows() const;
  /// Ends the pipeline and waits for all answers. Throws the first error; the connection can be used again all the same.
  void synchronize();
  /// The same without waiting: the next user does.
  void synchronize_later();
  /// Waits for what others say (NOTIFY) and gives it; nothing where `stop` became readable.
  std::vector<std::string> wait_for_notices(int stop);
  /// Whether the server is still there, as far as can be told without asking it.
  bool is_alive();
  bool is_usable() const { return usable_; }
  /// Since when its user waits for the server, which has sent nothing since; nothing where nobody waits. From any thread.
  std::optional<std::chrono::steady_clock::time_point> waits_since() const;
  /// Whether it is there for `wait_for_notices`. From any thread.
  bool listens() const { return listens_; }
  /// Closes it when it is given back: the server ends what belongs to its session.
  void abandon() { usable_ = false; }

  /// In which the database stores texts: `UTF8`.
  std::string encoding() const { return library_.parameterStatus(connection_, "server_encoding"); }
  /// A random UUID: no other connection has it.
  const std::string& id() const { return id_; }
  /// 1, 2, 3, …: the transactions that write.
  std::int64_t next_transaction() { return ++transactions_; }
  /// Whether the table digdag_native_commits was seen; it is made after the first connections.
  bool has_marks = false;

 private:
  static constexpr std::chrono::steady_clock::time_point nobody_waits = std::chrono::steady_clock::time_point::max();
  struct Pending {
    const char* sql;
    bool prepare;
    Wish wish;
  };
  void connect(Deadline deadline);
  [[noreturn]] void refuse_to_connect();
  void wait(bool for_write, Deadline deadline);
  Deadline answer_deadline() const;  ///< database.socketTimeout from now on
  void flush();
  PGresult* next_result();
  void take_answer(const Pending& pending, PGresult* result);
  void receive_pending();
  void drain();
  [[noreturn]] void lost(const std::string& why);
  PostgresqlError error_of(const PGresult* result, const char* sql);

  const Libpq& library_;
  const PostgresqlSettings& settings_;
  const int wake_;
  const std::string id_;
  std::int64_t transactions_ = 0;
  PGconn* connection_ = nullptr;
  bool usable_ = true;
  std::atomic<std::chrono::steady_clock::time_point> waits_since_ = nobody_waits;
  std::atomic<bool> listens_ = false;
  std::deque<Pending> pending_;
  std::size_t synchronizations_ = 0;  ///< sent and not yet answered
  /// Names of prepared statements by the address of their text.
  std::unordered_map<const char*, std::string> statements_;
  std::size_t statement_count_ = 0;
};

}  // namespace digdag::store
