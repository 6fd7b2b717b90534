// What it costs to make a running attempt durable, with the rows of the original (spec/server.md 10) and the group commit of
// design.md: locks by ascending id, versions and expected states checked, one commit for what has arrived, through the drivers of
// store/. A synthetic driver: chains of echo> tasks; each step ends one task and starts the next one.
//
//   bench_store_writes postgresql SOCKET_DIRECTORY POSTMASTER_PID | sqlite DIRECTORY
//
// Rows changed and WAL (of PostgreSQL) are per task over the whole life of its attempt: inserted, run, archived.

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "store/database.h"
#include "store/migrations.h"

namespace {

using namespace digdag;
using store::Database;
using store::Durability;
using store::SqlValues;
using store::Transaction;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// CPU seconds of this process.
double own_cpu() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(used.ru_utime) + of(used.ru_stime);
}

struct Attempt {
  std::int64_t id = 0;
  std::int64_t version = 0;
  std::vector<std::int64_t> tasks;  ///< the root, then a chain
  std::size_t running = 0;          ///< index into `tasks`; 0 = none yet
};

/// One attempt's part of a group commit: `ended` is done, `started` is leased to a local slot. 0 = none.
struct Step {
  Attempt* attempt;
  std::int64_t ended;
  std::int64_t started;
};

enum TaskState { blocked = 0, running = 4, planned = 5, success = 7 };

std::string name_of(int task) { return "+bench+t" + std::to_string(task); }
std::string config_of(int task) { return R"({"echo>":"hello )" + std::to_string(task) + R"("})"; }

/// About what an archived echo> task takes.
std::string archived(const Attempt& attempt) {
  std::string json = "[";
  for (std::size_t i = 0; i < attempt.tasks.size(); ++i) {
    if (i > 0) json += ',';
    json += fmt::format(
        R"({{"subtaskConfig":{{}},"exportParams":{{}},"resetStoreParams":[],"storeParams":{{}},"report":{{"inputs":[],"outputs":[]}},"error":{{}},)"
        R"("resumingTaskId":null,"id":{},"attemptId":{},"upstreams":[{}],"updatedAt":"2026-01-02T03:04:05Z","retryAt":null,)"
        R"("startedAt":"2026-01-02T03:04:05Z","stateParams":{{}},"retryCount":0,"parentId":{},"fullName":"{}",)"
        R"("config":{{"local":{},"export":{{}}}},"taskType":0,"state":"success","stateFlags":0}})",
        attempt.tasks[i], attempt.id, i > 1 ? std::to_string(attempt.tasks[i - 1]) : "", attempt.tasks[0], name_of(static_cast<int>(i)),
        config_of(static_cast<int>(i)));
  }
  return json + "]";
}

/// Every member function is one transaction.
class Writer {
 public:
  Writer(Database& database, std::string postmaster) : database_(database), postmaster_(std::move(postmaster)) {
    database_.write([](Transaction& transaction) {
      transaction.send("insert into projects (site_id, name, created_at) values (0, 'bench', now())");
      transaction.send("create table bare (n bigint not null)");
      transaction.send("insert into bare values (0)");
    });
  }

