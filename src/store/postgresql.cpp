#include "store/postgresql.h"

#include <algorithm>

#include "store/postgresql_pool.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using Then = PostgresqlError::Then;
using std::chrono::milliseconds;

enum class Mode { write, read, one_by_one };

/// A transaction of one connection. Begins with its first statement.
class PostgresqlTransaction : public Transaction {
 public:
  PostgresqlTransaction(PostgresqlConnection& connection, Mode mode, Durability durability)
      : connection_(connection), mode_(mode), durability_(durability) {}

  Rows query(const Sql& sql, const SqlValues& parameters) override {
    Rows rows;
    guarded([&] { ask(sql, parameters, {.rows = &rows}); });
    return rows;
  }
  std::int64_t execute(const Sql& sql, const SqlValues& parameters) override {
    std::int64_t changed = 0;
    guarded([&] { ask(sql, parameters, {.changed = &changed}); });
    return changed;
  }
  void send(const Sql& sql, const SqlValues& parameters, std::optional<std::int64_t> expected) override {
    guarded([&] { send(sql, PostgresqlParameters(parameters), {.expected = expected}); });
  }
  void send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected) override {
    guarded([&] { send(sql, PostgresqlParameters(columns), {.expected = expected}); });
  }

  void commit() {
    if (begun_) guarded([&] { mode_ == Mode::read ? end_read() : end_write(); });
  }
  /// Leaves the connection as it was before, or not usable.
  void roll_back() noexcept {
    try {
      if (!begun_ || !connection_.is_usable()) return;
      try {
        connection_.synchronize();
      } catch (const std::exception&) {  // what is to be rolled back
      }
      if (!connection_.is_usable()) return;
      connection_.send("rollback");
      connection_.synchronize();
    } catch (const std::exception&) {  // then it is not usable
    }
  }

  /// The first error, also where the work caught it.
  const std::exception_ptr& failure() const { return failure_; }
  /// Set while the outcome of the commit is not known.
  const std::string& transaction_id() const { return id_; }
  bool commit_was_sent() const { return commit_sent_; }

 private:
  template <typename Step>
  void guarded(const Step& step) {
    if (failure_) std::rethrow_exception(failure_);
    try {
      step();
    } catch (...) {
      failure_ = std::current_exception();
      throw;
    }
  }

  void send(const Sql& sql, const PostgresqlParameters& parameters, PostgresqlConnection::Wish wish) {
    if (!begun_ && mode_ == Mode::write) {
      connection_.send("begin isolation level read committed");
      if (durability_ == Durability::process) connection_.send("set local synchronous_commit = off");
    } else if (!begun_ && mode_ == Mode::read) {
      connection_.send("begin isolation level read committed read only");
    }
    begun_ = mode_ != Mode::one_by_one;
    connection_.send(sql.postgresql, parameters, wish);
    if (mode_ == Mode::one_by_one) connection_.synchronize();
  }

  void ask(const Sql& sql, const SqlValues& parameters, PostgresqlConnection::Wish wish) {
    send(sql, PostgresqlParameters(parameters), wish);
    if (mode_ == Mode::one_by_one) return;
    Rows id;
    if (mode_ == Mode::write && id_.empty()) ask_for_id(id);
    connection_.receive();
    keep_id(id);
  }

  /// Nothing where nothing has been written yet.
  void ask_for_id(Rows& id) {
    static const PostgresqlParameters none{SqlValues{}};
    connection_.send("select pg_current_xact_id_if_assigned()::text", none, {.rows = &id});
  }
  void keep_id(const Rows& id) {
    if (!id.empty()) id_ = id[0].optional_text(0).value_or("");
  }

  /// COMMIT is sent when the id is known, by which its outcome can be found out, and all numbers of rows are as expected.
  void end_write() {
    if (id_.empty() || connection_.expects_rows()) {
      Rows id;
      ask_for_id(id);
      connection_.receive();
      keep_id(id);
    }
    commit_sent_ = true;
    connection_.send("commit");
    connection_.synchronize();
  }

  void end_read() {
    connection_.receive();
    connection_.send("commit");
    connection_.synchronize_later();
  }

  PostgresqlConnection& connection_;
  const Mode mode_;
  const Durability durability_;
  bool begun_ = false, commit_sent_ = false;
  std::string id_;
  std::exception_ptr failure_;
};

/// A connection of the pool while it lives.
class Lease {
 public:
  Lease(PostgresqlPool& pool, Deadline deadline) : pool_(pool), connection_(pool.take(deadline)) {}
  ~Lease() { pool_.give_back(std::move(connection_)); }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  PostgresqlConnection& operator*() const { return *connection_; }

