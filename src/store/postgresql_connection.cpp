#include "store/postgresql_connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <new>

#include "base/text.h"
#include "store/unit_of_work.h"

namespace digdag::store {
namespace {

using Cause = DatabaseError::Cause;
using Then = PostgresqlError::Then;

struct ClearResult {
  void operator()(PGresult* result) const { libpq().clear(result); }
};
using Result = std::unique_ptr<PGresult, ClearResult>;

std::string one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return replace_all(replace_all(std::move(text), "\n\t", "; "), "\n", "; ");
}

std::string field(const PGresult* result, int code) {
  const char* const text = libpq().resultErrorField(result, code);
  return text == nullptr ? "" : text;
}

/// Whether trying again may help: the server is not reached, or not ready yet.
bool may_pass(const std::string& why) {
  for (const char* answer : {"authentication", "pg_hba.conf", "does not exist", "permission denied", "SSL", "certificate"}) {
    if (why.find(answer) != std::string::npos) return false;
  }
  return true;
}

std::int64_t count_of(const char* text) {
  std::int64_t count = 0;
  std::from_chars(text, text + std::strlen(text), count);
  return count;
}

}  // namespace

PostgresqlConnection::PostgresqlConnection(const PostgresqlSettings& settings, int wake, Deadline deadline)
    : library_(libpq()), settings_(settings), wake_(wake), id_(random_uuid()) {
  try {
    connect(deadline);
  } catch (...) {
    library_.finish(connection_);
    throw;
  }
}

PostgresqlConnection::~PostgresqlConnection() { library_.finish(connection_); }

void PostgresqlConnection::connect(Deadline deadline) {
  std::vector<const char*> keywords, values;
  for (const auto& [keyword, value] : settings_.connection) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  connection_ = library_.connectStartParams(keywords.data(), values.data(), 0);
  if (connection_ == nullptr) throw std::bad_alloc();
  if (library_.status(connection_) == CONNECTION_BAD) refuse_to_connect();
  for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
    if (state == PGRES_POLLING_FAILED) refuse_to_connect();
    wait(state == PGRES_POLLING_WRITING, deadline);
    state = library_.connectPoll(connection_);
  }
  if (const int version = library_.serverVersion(connection_); version < 130000) {
    throw PostgresqlError(Then::give_up, Cause::refused,
                          settings_.place + " has version " + std::to_string(version / 10000) + ": digdag needs version 13 or newer");
  }
  library_.setNoticeReceiver(
      connection_, [](void*, const PGresult*) {}, nullptr);
  if (library_.setnonblocking(connection_, 1) != 0 || library_.enterPipelineMode(connection_) != 1) refuse_to_connect();
  // Large values (archives of projects and of tasks) cost PostgreSQL most of their time in its own old compression.
  send(
      "select set_config(name, 'lz4', false) from pg_settings where name = 'default_toast_compression' and source = 'default' and "
      "'lz4' = any (enumvals)",
      PostgresqlParameters(SqlValues{}), {});
  synchronize();
}

void PostgresqlConnection::refuse_to_connect() {
  const std::string why = one_line(library_.errorMessage(connection_));
  throw PostgresqlError(may_pass(why) ? Then::reconnect : Then::give_up, Cause::unavailable,
                        "cannot connect to " + settings_.place + ": " + why);
}

void PostgresqlConnection::send(const char* sql, const PostgresqlParameters& parameters, Wish wish) {
  const auto [known, is_new] = statements_.try_emplace(sql);
  if (is_new) {
    known->second = "s" + std::to_string(++statement_count_);
    if (library_.sendPrepare(connection_, known->second.c_str(), sql, 0, nullptr) != 1) lost(library_.errorMessage(connection_));
    pending_.push_back({sql, true, {}});
  }
  if (library_.sendQueryPrepared(connection_, known->second.c_str(), parameters.count(), parameters.texts(), parameters.lengths(),
                                 parameters.formats(), 1) != 1) {
    lost(library_.errorMessage(connection_));
  }
  pending_.push_back({sql, false, wish});
}

void PostgresqlConnection::receive() {
  if (pending_.empty()) return;
  if (library_.sendFlushRequest(connection_) != 1) lost(library_.errorMessage(connection_));
  receive_pending();
}

