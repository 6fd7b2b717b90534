#include "store/sqlite.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>

#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "base/thread.h"
#include "store/sqlite_connection.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using Deadline = std::optional<std::chrono::steady_clock::time_point>;

Deadline deadline_of(Database::Patience patience) {
  return patience ? Deadline(std::chrono::steady_clock::now() + *patience) : std::nullopt;
}

template <typename Condition>
bool wait(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, Deadline deadline, const Condition& condition) {
  if (deadline) return changed.wait_until(lock, *deadline, condition);
  changed.wait(lock, condition);
  return true;
}

Timestamp clock() {
  using std::chrono::system_clock;
  return {std::chrono::duration_cast<std::chrono::microseconds>(system_clock::now().time_since_epoch()).count()};
}

DatabaseError was_shut_down() { return {Cause::unavailable, "the database has been shut down"}; }

Error cannot(const char* do_what, const std::filesystem::path& path, int error) {
  return Error("database", std::string("cannot ") + do_what + " " + path.string() + ": " + std::strerror(error))
      .hint("the user of this process must own the directory of the database");
}

void make_directory(const std::filesystem::path& directory) {
  std::error_code failure;
  if (std::filesystem::is_directory(directory, failure)) return;
  if (directory.has_parent_path()) std::filesystem::create_directories(directory.parent_path(), failure);
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) throw cannot("make the directory", directory, errno);
}

/// One process for each directory. The lock ends with the process, the file stays.
Fd lock_directory(const std::filesystem::path& directory) {
  const std::filesystem::path path = directory / "digdag.lock";
  Fd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) throw cannot("open", path, errno);
  if (flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw cannot("lock", path, errno);
    const std::string pid(trim(read_file(path, 64)));
    throw Error("database", directory.string() + " is in use by pid " + (pid.empty() ? "unknown" : pid))
        .hint("one process can use a directory; end that one, or use PostgreSQL for several servers");
  }
  // Always as long: a file that is cut to nothing and written again costs milliseconds of ext4.
  std::string pid = std::to_string(getpid());
  pid.resize(15, ' ');
  pid += '\n';
  if (pwrite(file.get(), pid.data(), pid.size(), 0) < 0) throw cannot("write", path, errno);
  return file;
}

/// SQLite would let everybody read it.
void make_file(const std::filesystem::path& path) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!file && errno != EEXIST) throw cannot("make", path, errno);
}

/// A piece of work that waits to be written, with its answer.
struct Piece {
  const std::function<void(Transaction&)>* work;
  Durability durability;
  std::exception_ptr failure = nullptr;
  bool done = false;
  std::condition_variable answered = {};
};

/// Runs pieces of work in one transaction of a connection.
class GroupWriter {
 public:
  explicit GroupWriter(SqliteConnection& connection) : connection_(connection) {}

  /// Every piece is committed, or has its failure, when this returns.
  void write(std::vector<Piece*> pieces) {
    while (!pieces.empty()) {
      const bool ended = try_write(pieces);
      pieces.erase(std::remove_if(pieces.begin(), pieces.end(), [](const Piece* piece) { return piece->failure != nullptr; }),
                   pieces.end());
      if (ended) return;
    }
  }

 private:
  /// False: nothing was written, and the pieces that have no failure yet must be run again without the others.
  bool try_write(const std::vector<Piece*>& pieces) {
    try {
      begin(pieces);
      for (Piece* piece : pieces) {
        if (!run(*piece, pieces.size() > 1)) return false;
      }
      connection_.run("commit");
      return true;
    } catch (...) {
      connection_.roll_back();
      // A full disk may have room for some of them.
      if (pieces.size() > 1) {
        for (Piece* piece : pieces) {
          if (!piece->failure) write({piece});
        }
      } else {
        pieces.front()->failure = std::current_exception();
      }
      return true;
    }
  }

