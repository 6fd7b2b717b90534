#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "store/database.h"

namespace digdag::store {

/// A server process that shares the database (table digdag_native_servers): whoever does not renew its lease is dead.
struct ServerProcess {
  std::string id;  ///< UUID of this start
  std::string host, boot_id;
  std::int64_t pid = 0;
  std::int64_t process_start = 0;  ///< clock ticks since the boot: another process may get the same pid
  std::string agent_id;            ///< agent.id: what its rows of the queue say
  std::int64_t lock_key = 0;       ///< an advisory lock that it holds while it is connected (Database::listen); 0: none
  std::chrono::seconds lease{10};  ///< executor.lease-time: how long it counts as alive without renewing (E-44); that of all servers
};
/// How long after one renewal of the lease the next one is due.
constexpr std::chrono::seconds renewal_time(std::chrono::seconds lease) { return std::min(std::chrono::seconds(3), lease / 3); }

/// This process.
ServerProcess this_process(std::string agent_id);
/// Whether a process of this host still runs; nothing for one of another host, or of another boot of it that is not known to be over.
std::optional<bool> is_running(const ServerProcess& server, const ServerProcess& here);

/// What it had before under this id is free for others. They are told that they are not alone.
void insert_server(Transaction& transaction, const ServerProcess& server);
/// How many other servers there are; nothing where one of them took us for dead: our attempts are others' now.
std::optional<std::int64_t> renew_server(Transaction& transaction, const ServerProcess& server);
/// Servers whose lease is over, those of this host that do not run any more, and those whose lock is free although they had the time to
/// connect anew: they have missed a renewal, too. After a start of the database each has the time of a lease to come back.
std::vector<ServerProcess> dead_servers(Transaction& transaction, const ServerProcess& here, bool alone);
/// Its attempts are free for others, who begin their runs again. Returns how many it had.
std::int64_t remove_server(Transaction& transaction, const ServerProcess& server);

/// Rows of the queue that the Java server, or one like it, holds (spec/decisions.md V-43).
struct ForeignLocks {
  std::int64_t count = 0;
  std::int64_t latest_expiry = 0;  ///< seconds since the epoch
  std::int64_t now = 0;            ///< of the database, in the same unit
  std::string agent_id;            ///< of one of them
};
ForeignLocks foreign_locks(Transaction& transaction);
/// Expired ones are free again (spec/execution.md 8.6). Returns their number.
std::int64_t expire_locks(Transaction& transaction);
/// All are free, also those that have not expired: the Java server has been stopped for sure. Returns their number.
std::int64_t break_foreign_locks(Transaction& transaction);

/// Removes the marks that connections which are long gone have left (store/postgresql.cpp): each new one leaves a row.
void forget_old_commits(Transaction& transaction);

}  // namespace digdag::store