  std::unique_ptr<Attempt> insert(int number, int tasks) {
    auto attempt = database_.write([&](Transaction& transaction) {
      Attempt made;
      const std::int64_t session =
          transaction
              .query("insert into sessions (project_id, workflow_name, session_time) values (1, 'bench', $1) returning id",
                     {std::int64_t{number}})
              .at(0)
              .integer(0);
      made.id = transaction
                    .query(
                        "insert into session_attempts (session_id, site_id, project_id, attempt_name, state_flags, timezone, created_at, "
                        "\"index\") values ($1, 0, 1, '', 0, 'UTC', now(), 1) returning id",
                        {session})
                    .at(0)
                    .integer(0);
      transaction.send("insert into digdag_native_attempts values ($1, 'bench', 1, 0)", {made.id});
      // Ids come from the original's sequence.
      for (const store::Row& row : transaction.query(
               {"select nextval('tasks_id_seq') from generate_series(1, $1::int)",
                "with recursive n (i) as (select 1 union all select i + 1 from n where i < $1) select i + coalesce((select seq from "
                "sqlite_sequence where name = 'tasks'), 0) from n"},
               {std::int64_t{tasks} + 1}))
        made.tasks.push_back(row.integer(0));
      SqlValues ids, attempts, parents, types, states, task_names, configs, upstream, downstream;
      for (std::size_t i = 0; i < made.tasks.size(); ++i) {
        ids.emplace_back(made.tasks[i]);
        attempts.emplace_back(made.id);
        parents.push_back(i == 0 ? store::SqlValue(store::Null{}) : store::SqlValue(made.tasks[0]));
        types.emplace_back(std::int64_t{i == 0 ? 1 : 0});
        states.emplace_back(std::int64_t{i == 0 ? planned : blocked});
        task_names.emplace_back(name_of(static_cast<int>(i)));
        configs.emplace_back(config_of(static_cast<int>(i)));
        if (i > 1) upstream.emplace_back(made.tasks[i - 1]);
        if (i > 1) downstream.emplace_back(made.tasks[i]);
      }
      transaction.send_rows(
          {"insert into tasks (id, attempt_id, parent_id, task_type, state, state_flags, updated_at) select *, 0, now() from "
           "unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::smallint[])",
           "insert into tasks (id, attempt_id, parent_id, task_type, state, state_flags, updated_at) values ($1, $2, $3, $4, "
           "$5, 0, now())"},
          {ids, attempts, parents, types, states});
      transaction.send_rows(
          {"insert into task_details (id, full_name, local_config) select * from unnest($1::bigint[], $2::text[], $3::text[])",
           "insert into task_details (id, full_name, local_config) values ($1, $2, $3)"},
          {ids, task_names, configs});
      transaction.send_rows(
          {"insert into task_state_details (id) select * from unnest($1::bigint[])", "insert into task_state_details (id) values ($1)"},
          {ids});
      transaction.send_rows({"insert into task_dependencies (upstream_id, downstream_id) select * from unnest($1::bigint[], $2::bigint[])",
                             "insert into task_dependencies (upstream_id, downstream_id) values ($1, $2)"},
                            {upstream, downstream});
      return made;
    });
    return std::make_unique<Attempt>(std::move(attempt));
  }

  void commit(const std::vector<Step>& steps, bool queue_rows, Durability durability) {
    database_.write(
        [&](Transaction& transaction) {
          struct Change {
            std::int64_t task, was, becomes;
          };
          std::vector<Change> changes;
          SqlValues attempts, versions, tasks, was, becomes, started_names;
          std::vector<std::string> ended, started;
          std::vector<std::int64_t> attempt_ids, task_ids;
          for (const Step& step : steps) {
            attempt_ids.push_back(step.attempt->id);
            attempts.emplace_back(step.attempt->id);
            versions.emplace_back(step.attempt->version);
            if (step.ended != 0) changes.push_back({step.ended, running, success});
            if (step.started != 0) changes.push_back({step.started, blocked, running});
            if (step.ended != 0) ended.push_back(std::to_string(step.ended));
            if (step.started != 0) started.push_back(std::to_string(step.started));
          }
          std::sort(changes.begin(), changes.end(), [](const Change& a, const Change& b) { return a.task < b.task; });
          for (const std::string& name : started) started_names.emplace_back(name);
          for (const Change& change : changes) {
            task_ids.push_back(change.task);
            tasks.emplace_back(change.task);
            was.emplace_back(change.was);
            becomes.emplace_back(change.becomes);
          }
          const bool locks = database_.type() == "postgresql";
          if (locks) transaction.send("select 1 from digdag_native_attempts where id = any($1) order by id for update", {attempt_ids});
          transaction.send_rows(
              {"update digdag_native_attempts a set version = a.version + 1 from unnest($1::bigint[], $2::bigint[]) as e (id, "
               "version) where a.id = e.id and a.owner = 'bench' and a.epoch = 1 and a.version = e.version",
               "update digdag_native_attempts set version = version + 1 where id = $1 and owner = 'bench' and epoch = 1 and "
               "version = $2"},
              {attempts, versions}, static_cast<std::int64_t>(steps.size()));
          if (locks) transaction.send("select 1 from tasks where id = any($1) order by id for update", {task_ids});
          transaction.send_rows(
              {"update tasks t set state = e.becomes, updated_at = now(), started_at = case when e.becomes = 4 then now() else "
               "t.started_at end from unnest($1::bigint[], $2::smallint[], $3::smallint[]) as e (id, was, becomes) where t.id "
               "= e.id and t.state = e.was",
               "update tasks set state = $3, updated_at = now(), started_at = case when $3 = 4 then now() else started_at end "
               "where id = $1 and state = $2"},
              {tasks, was, becomes}, static_cast<std::int64_t>(changes.size()));
          if (!queue_rows) return;
          transaction.send(
              {"delete from queued_task_locks where id = any(array(select id from queued_tasks where site_id = 0 and unique_name = "
               "any($1)))",
               "delete from queued_task_locks where id in (select id from queued_tasks where site_id = 0 and unique_name in (select value "
               "from json_each($1)))"},
              {ended});
          transaction.send({"delete from queued_tasks where site_id = 0 and unique_name = any($1)",
                            "delete from queued_tasks where site_id = 0 and unique_name in (select value from json_each($1))"},
                           {ended});
          transaction.send_rows(
              {"insert into queued_tasks (site_id, unique_name, created_at) select 0, name, now() from unnest($1::text[]) e (name)",
               "insert into queued_tasks (site_id, unique_name, created_at) values (0, $1, now())"},
              {started_names});
          transaction.send(
              {"insert into queued_task_locks (id, site_id, priority, lock_expire_time, lock_agent_id) select id, 0, 0, 60, 'bench' "
               "from queued_tasks where site_id = 0 and unique_name = any($1)",
               "insert into queued_task_locks (id, site_id, priority, lock_expire_time, lock_agent_id) select id, 0, 0, 60, 'bench' "
               "from queued_tasks where site_id = 0 and unique_name in (select value from json_each($1))"},
              {started});
        },
        durability);
    for (const Step& step : steps) ++step.attempt->version;
  }

