#include "store/sqlite_connection.h"

#include <cstring>
#include <new>
#include <stdexcept>

#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;

/// What a code means for whoever runs the program: a cause, and what to do.
struct Trouble {
  Cause cause = Cause::refused;
  std::string what, hint;
};

Trouble trouble_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL: return {Cause::unavailable, "the disk is full", "free some space; work goes on by itself then"};
    case SQLITE_READONLY:
    case SQLITE_PERM: return {Cause::unavailable, "it cannot be written", "the user of this process must own the file and its directory"};
    case SQLITE_CANTOPEN:
      return {Cause::unavailable, "it cannot be opened", "the user of this process must own the file and its directory"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Cause::unavailable, "it is damaged, or no database of digdag",
              "put a backup in its place, or see what `sqlite3 FILE .recover` saves"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return {Cause::unavailable, "another program has locked it", "end the program that has it open (fuser FILE)"};
    case SQLITE_IOERR: return {Cause::unavailable, "it cannot be read or written", "look for errors of the disk in the log of the system"};
    default: return {};
  }
}

void now_function(sqlite3_context* context, int, sqlite3_value**) {
  sqlite().result_int64(context, *static_cast<const std::int64_t*>(sqlite().user_data(context)));
}

void uuid_function(sqlite3_context* context, int, sqlite3_value**) {
  const std::string uuid = random_uuid();
  sqlite().result_text(context, uuid.data(), static_cast<int>(uuid.size()), SQLITE_TRANSIENT);
}

template <typename T>
std::string json_list(const std::vector<T>& values) {
  Value list = Value::array();
  for (const T& value : values) list.mutable_array().push_back(Value(value));
  return to_json(list);
}

/// Gives the parameters of a statement to it. They must live until it is reset.
class Binding {
 public:
  Binding(const Sqlite3& library, sqlite3_stmt* statement) : library_(library), statement_(statement) {}
  ~Binding() {
    library_.reset(statement_);
    library_.clear_bindings(statement_);
  }
  Binding(const Binding&) = delete;
  Binding& operator=(const Binding&) = delete;

  int bind(const SqlValues& parameters) {
    lists_.reserve(parameters.size());
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const int place = library_.bind_parameter_index(statement_, ("$" + std::to_string(i + 1)).c_str());
      if (place == 0) continue;  // only the text for PostgreSQL needs it
      if (const int code = std::visit([&](const auto& value) { return bind(place, value); }, parameters[i]); code != SQLITE_OK) return code;
    }
    return SQLITE_OK;
  }

 private:
  int bind(int place, Null) { return library_.bind_null(statement_, place); }
  int bind(int place, std::int64_t value) { return library_.bind_int64(statement_, place, value); }
  int bind(int place, Timestamp value) { return library_.bind_int64(statement_, place, value.micros); }
  int bind(int place, const std::string& text) {
    return library_.bind_text64(statement_, place, storable(text).data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  }
  int bind(int place, const Bytes& value) {
    return library_.bind_blob64(statement_, place, value.bytes.data(), value.bytes.size(), SQLITE_STATIC);
  }
  template <typename T>
  int bind(int place, const std::vector<T>& values) {
    return bind(place, lists_.emplace_back(json_list(values)));
  }

  const Sqlite3& library_;
  sqlite3_stmt* statement_;
  std::vector<std::string> lists_;
};

SqlValue column(const Sqlite3& library, sqlite3_stmt* statement, int at, bool time) {
  switch (library.column_type(statement, at)) {
    case SQLITE_INTEGER: {
      const std::int64_t value = library.column_int64(statement, at);
      return time ? SqlValue(Timestamp{value}) : SqlValue(value);
    }
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(library.column_text(statement, at));
      return std::string(text, static_cast<std::size_t>(library.column_bytes(statement, at)));
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const char*>(library.column_blob(statement, at));
      const auto size = static_cast<std::size_t>(library.column_bytes(statement, at));
      return Bytes{bytes == nullptr ? std::string() : std::string(bytes, size)};
    }
    case SQLITE_NULL: return Null{};
    default: throw std::logic_error("column " + std::to_string(at) + " of the answer is a fraction: cast it to an integer");
  }
}

}  // namespace

SqliteConnection::SqliteConnection(std::filesystem::path file, int flags) : library_(sqlite()), file_(std::move(file)) {
  try {
    if (library_.open_v2(file_.c_str(), &database_, flags | SQLITE_OPEN_NOMUTEX, nullptr) != SQLITE_OK) {
      if (database_ == nullptr) throw std::bad_alloc();
      fail("open");
    }
    library_.extended_result_codes(database_, 1);
    library_.busy_timeout(database_, 5000);  // somebody with the `sqlite3` program: no other process of ours is here
    library_.create_function_v2(database_, "now", 0, SQLITE_UTF8, &now_, now_function, nullptr, nullptr, nullptr);
    library_.create_function_v2(database_, "gen_random_uuid", 0, SQLITE_UTF8, nullptr, uuid_function, nullptr, nullptr, nullptr);
  } catch (...) {
    library_.close_v2(database_);
    throw;
  }
}

