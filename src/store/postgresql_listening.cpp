#include "store/postgresql_listening.h"

#include <sys/eventfd.h>

#include <utility>

namespace digdag::store {
namespace {

constexpr std::chrono::milliseconds pause_after_loss{100};

}  // namespace

PostgresqlListening::PostgresqlListening(PostgresqlPool& pool, Database::Ear ear, Log& log, Deadline deadline)
    : pool_(pool), ear_(std::move(ear)), log_(log), stop_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  begin(deadline);
  thread_ = Thread("listening to the database", [this] { main(); });
}

PostgresqlListening::~PostgresqlListening() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
  end();
}

void PostgresqlListening::begin(Deadline deadline) {
  connection_ = pool_.take(deadline);
  try {
    connection_->send("listen digdag");
    const SqlValues key = {ear_.lock_key};
    // Not waited for: where the server has not noticed yet that our last connection is gone, that one still holds it.
    if (ear_.lock_key != 0) connection_->send("select pg_try_advisory_lock($1)", PostgresqlParameters(key), {});
    connection_->synchronize();
  } catch (...) {
    end();
    throw;
  }
}

void PostgresqlListening::end() {
  if (!connection_) return;
  connection_->abandon();  // or the next one who has it would listen as well
  pool_.give_back(std::move(connection_));
}

void PostgresqlListening::main() {
  for (;;) {
    try {
      if (!connection_) begin(std::nullopt);
      ear_.heard("");
      for (;;) {
        const std::vector<std::string> said = connection_->wait_for_notices(stop_.get());
        if (said.empty()) return;
        for (const std::string& text : said) ear_.heard(text);
      }
    } catch (const DatabaseError& error) {
      end();
      log_.write(LogLevel::warn, "main", "store", "Nothing is heard from other servers: " + error.message() + "; connecting again");
    }
    try {
      pool_.pause(pause_after_loss, std::nullopt);
    } catch (const DatabaseError&) {
      return;  // shut down
    }
  }
}

}  // namespace digdag::store
