#include "store/migrations.h"

#include <gmock/gmock.h>

#include <future>

#include "store/breaking_database_for_test.h"
#include "store/database_for_test.h"

namespace digdag::store {
namespace {

class Migrations : public DatabaseOfKind {
 protected:
  std::int64_t number(const Sql& sql) {
    return database_->read([&](Transaction& transaction) { return transaction.query(sql).at(0).integer(0); });
  }
};

// server 23.33, 23.35
TEST_P(Migrations, MakeTheWholeSchemaAndRecordTheNamesOfTheOriginal) {
  const MigrationState before = check_migrations(*database_);
  EXPECT_FALSE(before.has_tables);
  EXPECT_EQ(before.missing.size(), 25u);
  EXPECT_EQ(before.missing.front(), "20151204221156");
  EXPECT_FALSE(check_migrations(*database_).has_tables) << "looking makes nothing";
  EXPECT_TRUE(migrate(*database_));
  const MigrationState after = check_migrations(*database_);
  EXPECT_TRUE(after.has_tables);
  EXPECT_THAT(after.missing, testing::IsEmpty());
  EXPECT_EQ(number("select count(*) from schema_migrations"), 24);
  EXPECT_FALSE(migrate(*database_));
  database_->write([](Transaction& transaction) {
    const std::int64_t project =
        transaction.query("insert into projects (site_id, name, created_at) values (0, 'p', now()) returning id").at(0).integer(0);
    EXPECT_EQ(project, 1);
    const Row session =
        transaction
            .query(
                "insert into sessions (project_id, workflow_name, session_time) values ($1, 'w', 0) returning id, session_uuid, "
                "last_attempt_created_at",
                {project})
            .at(0);
    EXPECT_EQ(session.text(1).size(), 36u);
    transaction.send(
        "insert into session_attempts (session_id, site_id, project_id, attempt_name, state_flags, timezone, created_at, \"index\") values "
        "($1, 0, $2, '', 0, 'UTC', now(), 1)",
        {session.integer(0), project});
    EXPECT_LE(transaction.query("select created_at from session_attempts").at(0).time(0), transaction.now());
  });
}

TEST_P(Migrations, GoOnAfterAnEndAtAnyStatement) {
  const int stride = std::string_view(GetParam()) == "postgresql" ? 11 : 1;  // it takes its time to forget half a schema
  for (int statements = 0;; statements += stride) {
    ASSERT_LT(statements, 1000);
    BreakingDatabase breaking(*database_, statements);
    try {
      migrate(breaking);
      break;
    } catch (const Broken&) {
      const MigrationState state = check_migrations(*database_);
      EXPECT_TRUE(state.missing.size() == 25 || state.missing.size() == 1) << state.missing.size();
    }
  }
  EXPECT_THAT(check_migrations(*database_).missing, testing::IsEmpty());
  EXPECT_EQ(number("select count(*) from schema_migrations"), 24);
}

// server 23.36
TEST_P(Migrations, AreDoneOnceWhereSeveralServersStartAtTheSameTime) {
  std::vector<std::future<bool>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(std::async(std::launch::async, [&] {
      if (database_->type() != "postgresql") return migrate(*database_);
      const auto own = open_database(system_, log_);
      return migrate(*own);
    }));
  }
  for (auto& each : all) each.get();
  EXPECT_THAT(check_migrations(*database_).missing, testing::IsEmpty());
  EXPECT_EQ(number("select count(*) from schema_migrations"), 24);
}

TEST_P(Migrations, RefuseATableOfTheSameNameThatIsNotOurs) {
  database_->write([](Transaction& transaction) {
    transaction.send("create table schema_migrations (name text not null, created_at timestamptz not null)");
    transaction.send("insert into schema_migrations values ('20240101000000', now())");
  });
  try {
    migrate(*database_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), testing::HasSubstr("does not name the first migration 20151204221156"));
  }
}

TEST(MigrationsOfPostgresql, BuildAnIndexAgainThatWasLeftInvalid) {
  PostgresqlForTest& server = PostgresqlForTest::instance();
  const SystemConfig system = server.new_database();
  const std::string name = *system.get("database.database");
  Log log({.level = LogLevel::error, .console_to_stderr = true});
  const auto database = open_database(system, log);
  migrate(*database);
  server.sql("delete from schema_migrations where name in ('20200716114008', '20191105105927')", name);
  server.sql("drop index sessions_on_project_id_and_workflow_name_desc", name);
  server.sql("update pg_index set indisvalid = false where indexrelid = 'sessions_on_last_attempt_id'::regclass", name);
  std::vector<std::future<bool>> all;
  for (int i = 0; i < 3; ++i) all.push_back(std::async(std::launch::async, [&] { return migrate(*open_database(system, log)); }));
  for (auto& each : all) each.get();
  EXPECT_EQ(
      server.sql("select string_agg(indisvalid::text, ' ') from pg_index where indexrelid in ('sessions_on_last_attempt_id'::regclass, "
                 "'sessions_on_project_id_and_workflow_name_desc'::regclass)",
                 name),
      "true true");
  EXPECT_THAT(check_migrations(*database).missing, testing::IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Every, Migrations, testing::Values("memory", "sqlite", "postgresql"), [](const auto& kind) { return kind.param; });

}  // namespace
}  // namespace digdag::store
