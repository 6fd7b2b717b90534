#include "store/servers.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/text.h"
#include "store/attempt_events.h"

namespace digdag::store {
namespace {

using std::chrono::seconds;

// A number of seconds in PostgreSQL and in SQLite.
#define SECONDS(n) "make_interval(secs => cast(" n " as double precision))"
#define SECONDS_OF_SQLITE(n) n " * 1000000"

std::string line_of(const char* file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// Field 22 of /proc/PID/stat; 0 where there is no such process.
std::int64_t start_of(std::int64_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  for (int i = 3; i <= 22; ++i) fields >> field;
  return std::strtoll(field.c_str(), nullptr, 10);
}

}  // namespace

ServerProcess this_process(std::string agent_id) {
  ServerProcess server;
  server.id = random_uuid();
  char host[256] = {};
  if (gethostname(host, sizeof host - 1) == 0) server.host = host;
  server.boot_id = line_of("/proc/sys/kernel/random/boot_id");
  server.pid = getpid();
  server.process_start = start_of(server.pid);
  server.agent_id = std::move(agent_id);
  server.lock_key = std::strtoll(server.id.substr(24).c_str(), nullptr, 16);  // 48 random bits
  return server;
}

std::optional<bool> is_running(const ServerProcess& server, const ServerProcess& here) {
  if (server.host != here.host || server.boot_id != here.boot_id || here.boot_id.empty()) return std::nullopt;
  return start_of(server.pid) == server.process_start;
}

void insert_server(Transaction& transaction, const ServerProcess& server) {
  remove_server(transaction, server);
#define INSERT(until)                                                                                                                   \
  "insert into digdag_native_servers (id, host, boot_id, pid, process_start, agent_id, lease_expires_at, lock_key, started_at) values " \
  "($1, $2, $3, $4, $5, $6, " until ", $7, now())"
  static constexpr Sql sql(INSERT("now() + " SECONDS("$8")), INSERT("now() + " SECONDS_OF_SQLITE("$8")));
#undef INSERT
  transaction.execute(sql, {server.id, server.host, server.boot_id, server.pid, server.process_start, server.agent_id, server.lock_key,
                            server.lease.count()});
  transaction.notify(attempts_notice);
}

std::optional<std::int64_t> renew_server(Transaction& transaction, const ServerProcess& server) {
#define RENEW(until) \
  "update digdag_native_servers set lease_expires_at = " until " where id = $1 returning (select count(*) - 1 from digdag_native_servers)"
  static constexpr Sql sql(RENEW("now() + " SECONDS("$2")), RENEW("now() + " SECONDS_OF_SQLITE("$2")));
#undef RENEW
  const auto others = transaction.first(sql, {server.id, server.lease.count()});
  return others ? std::optional(others->integer(0)) : std::nullopt;
}

std::vector<ServerProcess> dead_servers(Transaction& transaction, const ServerProcess& here, bool alone) {
#define SERVERS(is_dead) \
  "select id, host, boot_id, pid, process_start, agent_id, lock_key, " is_dead " from digdag_native_servers where id <> $1"
  static constexpr Sql sql(SERVERS("case when pg_postmaster_start_time() > now() - " SECONDS(
                               "$2") " then 0 when lease_expires_at < now() then 1 "
                                     "when lock_key = 0 or lease_expires_at > now() + " SECONDS(
                                         "$3") " then 0 "
                                               "when pg_try_advisory_xact_lock(lock_key) then 1 else 0 end"),
                           SERVERS("lease_expires_at < now()"));
#undef SERVERS
  // Who has this much left has missed no renewal.
  const std::chrono::seconds fresh = here.lease - renewal_time(here.lease) - seconds(1);
  std::vector<ServerProcess> dead;
  for (const Row& row : transaction.query(sql, {here.id, here.lease.count(), fresh.count()})) {
    ServerProcess server{row.text(0), row.text(1), row.text(2), row.integer(3), row.integer(4), row.text(5), row.integer(6), here.lease};
    if (alone || row.integer(7) == 1 || is_running(server, here) == false) dead.push_back(std::move(server));
  }
  return dead;
}

std::int64_t remove_server(Transaction& transaction, const ServerProcess& server) {
  const std::int64_t attempts = transaction.execute("update digdag_native_attempts set owner = null where owner = $1", {server.id});
  transaction.send("delete from digdag_native_servers where id = $1", {server.id});
  if (attempts > 0) transaction.notify(attempts_notice);
  return attempts;
}

ForeignLocks foreign_locks(Transaction& transaction) {
  ForeignLocks locks;
  const auto row =
      transaction.first({"select count(*), coalesce(max(lock_expire_time), 0), extract(epoch from now())::bigint, "
                         "coalesce(max(lock_agent_id), '') from queued_task_locks "
                         "where lock_expire_time is not null and lease is null",
                         "select count(*), coalesce(max(lock_expire_time), 0), now() / 1000000, coalesce(max(lock_agent_id), '') from "
                         "queued_task_locks where "
                         "lock_expire_time is not null and lease is null"});
  locks.count = row->integer(0);
  locks.latest_expiry = row->integer(1);
  locks.now = row->integer(2);
  locks.agent_id = row->text(3);
  return locks;
}

std::int64_t expire_locks(Transaction& transaction) {
  static constexpr Sql sql(
      "update queued_task_locks set lock_expire_time = null, lock_agent_id = null, retry_count = retry_count + 1 where lock_expire_time < "
      "extract(epoch from now())::bigint and lease is null",
      "update queued_task_locks set lock_expire_time = null, lock_agent_id = null, retry_count = retry_count + 1 where lock_expire_time < "
      "now() / "
      "1000000 and lease is null");
  return transaction.execute(sql);
}

std::int64_t break_foreign_locks(Transaction& transaction) {
  return transaction.execute(
      "update queued_task_locks set lock_expire_time = null, lock_agent_id = null, retry_count = retry_count + 1 where lock_expire_time is "
      "not null and lease is null");
}

void forget_old_commits(Transaction& transaction) {
  static constexpr Sql sql("delete from digdag_native_commits where at < now() - interval '30 days'",
                           "delete from digdag_native_commits where at < now() - 30 * 86400 * 1000000");
  transaction.send(sql);
}

}  // namespace digdag::store