SqliteConnection::~SqliteConnection() {
  for (const auto& [sql, statement] : statements_) library_.finalize(statement);
  library_.close_v2(database_);
}

void SqliteConnection::run(const char* sql) {
  if (library_.exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
}

std::int64_t SqliteConnection::run(const char* sql, const SqlValues& parameters, Rows* rows) {
  sqlite3_stmt* const statement = prepared(sql);
  Binding binding(library_, statement);
  if (binding.bind(parameters) != SQLITE_OK) fail(sql);
  const std::int64_t changes_before = library_.total_changes64(database_);
  const int columns = library_.column_count(statement);
  std::int64_t found = 0;
  std::vector<bool> times;
  int code;
  while ((code = library_.step(statement)) == SQLITE_ROW) {
    ++found;
    if (rows == nullptr) continue;
    if (times.empty()) {
      for (int i = 0; i < columns; ++i) {
        const char* const type = library_.column_decltype(statement, i);
        times.push_back(type != nullptr && std::strcmp(type, "timestamptz") == 0);
      }
    }
    SqlValues values;
    values.reserve(static_cast<std::size_t>(columns));
    for (int i = 0; i < columns; ++i) values.push_back(column(library_, statement, i, times[static_cast<std::size_t>(i)]));
    rows->emplace_back(std::move(values));
  }
  if (code != SQLITE_DONE) fail(sql);
  return library_.stmt_readonly(statement) != 0 ? found : library_.total_changes64(database_) - changes_before;
}

bool SqliteConnection::in_transaction() const { return library_.get_autocommit(database_) == 0; }

void SqliteConnection::roll_back() {
  if (in_transaction()) library_.exec(database_, "rollback", nullptr, nullptr, nullptr);
}

sqlite3_stmt* SqliteConnection::prepared(const char* sql) {
  const auto [entry, is_new] = statements_.try_emplace(sql, nullptr);
  if (is_new && library_.prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &entry->second, nullptr) != SQLITE_OK) {
    statements_.erase(entry);
    fail(sql);
  }
  return entry->second;
}

void SqliteConnection::fail(const char* sql) {
  const int code = library_.extended_errcode(database_);
  if ((code & 0xff) == SQLITE_NOMEM) throw std::bad_alloc();
  const Trouble trouble = trouble_of(code);
  std::string said = library_.errmsg(database_);
  if (const int error = library_.system_errno(database_);
      error != 0 && ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN)) {
    said += std::string(": ") + std::strerror(error);
  }
  DatabaseError error(trouble.cause, trouble.what.empty()
                                         ? "the database " + file_.string() + " refused a statement: " + said + "; " + shown(sql)
                                         : "the database " + file_.string() + " fails: " + trouble.what + " (" + said + ")");
  if (!trouble.hint.empty()) std::move(static_cast<Error&>(error)).hint(replace_all(trouble.hint, "FILE", file_.string()));
  throw error;
}

Rows SqliteTransaction::query(const Sql& sql, const SqlValues& parameters) {
  Rows rows;
  run(sql, parameters, &rows);
  return rows;
}

std::int64_t SqliteTransaction::execute(const Sql& sql, const SqlValues& parameters) { return run(sql, parameters, nullptr); }

void SqliteTransaction::send(const Sql& sql, const SqlValues& parameters, std::optional<std::int64_t> expected) {
  if (sql.sqlite == nullptr) return;
  expect(sql, expected, run(sql, parameters, nullptr));
}

void SqliteTransaction::send_rows(const Sql& sql, const std::vector<SqlValues>& columns, std::optional<std::int64_t> expected) {
  if (sql.sqlite == nullptr) return;
  std::int64_t changed = 0;
  SqlValues row(columns.size());
  for (std::size_t i = 0, rows = row_count(columns); i < rows; ++i) {
    for (std::size_t j = 0; j < columns.size(); ++j) row[j] = columns[j][i];
    changed += run(sql, row, nullptr);
  }
  expect(sql, expected, changed);
}

void SqliteTransaction::must_be_good() const {
  if (failure_) std::rethrow_exception(failure_);
}

std::int64_t SqliteTransaction::run(const Sql& sql, const SqlValues& parameters, Rows* rows) {
  must_be_good();
  try {
    return connection_.run(sql.sqlite, parameters, rows);
  } catch (...) {
    failure_ = std::current_exception();
    throw;
  }
}

void SqliteTransaction::expect(const Sql& sql, std::optional<std::int64_t> expected, std::int64_t changed) {
  if (!expected || *expected == changed) return;
  failure_ = std::make_exception_ptr(unexpected_rows(sql.sqlite, *expected, changed));
  must_be_good();
}

}  // namespace digdag::store