  void begin(const std::vector<Piece*>& pieces) {
    const bool to_disk =
        std::any_of(pieces.begin(), pieces.end(), [](const Piece* piece) { return piece->durability == Durability::power_cut; });
    if (to_disk != to_disk_) connection_.run(to_disk ? "pragma synchronous = full" : "pragma synchronous = normal");
    to_disk_ = to_disk;
    connection_.run("begin immediate");
  }

  /// False where SQLite has rolled everything back, not only this piece (a full disk).
  bool run(Piece& piece, bool with_others) {
    const auto savepoint = [&](const char* sql) {
      if (with_others) connection_.run(sql, {}, nullptr);
    };
    now_ = std::max(now_, clock());
    connection_.set_now(now_);
    savepoint("savepoint piece");
    try {
      const UnitOfWork unit;
      SqliteTransaction transaction(connection_);
      (*piece.work)(transaction);
      transaction.must_be_good();
    } catch (...) {
      piece.failure = std::current_exception();
      if (!with_others) connection_.roll_back();
      if (!connection_.in_transaction()) return false;
      savepoint("rollback to piece");
    }
    savepoint("release piece");
    return true;
  }

  SqliteConnection& connection_;
  Timestamp now_;
  std::optional<bool> to_disk_;
};

void run_and_end(SqliteConnection& connection, const std::function<void(Transaction&)>& work) {
  connection.set_now(clock());
  connection.run("begin", {}, nullptr);
  try {
    const UnitOfWork unit;
    SqliteTransaction transaction(connection);
    work(transaction);
    transaction.must_be_good();
    connection.run("commit", {}, nullptr);
  } catch (...) {
    connection.roll_back();
    throw;
  }
}

/// Everything through one connection, on the threads of the callers.
class MemoryDatabase : public Database {
 public:
  MemoryDatabase() : connection_(":memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE), writer_(connection_) {}
  std::string_view type() const override { return "memory"; }
  void shut_down() override {
    const std::lock_guard lock(mutex_);
    shut_down_ = true;
  }

 protected:
  void run_write(const Body& work, Durability durability, Patience) override {
    UnitOfWork::must_not_be_nested();
    const std::lock_guard lock(mutex_);
    if (shut_down_) throw was_shut_down();
    Piece piece{&work, durability};
    writer_.write({&piece});
    if (piece.failure) std::rethrow_exception(piece.failure);
  }
  void run_read(const Body& work, Patience) override {
    UnitOfWork::must_not_be_nested();
    const std::lock_guard lock(mutex_);
    if (shut_down_) throw was_shut_down();
    connection_.run("pragma query_only = on");
    try {
      run_and_end(connection_, work);
    } catch (...) {
      connection_.run("pragma query_only = off");
      throw;
    }
    connection_.run("pragma query_only = off");
  }

 private:
  std::mutex mutex_;
  SqliteConnection connection_;
  GroupWriter writer_;
  bool shut_down_ = false;
};

class SqliteDatabase : public Database {
 public:
  SqliteDatabase(const std::filesystem::path& directory, std::size_t most_readers)
      : file_(sqlite_file(directory)), most_readers_(std::max<std::size_t>(most_readers, 1)) {
    std::error_code missing;
    if (std::filesystem::exists(directory / "digdag.mv.db", missing) && !std::filesystem::exists(file_, missing)) {
      throw Error("database", directory.string() + " holds a database of the Java digdag (digdag.mv.db), which this one cannot read")
          .hint(
              "name another directory and push your projects again (`digdag download` from the old server, `digdag push` to this one); "
              "keep "
              "the old version to look at its history. A PostgreSQL database is taken over as it is.");
    }
    make_directory(directory);
    lock_ = lock_directory(directory);
    make_file(file_);
    connection_.emplace(file_, SQLITE_OPEN_READWRITE);
    connection_->run("pragma journal_mode = wal; pragma foreign_keys = off; pragma temp_store = memory; pragma cache_size = -8192");
    // A checkpoint holds up whoever commits next: often and little.
    connection_->run("pragma wal_autocheckpoint = 1000; pragma journal_size_limit = 16777216");
    thread_ = Thread("the database", [this] { write_groups(); });
  }

