#include "store/projects.h"

#include <gmock/gmock.h>

#include <map>

#include "base/json.h"
#include "store/schema_for_test.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class ProjectsOf : public DatabaseWithSchema {
 protected:
  struct Pushed {
    Project project;
    Revision revision;
    std::vector<WorkflowDefinition> workflows;
  };
  /// Workflows by name and config.
  Pushed push(const std::string& project, const std::string& revision, const std::map<std::string, std::string>& workflows = {},
              std::int64_t site_id = 0) {
    return write([&](Transaction& transaction) {
      Projects projects(transaction, site_id);
      Pushed pushed;
      pushed.project = projects.put_and_lock(project);
      pushed.revision =
          projects.insert_revision(pushed.project.id, {.name = revision, .archive_type = "db", .archive_md5 = std::string(16, '\xff')})
              .value();
      std::vector<Projects::NewWorkflow> definitions;
      // Backwards, because the store sorts them.
      for (auto one = workflows.rbegin(); one != workflows.rend(); ++one)
        definitions.push_back({one->first, tokyo_, parse_json(one->second)});
      pushed.workflows = projects.insert_workflows(pushed.project, pushed.revision, definitions);
      return pushed;
    });
  }
  template <typename Ask>
  auto ask(Ask question, std::int64_t site_id = 0) {
    return write([&](Transaction& transaction) {
      Projects projects(transaction, site_id);
      return question(projects);
    });
  }
  std::vector<std::string> names(const Projects::Page& page, const std::string& part = {}) {
    std::vector<std::string> found;
    for (const LatestRevision& one : ask([&](Projects& projects) { return projects.list(page, part); })) {
      found.push_back(one.project.name + ":" + one.revision.name);
    }
    return found;
  }
  std::vector<std::string> workflows(const Projects::WorkflowFilter& filter) {
    std::vector<std::string> found;
    for (const auto& one : ask([&](Projects& projects) { return projects.latest_workflows(filter); })) {
      found.push_back(one.project.name + "/" + one.name + "@" + one.revision_name);
    }
    return found;
  }
  std::int64_t count(const Sql& sql) {
    return write([&](Transaction& transaction) { return transaction.query(sql).front().integer(0); });
  }

  const TimeZone tokyo_ = TimeZone::of("Asia/Tokyo").value();
};

// rest-api 18.21, 18.34
TEST_P(ProjectsOf, AProjectKeepsItsIdOverPushesAndWorkflowsGetNewOnes) {
  const Pushed first = push("orders", "r1", {{"a", R"({"+x":{"echo>":1}})"}});
  const Pushed second = push("orders", "r2", {{"a", R"({"+x":{"echo>":1}})"}});
  EXPECT_EQ(first.project.id, second.project.id);
  EXPECT_NE(first.workflows[0].id, second.workflows[0].id);
  EXPECT_EQ(count("select count(*) from workflow_configs"), 1);
  EXPECT_EQ(push("empty", "r1").project.id, first.project.id + 1) << "a push to a project that is there uses up no id";
}

// rest-api 18.22
TEST_P(ProjectsOf, ARevisionNameIsTakenOnce) {
  const Pushed pushed = push("orders", "r1");
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.insert_revision(pushed.project.id, {.name = "r1"}); }).has_value());
}

TEST_P(ProjectsOf, WorkflowsAreSortedByNameAndConfigsAreSharedByContentAndZone) {
  const std::string config = R"({"_export":{"x":1.0},"+b":{"sh>":"ls"},"+a":{"echo>":"日本"}})";
  const Pushed pushed = push("orders", "r1", {{"b", config}, {"a", config}, {"c", "{}"}});
  EXPECT_EQ(pushed.workflows[0].name, "a");
  EXPECT_LT(pushed.workflows[0].id, pushed.workflows[1].id);
  EXPECT_LT(pushed.workflows[1].id, pushed.workflows[2].id);
  EXPECT_EQ(count("select count(*) from workflow_configs"), 2);
  const auto found = ask([&](Projects& projects) { return projects.workflow(pushed.workflows[1].id); });
  EXPECT_EQ(found->name, "b");
  EXPECT_EQ(to_json(found->config), config);
  EXPECT_EQ(found->timezone, tokyo_);
  EXPECT_EQ(found->revision_name, "r1");
  EXPECT_EQ(found->project.name, "orders");
}

// server 10
TEST(ConfigDigest, IsTheFirstEightBytesOfTheHashAsASignedNumber) {
  EXPECT_EQ(config_digest("{}", TimeZone()), -2476055916119087920);  // MD5 of `{} UTC`: dda3484353b7a4d0…
}

// rest-api 18.38
TEST_P(ProjectsOf, AListIsPagedAndSearchedLiterally) {
  push("orders", "r1");
  push("orders", "r2");
  push("ord%er", "r1");
  push("Orders2", "r1");
  push("elsewhere", "r1", {}, 7);
  EXPECT_THAT(names({}), ElementsAre("orders:r2", "ord%er:r1", "Orders2:r1"));
  EXPECT_THAT(names({.after_id = 1, .size = 1}), ElementsAre("ord%er:r1"));
  EXPECT_THAT(names({}, "rd%"), ElementsAre("ord%er:r1"));
  EXPECT_THAT(names({}, "orders"), ElementsAre("orders:r2"));
  EXPECT_THAT(names({}, "zz"), IsEmpty());
  EXPECT_THAT(names({.size = 0}), IsEmpty());
}

