#include "store/postgresql.h"

#include <algorithm>

#include "store/postgresql_listening.h"
#include "store/postgresql_pool.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using Then = PostgresqlError::Then;
using std::chrono::milliseconds;

enum class Mode { write, read, one_by_one };

/// What a transaction leaves behind in digdag_native_commits, so that one whose COMMIT was not answered can be asked for. (The number
/// that PostgreSQL gives to a transaction does not do: after a crash another one gets the same.)
///
/// Whoever asks and does not find it leaves the number with a minus: the transaction may still be under way, before its mark, and must
/// not be committed after all. Its mark then divides by zero.
struct Mark {
  std::string connection;
  std::int64_t number = 0;
};

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
    if (sql.postgresql == nullptr) return;
    guarded([&] { send(sql, PostgresqlParameters(parameters), {.expected = expected}); });
  }
  void send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected) override {
    if (sql.postgresql == nullptr) return;
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
  bool commit_was_sent() const { return commit_sent_; }
  const std::optional<Mark>& mark() const { return mark_; }

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
      if (!connection_.has_marks)
        connection_.send("select to_regclass('digdag_native_commits') is not null", none(), {.rows = &has_marks_});
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
    connection_.receive();
  }

  static const PostgresqlParameters& none() {
    static const PostgresqlParameters no_parameters{SqlValues{}};
    return no_parameters;
  }

  /// COMMIT is sent when all numbers of rows are as expected; at once, behind the mark, where none are. A transaction that has written
  /// nothing leaves no mark: then it is none to ask for, or one that is not found and is done again.
  void end_write() {
    if (!connection_.has_marks) {
      connection_.receive();
      connection_.has_marks = has_marks_.at(0).boolean(0);
    }
    const bool at_once = connection_.has_marks && !connection_.expects_rows();
    Rows left;
    if (connection_.has_marks) {
      mark_ = Mark{connection_.id(), connection_.next_transaction()};
      const SqlValues mark = {mark_->connection, mark_->number};
      connection_.send(
          "insert into digdag_native_commits (id, number, at) select $1, $2::bigint, now() where pg_current_xact_id_if_assigned() is not "
          "null "
          "on conflict (id) do update set number = excluded.number + 0 / (digdag_native_commits.number + excluded.number), at = "
          "excluded.at returning number",
          PostgresqlParameters(mark), {.rows = &left});
    }
    if (!at_once) {
      connection_.receive();
      commit_sent_ = !mark_ || !left.empty();
    } else {
      commit_sent_ = true;
    }
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
  bool begun_ = false;
  bool commit_sent_ = false;
  Rows has_marks_;
  std::optional<Mark> mark_;
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
  PostgresqlDatabase(PostgresqlSettings settings, Log& log) : log_(log), pool_(std::move(settings), log) {
    const milliseconds most = pool_.settings().login_timeout;
    auto first = pool_.take(most.count() > 0 ? deadline_of(most) : std::nullopt);
    tell_about(first->encoding());
    pool_.give_back(std::move(first));
  }

  std::string_view type() const override { return "postgresql"; }
  void shut_down() override { pool_.shut_down(); }
  std::unique_ptr<Listening> listen(const Ear& ear) override {
    if (pool_.settings().most_connections < 2) return nullptr;
    return std::make_unique<PostgresqlListening>(pool_, ear, log_, deadline_of(default_patience));
  }

 protected:
  void run_write(const Body& work, Durability durability, Patience patience) override { run(work, Mode::write, durability, patience); }
  void run_read(const Body& work, Patience patience) override { run(work, Mode::read, Durability::process, patience); }
  void run_one_by_one(const Body& work, Patience patience) override {
    const UnitOfWork unit;
    const Lease connection(pool_, deadline_of(patience));
    PostgresqlTransaction statements(*connection, Mode::one_by_one, Durability::power_cut);
    try {
      work(statements);
    } catch (...) {
      (*connection).abandon();
      throw;
    }
    (*connection).abandon();
  }

 private:
  /// The original takes a database of any encoding, so it may be one that it has left.
  void tell_about(const std::string& encoding) {
    if (encoding == "UTF8" || encoding == "SQL_ASCII") return;
    log_.write(LogLevel::warn, "main", "store",
               pool_.settings().place + " has the encoding " + encoding +
                   ": tasks and projects with other characters fail; make the database with encoding 'UTF8'");
  }
  static Deadline deadline_of(Patience patience) {
    return patience ? Deadline(std::chrono::steady_clock::now() + *patience) : std::nullopt;
  }

  void run(const Body& work, Mode mode, Durability durability, Patience patience) {
    const UnitOfWork unit;
    const Deadline deadline = deadline_of(patience);
    for (int repetition = 0;; ++repetition) {
      const std::exception_ptr failure = try_once(work, mode, durability, deadline);
      if (!failure) return;
      if (is_over(deadline)) std::rethrow_exception(failure);
      pause(repetition, deadline);
    }
  }

  /// Throws what cannot be helped; gives what can by running the work again.
  std::exception_ptr try_once(const Body& work, Mode mode, Durability durability, Deadline deadline) {
    std::exception_ptr failure, thrown;
    bool is_unknown = false;
    std::optional<Mark> mark;
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
      is_unknown = transaction.commit_was_sent() && !(*connection).is_usable();
      mark = transaction.mark();
      if (!is_unknown) transaction.roll_back();
    }
    if (is_unknown) return was_committed(mark, deadline, failure) ? nullptr : failure;
    if (failure && then_of(failure) != Then::give_up) return failure;
    std::rethrow_exception(thrown ? thrown : failure);
  }

  /// Waits for the end of the transaction where it has left its mark and is still under way; keeps it from being committed later.
  bool was_committed(const std::optional<Mark>& mark, Deadline deadline, const std::exception_ptr& why) {
    try {
      if (!mark) std::rethrow_exception(why);
      for (int repetition = 0;; ++repetition) {
        try {
          return is_left(*mark, deadline);
        } catch (const PostgresqlError& error) {
          if (error.then() == Then::give_up || is_over(deadline)) throw;
        }
        pause(repetition, deadline);
      }
    } catch (const DatabaseError& error) {
      throw DatabaseError(Cause::unavailable, "whether a commit happened could not be found out: " + error.message());
    }
  }

  bool is_left(const Mark& mark, Deadline deadline) {
    const Lease connection(pool_, deadline);
    PostgresqlTransaction statements(*connection, Mode::one_by_one, Durability::power_cut);
    const Rows found = statements.query(
        "insert into digdag_native_commits as mark (id, number, at) values ($1, -cast($2 as bigint), now()) on conflict (id) do "
        "update set number = case when mark.number = cast($2 as bigint) then mark.number else -cast($2 as bigint) end returning "
        "number",
        {mark.connection, mark.number});
    return found.at(0).integer(0) == mark.number;
  }

  static bool is_over(Deadline deadline) { return deadline && std::chrono::steady_clock::now() >= *deadline; }
  /// Before the next try: none at first, then longer and longer, as what broke it may be there still.
  void pause(int repetition, Deadline deadline) {
    if (repetition > 0) pool_.pause(std::min(milliseconds(5 << std::min(repetition, 10)), milliseconds(1000)), deadline);
  }

  Log& log_;
  PostgresqlPool pool_;
};

}  // namespace

std::unique_ptr<Database> open_postgresql(PostgresqlSettings settings, Log& log) {
  return std::make_unique<PostgresqlDatabase>(std::move(settings), log);
}

}  // namespace digdag::store
