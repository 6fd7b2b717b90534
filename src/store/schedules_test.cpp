#include "store/schedules.h"

#include <gmock/gmock.h>

#include <thread>

#include "store/schema_for_test.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class Schedules : public DatabaseWithSchema {
 protected:
  /// Project of a site with workflows w1, w2, … that are due at 1000, 1001, …
  std::int64_t add_project(std::int64_t site, const std::string& name, int workflows) {
    return database_->write([&](Transaction& transaction) {
      Projects projects(transaction, site);
      const Project project = projects.put_and_lock(name);
      const auto revision =
          projects.insert_revision(project.id, {.name = "r", .archive_type = "none", .archive_path = {}, .archive_md5 = ""});
      std::vector<Projects::NewWorkflow> added;
      for (int i = 1; i <= workflows; ++i) added.push_back({"w" + std::to_string(i), TimeZone(), Value::object({{"schedule", i}})});
      std::vector<NewSchedule> schedules;
      for (const auto& workflow : projects.insert_workflows(project, *revision, added)) {
        const std::int64_t number = std::stoll(workflow.name.substr(1));
        schedules.push_back({workflow.id, Instant::of_seconds(999 + number), Instant::of_seconds(number)});
      }
      insert_schedules(transaction, project.id, schedules);
      return project.id;
    });
  }
  std::vector<Schedule> page(const SchedulePage& page) {
    return database_->read([&](Transaction& transaction) { return schedules(transaction, page); });
  }
};
DIGDAG_FOR_EVERY_DATABASE(Schedules);

// rest-api 18.94
TEST_P(Schedules, AreListedInPagesOfAHundredById) {
  add_project(0, "p", 130);
  add_project(1, "other", 1);
  const auto first = page({.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = 0});
  ASSERT_THAT(first, SizeIs(100));
  const auto second = page({.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = first.back().id});
  ASSERT_THAT(second, SizeIs(30));
  EXPECT_LT(first.back().id, second.front().id);
  EXPECT_THAT(page({.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = second.back().id}), IsEmpty());
}

// rest-api 18.45
TEST_P(Schedules, AreFoundByProjectAndWorkflow) {
  const std::int64_t p = add_project(0, "p", 3);
  add_project(0, "q", 3);
  EXPECT_THAT(page({.site_id = 0, .project_id = p, .workflow_name = {}, .after_id = 0}), SizeIs(3));
  const auto found = page({.site_id = 0, .project_id = p, .workflow_name = "w2", .after_id = 0});
  ASSERT_THAT(found, SizeIs(1));
  EXPECT_EQ(found[0].project_name, "p");
  EXPECT_EQ(found[0].next_run_time, Instant::of_seconds(1001));
  EXPECT_EQ(found[0].next_session_time, Instant::of_seconds(2));
  EXPECT_THAT(page({.site_id = 0, .project_id = p, .workflow_name = "nosuch", .after_id = 0}), IsEmpty());
  EXPECT_THAT(page({.site_id = 1, .project_id = p, .workflow_name = "w2", .after_id = 0}), IsEmpty());
}

TEST_P(Schedules, AreDueByRunTimeUnlessTheyAreDisabled) {
  add_project(0, "p", 5);
  database_->write([](Transaction& transaction) {
    for (const Schedule& schedule : schedules(transaction, {.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = 0})) {
      if (schedule.workflow_name == "w2") set_schedule_disabled(transaction, schedule.id, true);
    }
  });
  database_->read([](Transaction& transaction) {
    std::vector<std::string> due;
    for (const auto& schedule : due_schedules(transaction, {}, Instant::of_seconds(1003), 3)) due.push_back(schedule.workflow_name);
    EXPECT_THAT(due, ElementsAre("w1", "w3", "w4"));
    EXPECT_THAT(due_schedules(transaction, {}, Instant::of_seconds(1003), 2), SizeIs(2));
    EXPECT_THAT(due_schedules(transaction, {SiteSelection::Mode::only, {1, 2}}, Instant::of_seconds(1003), 3), IsEmpty());
    EXPECT_THAT(due_schedules(transaction, {SiteSelection::Mode::except, {1, 2}}, Instant::of_seconds(1003), 3), SizeIs(3));
    EXPECT_EQ(earliest_run_time(transaction, {}), Instant::of_seconds(1000));
    EXPECT_EQ(earliest_run_time(transaction, {SiteSelection::Mode::only, {1}}), std::nullopt);
  });
}

class SchedulesOfSeveralServers : public Schedules {};
INSTANTIATE_TEST_SUITE_P(One, SchedulesOfSeveralServers, testing::Values("postgresql"));

TEST_P(SchedulesOfSeveralServers, AreLeftToWhoHasLockedThem) {
  add_project(0, "p", 2);
  const auto all = page({.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = 0});
  const auto other = open_database(system_, log_);
  database_->write([&](Transaction& transaction) {
    lock_schedule(transaction, 0, all[0].id);
    std::thread([&] {
      other->write([&](Transaction& others) {
        const auto free = lock_free_schedules(others, {all[0].id, all[1].id});
        ASSERT_THAT(free, SizeIs(1));
        EXPECT_EQ(free[0].id, all[1].id);
      });
    }).join();
  });
}

void start_session(Transaction& transaction, std::int64_t project) {
  transaction.execute(
      "insert into sessions (project_id, workflow_name, session_time, session_uuid)"
      " values ($1, 'w1', 1, cast('00000000-0000-4000-8000-000000000000' as uuid))",
      {project});
}

TEST_P(SchedulesOfSeveralServers, StartWhileTheirProjectIsPushed) {
  const std::int64_t project = add_project(0, "p", 1);
  const auto other = open_database(system_, log_);
  database_->write([&](Transaction& push) {
    Projects(push, 0).put_and_lock("p");
    std::thread([&] {
      other->write([&](Transaction& start) {
        start.execute("set local lock_timeout = '20s'");
        start_session(start, project);
      });
    }).join();
  });
}

TEST_P(SchedulesOfSeveralServers, StartWhileTheirProjectIsDeleted) {
  const std::int64_t project = add_project(0, "p", 1);
  const auto all = page({.site_id = 0, .project_id = {}, .workflow_name = {}, .after_id = 0});
  const auto other = open_database(system_, log_);
  int tries = 0;  // one that is in a deadlock is tried again
  std::thread deletion;
  database_->write([&](Transaction& start) {
    ++tries;
    ASSERT_THAT(lock_free_schedules(start, {all[0].id}), SizeIs(1));
    deletion = std::thread([&] {
      other->write([&](Transaction& others) {
        ++tries;
        EXPECT_TRUE(Projects(others, 0).remove(project));
      });
    });
    while (!start.first("select 1 from pg_locks where not granted", {})) std::this_thread::yield();
    start_session(start, project);
  });
  deletion.join();
  EXPECT_EQ(tries, 2);
}

}  // namespace
}  // namespace digdag::store