// rest-api 18.103
TEST_P(ProjectsOf, ADeletedProjectFreesItsNameAndStaysReadable) {
  const Pushed pushed = push("orders", "r1", {{"a", "{}"}});
  EXPECT_TRUE(ask([&](Projects& projects) { return projects.remove(pushed.project.id); }));
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.remove(pushed.project.id); }));
  EXPECT_FALSE(ask([](Projects& projects) { return projects.by_name("orders"); }).has_value());
  const auto deleted = ask([&](Projects& projects) { return projects.by_id(pushed.project.id); });
  EXPECT_EQ(deleted->name, "orders");
  EXPECT_TRUE(deleted->deleted_at.has_value());
  EXPECT_TRUE(ask([&](Projects& projects) { return projects.workflow(pushed.workflows[0].id); }).has_value());
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.latest_workflow(pushed.project.id, "a"); }).has_value());
  EXPECT_THAT(names({}), IsEmpty());
  EXPECT_THAT(workflows({}), IsEmpty());
  EXPECT_NE(push("orders", "r1").project.id, pushed.project.id);
}

// rest-api 18.40
TEST_P(ProjectsOf, RevisionsAreListedNewestFirst) {
  const std::int64_t id = push("orders", "r1").project.id;
  push("orders", "r2");
  const auto all = ask([&](Projects& projects) { return projects.revisions(id); });
  ASSERT_THAT(all, SizeIs(2));
  EXPECT_EQ(all[0].name, "r2");
  EXPECT_EQ(all[0].archive_md5, std::string(16, '\xff'));
  EXPECT_EQ(to_json(all[0].user_info), "{}");
  EXPECT_THAT(ask([&](Projects& projects) { return projects.revisions(id, all[0].id); }), SizeIs(1));
  EXPECT_EQ(ask([&](Projects& projects) { return projects.latest_revision(id); })->name, "r2");
  EXPECT_EQ(ask([&](Projects& projects) { return projects.revision(id, "r1"); })->id, all[1].id);
}

TEST_P(ProjectsOf, AnArchiveComesBackByteForByte) {
  const Pushed pushed = push("orders", "r1");
  std::string bytes;
  for (int i = 0; i < 300'000; ++i) bytes += static_cast<char>(i * 31);
  ask([&](Projects& projects) {
    projects.insert_archive(pushed.revision.id, bytes);
    return 0;
  });
  EXPECT_EQ(ask([&](Projects& projects) { return projects.archive(pushed.revision.id); }), bytes);
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.archive(pushed.revision.id + 1); }).has_value());
}

// rest-api 18.48, 18.49, 18.50
TEST_P(ProjectsOf, WorkflowsOfLatestRevisionsAreListedInBothOrders) {
  push("orders", "r1", {{"old", "{}"}});
  const Pushed orders = push("orders", "r2", {{"calc", "{}"}, {"load", "{}"}});
  push("billing", "r1", {{"slow", "{}"}});
  EXPECT_THAT(workflows({}), ElementsAre("orders/calc@r2", "orders/load@r2", "billing/slow@r1"));
  EXPECT_THAT(workflows({.descending = true, .size = 2}), ElementsAre("billing/slow@r1", "orders/load@r2"));
  EXPECT_THAT(workflows({.last_id = orders.workflows[0].id}), ElementsAre("orders/load@r2", "billing/slow@r1"));
  EXPECT_THAT(workflows({.descending = true, .last_id = orders.workflows[1].id}), ElementsAre("orders/calc@r2"));
  EXPECT_THAT(workflows({.name_part = "lo"}), ElementsAre("orders/load@r2", "billing/slow@r1"));
  EXPECT_THAT(workflows({.name_part = "ord"}), IsEmpty());
  EXPECT_THAT(workflows({.name_part = "ord", .search_project_name = true}), ElementsAre("orders/calc@r2", "orders/load@r2"));
}

// server 6: ids of another site behave as non-existent
TEST_P(ProjectsOf, AnotherSiteDoesNotExist) {
  const Pushed pushed = push("orders", "r1", {{"a", "{}"}}, 7);
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.by_id(pushed.project.id); }).has_value());
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.latest_revision(pushed.project.id); }).has_value());
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.workflow(pushed.workflows[0].id); }).has_value());
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.archive(pushed.revision.id); }).has_value());
  EXPECT_FALSE(ask([&](Projects& projects) { return projects.remove(pushed.project.id); }));
  EXPECT_TRUE(ask([&](Projects& projects) { return projects.by_id(pushed.project.id); }, 7).has_value());
}

DIGDAG_FOR_EVERY_DATABASE(ProjectsOf);

}  // namespace
}  // namespace digdag::store