bool PostgresqlConnection::expects_rows() const {
  return std::any_of(pending_.begin(), pending_.end(), [](const Pending& pending) { return pending.wish.expected.has_value(); });
}

void PostgresqlConnection::synchronize() {
  synchronize_later();
  drain();
}

void PostgresqlConnection::synchronize_later() {
  if (library_.pipelineSync(connection_) != 1) lost(library_.errorMessage(connection_));
  ++synchronizations_;
  flush();
}

bool PostgresqlConnection::is_alive() {
  if (!usable_) return false;
  try {
    if (synchronizations_ > 0) drain();
  } catch (const DatabaseError&) {
    return false;
  }
  pollfd ready{library_.socket(connection_), POLLIN, 0};
  if (poll(&ready, 1, 0) == 0) return true;
  return library_.consumeInput(connection_) == 1 && library_.status(connection_) == CONNECTION_OK;
}

std::optional<std::chrono::steady_clock::time_point> PostgresqlConnection::waits_since() const {
  const auto since = waits_since_.load();
  return since == nobody_waits ? std::nullopt : std::optional(since);
}

void PostgresqlConnection::wait(bool for_write, Deadline deadline) {
  const int socket = library_.socket(connection_);
  waits_since_ = std::chrono::steady_clock::now();
  const struct Waiting {
    std::atomic<std::chrono::steady_clock::time_point>& since;
    ~Waiting() { since = nobody_waits; }
  } waiting{waits_since_};
  for (;;) {
    const auto left = deadline ? *deadline - std::chrono::steady_clock::now() : std::chrono::steady_clock::duration::max();
    const auto millis = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    pollfd files[] = {{socket, static_cast<short>(POLLIN | (for_write ? POLLOUT : 0)), 0}, {wake_, POLLIN, 0}};
    const int ready = poll(files, 2, static_cast<int>(std::clamp<std::int64_t>(millis + 1, 0, 1 << 30)));
    if (ready < 0 && errno == EINTR) continue;
    if (files[1].revents != 0) {
      usable_ = false;
      throw PostgresqlError(Then::give_up, Cause::unavailable, "the database has been shut down");
    }
    if (ready > 0) return;
    if (millis > 0) continue;
    usable_ = false;
    throw PostgresqlError(Then::reconnect, Cause::unavailable, settings_.place + " does not answer");
  }
}

std::vector<std::string> PostgresqlConnection::wait_for_notices(int stop) {
  std::vector<std::string> said;
  listens_ = true;
  for (;;) {
    if (library_.consumeInput(connection_) != 1 || library_.status(connection_) != CONNECTION_OK) lost(library_.errorMessage(connection_));
    while (PGnotify* const notice = library_.notifies(connection_)) {
      said.emplace_back(notice->extra);
      library_.freemem(notice);
    }
    if (!said.empty()) return said;
    pollfd files[] = {{library_.socket(connection_), POLLIN, 0}, {stop, POLLIN, 0}, {wake_, POLLIN, 0}};
    if (poll(files, 3, -1) < 0 && errno != EINTR) lost(std::strerror(errno));
    if (files[1].revents != 0 || files[2].revents != 0) return {};
  }
}

Deadline PostgresqlConnection::answer_deadline() const {
  return settings_.socket_timeout.count() > 0 ? Deadline(std::chrono::steady_clock::now() + settings_.socket_timeout) : std::nullopt;
}

void PostgresqlConnection::flush() {
  for (;;) {
    const int state = library_.flush(connection_);
    if (state == 0) return;
    if (state < 0) lost(library_.errorMessage(connection_));
    wait(true, answer_deadline());
    // Also what comes in, or both sides would wait for each other with full buffers.
    if (library_.consumeInput(connection_) != 1) lost(library_.errorMessage(connection_));
  }
}

PGresult* PostgresqlConnection::next_result() {
  while (library_.isBusy(connection_) != 0) {
    flush();
    if (library_.isBusy(connection_) == 0) break;  // the answer came while the last bytes went: nothing else would come
    wait(false, answer_deadline());
    if (library_.consumeInput(connection_) != 1) break;  // the next result says why
  }
  return library_.getResult(connection_);
}

