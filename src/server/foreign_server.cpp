#include "server/foreign_server.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "store/servers.h"

namespace digdag::server {

ForeignServer::ForeignServer(Options options, store::Database& database, Log& log)
    : options_(std::move(options)), database_(database), log_(log) {}

void ForeignServer::look() {
  is_there_ = database_.read([](store::Transaction& transaction) { return store::foreign_locks(transaction); }).count > 0;
}

bool ForeignServer::wait_until_gone(bool begun) {
  const store::Database::Patience patience = begun ? store::Database::Patience(store::Database::default_patience) : std::nullopt;
  std::int64_t latest = 0;
  while (true) {
    const store::ForeignLocks locks =
        database_.read([](store::Transaction& transaction) { return store::foreign_locks(transaction); }, patience);
    if (locks.count == 0) break;
    // Where we had begun already, nobody can have left it behind.
    if (begun ? latest == 0 || locks.latest_expiry > latest : latest != 0 && locks.latest_expiry > latest)
      log_.write(LogLevel::error, "main", "server",
                 "another digdag server is running on this database: agent " + locks.agent_id + "; nothing new is begun until it is gone");
    else if (latest == 0)
      log_.write(LogLevel::warn, "main", "server",
                 "Tasks are locked by the agent " + locks.agent_id + " of another digdag server; waiting until its locks have expired, " +
                     std::to_string(std::max<std::int64_t>(0, locks.latest_expiry - locks.now)) +
                     " seconds (digdag server --take-over begins at once, where that server has been stopped for sure)");
    latest = locks.latest_expiry;
    if (!is_there_.exchange(true) && begun) options_.hold(true);
    const std::int64_t expired = database_.write([](store::Transaction& transaction) { return store::expire_locks(transaction); },
                                                 store::Durability::process, patience);
    if (expired > 0)
      log_.write(LogLevel::info, "main", "server", std::to_string(expired) + " task locks are expired. Tasks will be retried.");
    log_.flush();
    if (!options_.pause(std::chrono::seconds(1))) return false;
  }
  if (is_there_.exchange(false) && begun) options_.hold(false);
  return true;
}

void ForeignServer::break_locks() {
  const std::int64_t broken = database_.write([](store::Transaction& transaction) { return store::break_foreign_locks(transaction); });
  if (broken > 0)
    log_.write(LogLevel::warn, "main", "server", std::to_string(broken) + " task locks of another server are broken (--take-over)");
}

}  // namespace digdag::server