  void archive(const Attempt& attempt) {
    const std::string json = archived(attempt);
    database_.write([&](Transaction& transaction) {
      transaction.send("insert into task_archives values ($1, $2, now())", {attempt.id, json});
      transaction.send({"delete from task_dependencies where downstream_id = any($1)",
                        "delete from task_dependencies where downstream_id in (select value from json_each($1))"},
                       {attempt.tasks});
      transaction.send(
          {"delete from task_details where id = any($1)", "delete from task_details where id in (select value from json_each($1))"},
          {attempt.tasks});
      transaction.send({"delete from task_state_details where id = any($1)",
                        "delete from task_state_details where id in (select value from json_each($1))"},
                       {attempt.tasks});
      transaction.send({"delete from tasks where id = any($1)", "delete from tasks where id in (select value from json_each($1))"},
                       {attempt.tasks});
      transaction.send("update session_attempts set state_flags = 6, finished_at = now() where id = $1", {attempt.id}, 1);
      transaction.send("delete from digdag_native_attempts where id = $1", {attempt.id}, 1);
    });
  }

  void bare_commit(Durability durability) {
    database_.write([](Transaction& transaction) { transaction.send("update bare set n = n + 1"); }, durability);
  }

  /// Whether the database has processes and a log of changes of its own to be measured.
  bool has_server() const { return !postmaster_.empty(); }
  /// Seconds so far of the processes of the server.
  double database_cpu() {
    if (!has_server()) return 0;
    double ticks = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
      std::ifstream stat(entry.path() / "stat");
      std::string line;
      if (!std::getline(stat, line)) continue;
      std::istringstream fields(line.substr(line.rfind(')') + 2));
      std::vector<std::string> field;
      for (std::string each; fields >> each;) field.push_back(each);
      const bool is_postmaster = entry.path().filename() == postmaster_;
      if (field.size() > 14 && (is_postmaster || field[1] == postmaster_))
        ticks += std::stod(field[11]) + std::stod(field[12]) + (is_postmaster ? std::stod(field[13]) + std::stod(field[14]) : 0);
    }
    return ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  std::int64_t wal_bytes() {
    if (!has_server()) return 0;
    return database_.read([](Transaction& transaction) {
      return transaction.query("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint").at(0).integer(0);
    });
  }

 private:
  Database& database_;
  std::string postmaster_;
};

// ---- the driver --------------------------------------------------------------------------------------------------------

int next_session = 0;

