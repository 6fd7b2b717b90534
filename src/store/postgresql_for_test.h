#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/eventually_for_test.h"
#include "base/library.h"
#include "base/properties.h"
#include "base/temporary_directory_for_test.h"
#include "store/postgresql_library.h"

namespace digdag::store {

/// For tests: a PostgreSQL server of this test program, started when the first test asks for it and ended with the program. It listens
/// at a socket in a directory of its own.
class PostgresqlForTest {
 public:
  static PostgresqlForTest& instance() {
    static PostgresqlForTest server;
    return server;
  }
  ~PostgresqlForTest() { stop(SIGQUIT); }

  /// The configuration of a new, empty database.
  SystemConfig new_database() {
    const std::string name = "test" + std::to_string(++databases_);
    sql("create database " + name);
    return database(name);
  }
  SystemConfig database(const std::string& name) const {
    SystemConfig system;
    system.set("database.type", "postgresql");
    system.set("database.host", directory_.path());
    system.set("database.user", "digdag");
    system.set("database.database", name);
    return system;
  }
  /// Runs a statement on a connection of its own; gives the first value of its answer.
  std::string sql(const std::string& statement, const std::string& database = "postgres") const {
    const Libpq& library = libpq();
    const std::string host = directory_.path();
    const char* const keywords[] = {"host", "user", "dbname", nullptr};
    const char* const values[] = {host.c_str(), "digdag", database.c_str(), nullptr};
    PGconn* const connection = library.connectStartParams(keywords, values, 0);
    // The socket is a local one: nothing of it waits for long.
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) state = library.connectPoll(connection);
    std::string answer;
    if (state == PGRES_POLLING_OK) {
      PGresult* const result = execute_(connection, statement.c_str());
      const ExecStatusType status = library.resultStatus(result);
      EXPECT_TRUE(status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) << statement << ": " << library.errorMessage(connection);
      if (library.ntuples(result) > 0) answer = library.getvalue(result, 0, 0);
      library.clear(result);
    } else {
      answer = std::string("cannot connect: ") + library.errorMessage(connection);
    }
    library.finish(connection);
    return answer;
  }
  std::filesystem::path socket() const { return directory_ / ".s.PGSQL.5432"; }
  void start() {
    ASSERT_EQ(process_, 0);
    process_ = run({bin_ / "postgres", "-D", directory_ / "data", "-k", directory_.path(), "-c", "listen_addresses=", "-c", "fsync=off",
                    "-c", "deadlock_timeout=50ms", "-c", "max_connections=60"});
    ASSERT_TRUE(eventually([&] { return sql("select 1") == "1"; })) << "PostgreSQL does not start; its log: " << log();
  }
  /// `how`: SIGINT ends connections and stops, SIGQUIT does it as a crash would.
  void stop(int how = SIGINT) {
    if (process_ == 0) return;
    kill(process_, how);
    waitpid(process_, nullptr, 0);
    process_ = 0;
  }

 private:
  PostgresqlForTest() {
    for (const auto& entry : std::filesystem::directory_iterator("/usr/lib/postgresql")) bin_ = std::max(bin_, entry.path() / "bin");
    const Library library("libpq.so.5", "the test needs", "libpq5");
    library.find(execute_, "PQexec");
    if (getuid() == 0) {  // as whom the server refuses to run
      user_ = getpwnam("postgres");
      EXPECT_EQ(chown(directory_.path().c_str(), user_->pw_uid, user_->pw_gid), 0);
    }
    int status = 1;
    waitpid(run({bin_ / "initdb", "-D", directory_ / "data", "-U", "digdag", "--auth=trust", "--no-sync", "--no-instructions", "-E", "UTF8",
                 "--locale=C.UTF-8"}),
            &status, 0);
    EXPECT_EQ(status, 0) << "initdb: " << log();
    start();
  }

  pid_t run(const std::vector<std::string>& words) const {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const std::string log_file = directory_ / "log";
    const pid_t child = fork();
    if (child != 0) return child;
    if (user_ != nullptr && (setgroups(0, nullptr) != 0 || setgid(user_->pw_gid) != 0 || setuid(user_->pw_uid) != 0)) _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    const int out = open(log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  std::string log() const {
    std::ifstream file(directory_ / "log");
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryDirectory directory_;
  std::filesystem::path bin_;
  const passwd* user_ = nullptr;
  pid_t process_ = 0;
  int databases_ = 0;
  decltype(&PQexec) execute_ = nullptr;
};

}  // namespace digdag::store