  ~SqliteDatabase() override {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    to_write_.notify_one();
    thread_.join();
  }

  std::string_view type() const override { return "sqlite"; }

  void shut_down() override {
    const std::lock_guard lock(mutex_);
    shut_down_ = true;
    reader_free_.notify_all();
  }

 protected:
  void run_write(const Body& work, Durability durability, Patience patience) override {
    UnitOfWork::must_not_be_nested();
    const Deadline deadline = deadline_of(patience);
    Piece piece{&work, durability};
    std::unique_lock lock(mutex_);
    if (shut_down_) throw was_shut_down();
    waiting_.push_back(&piece);
    to_write_.notify_one();
    const auto done = [&] { return piece.done; };
    if (!wait(piece.answered, lock, deadline, done)) {
      if (const auto place = std::find(waiting_.begin(), waiting_.end(), &piece); place != waiting_.end()) {
        waiting_.erase(place);
        throw DatabaseError(Cause::unavailable, "the database " + file_.string() + " is busy: a piece of work waited longer than it may");
      }
      piece.answered.wait(lock, done);
    }
    if (piece.failure) std::rethrow_exception(piece.failure);
  }

  void run_read(const Body& work, Patience patience) override {
    UnitOfWork::must_not_be_nested();
    std::unique_ptr<SqliteConnection> connection = take_reader(deadline_of(patience));
    const auto give_back = [&] {
      const std::lock_guard lock(mutex_);
      free_readers_.push_back(std::move(connection));
      reader_free_.notify_one();
    };
    try {
      run_and_end(*connection, work);
    } catch (...) {
      give_back();
      throw;
    }
    give_back();
  }

 private:
  void write_groups() {
    GroupWriter writer(*connection_);
    std::unique_lock lock(mutex_);
    for (;;) {
      to_write_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::vector<Piece*> group = std::exchange(waiting_, {});
      lock.unlock();
      writer.write(group);
      lock.lock();
      for (Piece* piece : group) {
        piece->done = true;
        piece->answered.notify_one();
      }
    }
  }

  std::unique_ptr<SqliteConnection> take_reader(Deadline deadline) {
    std::unique_lock lock(mutex_);
    const auto can_go_on = [&] { return shut_down_ || !free_readers_.empty() || readers_ < most_readers_; };
    if (!wait(reader_free_, lock, deadline, can_go_on)) {
      throw DatabaseError(Cause::unavailable, "the database is busy: all " + std::to_string(most_readers_) +
                                                  " connections are in use (database.maximumPoolSize)");
    }
    if (shut_down_) throw was_shut_down();
    if (!free_readers_.empty()) {
      std::unique_ptr<SqliteConnection> free = std::move(free_readers_.back());
      free_readers_.pop_back();
      return free;
    }
    ++readers_;
    lock.unlock();
    try {
      auto made = std::make_unique<SqliteConnection>(file_, SQLITE_OPEN_READONLY);
      made->run("pragma temp_store = memory; pragma cache_size = -2048");
      return made;
    } catch (...) {
      lock.lock();
      --readers_;
      reader_free_.notify_one();
      throw;
    }
  }

  const std::filesystem::path file_;
  const std::size_t most_readers_;
  Fd lock_;
  std::optional<SqliteConnection> connection_;  ///< of the thread that writes
  std::mutex mutex_;                            ///< of what follows
  std::condition_variable to_write_, reader_free_;
  std::vector<Piece*> waiting_;
  std::vector<std::unique_ptr<SqliteConnection>> free_readers_;
  std::size_t readers_ = 0;
  bool shut_down_ = false, ending_ = false;
  Thread thread_;
};

}  // namespace

std::filesystem::path sqlite_file(const std::filesystem::path& directory) { return directory / "digdag.sqlite"; }

std::unique_ptr<Database> open_sqlite(const std::filesystem::path& directory, std::size_t most_readers) {
  return std::make_unique<SqliteDatabase>(directory, most_readers);
}

std::unique_ptr<Database> open_memory() { return std::make_unique<MemoryDatabase>(); }

}  // namespace digdag::store