/// Attempts of so many tasks run side by side; each commit takes a step of each.
void measure(Writer& writer, int attempts, int tasks, bool queue_rows, Durability durability = Durability::power_cut) {
  struct Phase {
    const char* name;
    double wall = 0, cpu = 0, database_cpu = 0;
    std::int64_t wal = 0, commits = 0;
  };
  Phase phases[3] = {{"insert"}, {"run"}, {"archive"}};
  std::vector<std::unique_ptr<Attempt>> all;
  const auto phase = [&](Phase& counted, const auto& work) {
    const std::int64_t wal = writer.wal_bytes();
    const double cpu = own_cpu(), database = writer.database_cpu();
    const auto start = Clock::now();
    counted.commits = work();
    counted.wall = seconds_since(start);
    counted.cpu = own_cpu() - cpu;
    counted.database_cpu = writer.database_cpu() - database;
    counted.wal = writer.wal_bytes() - wal;
  };
  phase(phases[0], [&] {
    for (int i = 0; i < attempts; ++i) all.push_back(writer.insert(next_session++, tasks));
    return attempts;
  });
  phase(phases[1], [&] {
    int commits = 0;
    for (std::size_t task = 0; task < all[0]->tasks.size(); ++task, ++commits) {
      std::vector<Step> steps;
      for (const auto& attempt : all) {
        const bool last = task + 1 == attempt->tasks.size();
        steps.push_back({attempt.get(), task == 0 ? 0 : attempt->tasks[task], last ? 0 : attempt->tasks[task + 1]});
      }
      writer.commit(steps, queue_rows, durability);
    }
    return commits;
  });
  phase(phases[2], [&] {
    for (const auto& attempt : all) writer.archive(*attempt);
    return attempts;
  });
  const double count = static_cast<double>(attempts) * tasks;
  // tasks, details, state details, dependencies; then states and versions; then the same rows again, and four of the attempt.
  const double rows = 4 + 3 + (queue_rows ? 4 : 0) + 4;
  double wall = 0, cpu = 0, database = 0, wal = 0;
  for (const Phase& each : phases) {
    wall += each.wall;
    cpu += each.cpu;
    database += each.database_cpu;
    wal += static_cast<double>(each.wal);
  }
  fmt::print("  {:>3} x {:<4} {:<14} {:>8.0f} {:>8.0f} {:>7.0f} {:>7.0f} {:>9.2f} {:>8.3f} {:>8} {:>7.0f} {:>8}\n", attempts, tasks,
             durability == Durability::process ? "process only"
             : queue_rows                      ? "queue rows"
                                               : "no queue rows",
             count / wall, count / phases[1].wall, count / phases[0].wall, count / phases[2].wall,
             1000 * phases[1].wall / static_cast<double>(phases[1].commits), 1000 * cpu / count,
             writer.has_server() ? fmt::format("{:.3f}", 1000 * database / count) : "-", rows,
             writer.has_server() ? fmt::format("{:.0f}", wal / count) : "-");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "usage: bench_store_writes postgresql SOCKET_DIRECTORY POSTMASTER_PID | sqlite DIRECTORY\n"), 2;
  try {
    SystemConfig system;
    system.set("database.type", argv[1]);
    for (const char* key : {"database.path", "database.host"}) system.set(key, argv[2]);
    system.set("database.user", "bench");
    system.set("database.database", "postgres");
    Log log({});
    const auto database = store::open_database(system, log);
    store::migrate(*database);
    Writer writer(*database, argc > 3 ? argv[3] : "");
    fmt::print("{}\n", argv[1]);
    for (const Durability durability : {Durability::power_cut, Durability::process}) {
      const auto start = Clock::now();
      constexpr int bare = 200;
      for (int i = 0; i < bare; ++i) writer.bare_commit(durability);
      fmt::print("  bare commit {:.2f} ms{}\n", 1000 * seconds_since(start) / bare,
                 durability == Durability::process ? " (process only)" : "");
    }
    fmt::print("  attempts x tasks          tasks/s: all      run  insert archive  ms/commit   CPU ms db CPU ms    rows WAL bytes\n");
    for (const bool queue_rows : {false, true}) {
      measure(writer, 1, 200, queue_rows);
      measure(writer, 20, 50, queue_rows);
      measure(writer, 20, 50, queue_rows);
      measure(writer, 100, 50, queue_rows);
      measure(writer, 1000, 10, queue_rows);
    }
    measure(writer, 1, 200, true, Durability::process);
    measure(writer, 20, 50, true, Durability::process);
    measure(writer, 100, 50, true, Durability::process);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