void PostgresqlConnection::take_answer(const Pending& pending, PGresult* result) {
  const ExecStatusType status = library_.resultStatus(result);
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) throw error_of(result, pending.sql);
  if (pending.prepare) return;
  const std::int64_t changed = count_of(library_.cmdTuples(result));
  if (pending.wish.changed != nullptr) *pending.wish.changed = changed;
  if (pending.wish.expected && *pending.wish.expected != changed) throw unexpected_rows(pending.sql, *pending.wish.expected, changed);
  if (pending.wish.rows == nullptr) return;
  const int rows = library_.ntuples(result), columns = library_.nfields(result);
  pending.wish.rows->reserve(static_cast<std::size_t>(rows));
  for (int row = 0; row < rows; ++row) {
    SqlValues values;
    values.reserve(static_cast<std::size_t>(columns));
    for (int column = 0; column < columns; ++column) {
      if (library_.getisnull(result, row, column) != 0) {
        values.emplace_back(Null{});
      } else {
        const auto length = static_cast<std::size_t>(library_.getlength(result, row, column));
        values.push_back(postgresql_value(library_.ftype(result, column), {library_.getvalue(result, row, column), length}));
      }
    }
    pending.wish.rows->emplace_back(std::move(values));
  }
}

void PostgresqlConnection::receive_pending() {
  std::exception_ptr first;
  while (!pending_.empty()) {
    const Pending pending = pending_.front();
    pending_.pop_front();
    bool answered = false;
    try {
      while (const Result result{next_result()}) {
        if (library_.resultStatus(result.get()) == PGRES_PIPELINE_ABORTED) continue;
        try {
          take_answer(pending, result.get());
          answered = true;
        } catch (const std::exception&) {
          if (!first) first = std::current_exception();
        }
        if (!usable_) break;
      }
    } catch (const DatabaseError&) {
      if (!first) first = std::current_exception();
    }
    if (!usable_) break;
    if (pending.prepare && !answered) statements_.erase(pending.sql);
  }
  if (!usable_) pending_.clear();
  if (first) std::rethrow_exception(first);
}

void PostgresqlConnection::drain() {
  std::exception_ptr first;
  try {
    receive_pending();
  } catch (...) {
    first = std::current_exception();
  }
  if (usable_) {
    try {
      while (synchronizations_ > 0) {
        const Result result{next_result()};
        if (result && library_.resultStatus(result.get()) == PGRES_PIPELINE_SYNC)
          --synchronizations_;
        else if (result && library_.resultStatus(result.get()) != PGRES_PIPELINE_ABORTED)
          throw error_of(result.get(), "");
        else if (!result && library_.status(connection_) != CONNECTION_OK)
          lost(library_.errorMessage(connection_));
      }
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

void PostgresqlConnection::lost(const std::string& why) {
  usable_ = false;
  throw PostgresqlError(Then::reconnect, Cause::unavailable, "the connection to " + settings_.place + " was lost: " + one_line(why));
}

PostgresqlError PostgresqlConnection::error_of(const PGresult* result, const char* sql) {
  const std::string state = field(result, PG_DIAG_SQLSTATE), severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const std::string message = state.empty() ? library_.errorMessage(connection_) : field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (state.empty() || severity == "FATAL" || severity == "PANIC" || library_.status(connection_) != CONNECTION_OK) {
    usable_ = false;
    return {Then::reconnect, Cause::unavailable, "the connection to " + settings_.place + " was lost: " + one_line(message)};
  }
  const std::string text = settings_.place + " refused a statement: " + one_line(message) + " (" + state + "); " + shown(sql);
  if (state == "40001" || state == "40P01") return {Then::repeat, Cause::refused, text};
  if (state == "0A000" && field(result, PG_DIAG_SOURCE_FUNCTION) == "RevalidateCachedQuery") {
    usable_ = false;  // somebody has changed the schema since the statement was prepared
    return {Then::reconnect, Cause::refused, text};
  }
  if (state == "53100") {
    PostgresqlError full(Then::give_up, Cause::unavailable, text);
    std::move(static_cast<Error&>(full)).hint("free some space on the disk of the database");
    return full;
  }
  return {Then::give_up, Cause::refused, text};
}

}  // namespace digdag::store