 private:
  PostgresqlPool& pool_;
  std::unique_ptr<PostgresqlConnection> connection_;
};

/// What may be done about an error; nothing for one that is not of the server.
Then then_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const PostgresqlError& error) {
    return error.then();
  } catch (...) {
    return Then::give_up;
  }
}

class PostgresqlDatabase : public Database {
 public:
  PostgresqlDatabase(PostgresqlSettings settings, Log& log) : pool_(std::move(settings), log) {
    pool_.give_back(pool_.take(deadline_of(pool_.settings().login_timeout)));
  }

  std::string_view type() const override { return "postgresql"; }
  void shut_down() override { pool_.shut_down(); }

 protected:
  void run_write(const Body& work, Durability durability, Patience patience) override { run(work, Mode::write, durability, patience); }
  void run_read(const Body& work, Patience patience) override { run(work, Mode::read, Durability::process, patience); }
  void run_one_by_one(const Body& work, Patience patience) override {
    const UnitOfWork unit;
    const Lease connection(pool_, deadline_of(patience));
    PostgresqlTransaction statements(*connection, Mode::one_by_one, Durability::power_cut);
    work(statements);
  }

 private:
  static Deadline deadline_of(Patience patience) {
    return patience ? Deadline(std::chrono::steady_clock::now() + *patience) : std::nullopt;
  }

  void run(const Body& work, Mode mode, Durability durability, Patience patience) {
    const UnitOfWork unit;
    const Deadline deadline = deadline_of(patience);
    for (int repetition = 0;; ++repetition) {
      const std::exception_ptr failure = try_once(work, mode, durability, deadline);
      if (!failure) return;
      if (deadline && std::chrono::steady_clock::now() >= *deadline) std::rethrow_exception(failure);
      // At once, then more and more slowly: what broke it may be there still.
      if (repetition > 0) pool_.pause(std::min(milliseconds(5 << std::min(repetition, 10)), milliseconds(1000)), deadline);
    }
  }

  /// Throws what cannot be helped; gives what can by running the work again.
  std::exception_ptr try_once(const Body& work, Mode mode, Durability durability, Deadline deadline) {
    std::exception_ptr failure, thrown;
    std::string unknown;  // the id of a transaction whose commit was not answered
    {
      const Lease connection(pool_, deadline);
      PostgresqlTransaction transaction(*connection, mode, durability);
      try {
        work(transaction);
        if (!transaction.failure()) transaction.commit();
        if (!transaction.failure()) return nullptr;
      } catch (...) {
        thrown = std::current_exception();
      }
      failure = transaction.failure();
      if (transaction.commit_was_sent() && !(*connection).is_usable()) {
        if (transaction.transaction_id().empty()) return nullptr;  // there was nothing to commit
        unknown = transaction.transaction_id();
      } else {
        transaction.roll_back();
      }
    }
    if (!unknown.empty()) return was_committed(unknown, deadline, failure) ? nullptr : failure;
    if (failure && then_of(failure) != Then::give_up) return failure;
    std::rethrow_exception(thrown ? thrown : failure);
  }

  bool was_committed(const std::string& id, Deadline deadline, const std::exception_ptr& why) {
    for (milliseconds between{5};; between = std::min(2 * between, milliseconds(1000))) {
      std::string status;
      try {
        const Lease connection(pool_, deadline);
        PostgresqlTransaction transaction(*connection, Mode::one_by_one, Durability::process);
        status = transaction.query("select coalesce(pg_xact_status($1::text::xid8), 'forgotten')", {id}).at(0).text(0);
      } catch (const PostgresqlError& error) {
        // A server that crashed before it wrote anything of the transaction does not know the number yet.
        if (error.message().find("in the future") != std::string::npos) return false;
        if (error.then() == Then::give_up) throw unknown_outcome(error.message());
      } catch (const DatabaseError& error) {
        throw unknown_outcome(error.message());
      }
      if (status == "committed") return true;
      if (status == "aborted") return false;
      if (status == "forgotten" || (deadline && std::chrono::steady_clock::now() >= *deadline)) {
        try {
          std::rethrow_exception(why);
        } catch (const DatabaseError& error) {
          throw unknown_outcome(error.message());
        }
      }
      pool_.pause(between, deadline);
    }
  }

  static DatabaseError unknown_outcome(const std::string& why) {
    return {Cause::unavailable, "whether a commit happened could not be found out: " + why};
  }

  PostgresqlPool pool_;
};

}  // namespace

std::unique_ptr<Database> open_postgresql(PostgresqlSettings settings, Log& log) {
  return std::make_unique<PostgresqlDatabase>(std::move(settings), log);
}

}  // namespace digdag::store
