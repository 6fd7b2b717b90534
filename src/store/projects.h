#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "base/value.h"
#include "store/database.h"

namespace digdag::store {

struct Project {
  std::int64_t id = 0, site_id = 0;
  std::string name;  ///< of a deleted one: the name that it had
  Timestamp created_at;
  std::optional<Timestamp> deleted_at;
};

struct Revision {
  std::int64_t id = 0, project_id = 0;
  std::string name;
  Value default_params;      ///< `{}` normally
  std::string archive_type;  ///< db, none, s3, gcs
  std::optional<std::string> archive_path;
  std::optional<std::string> archive_md5;  ///< 16 bytes
  Timestamp created_at;
  Value user_info;
};

/// A workflow as one revision has it (spec/server.md 10: workflow_definitions and workflow_configs).
struct WorkflowDefinition {
  std::int64_t id = 0;
  std::string name;
  Project project;
  std::int64_t revision_id = 0;
  std::string revision_name;
  Value revision_default_params = Value::object();
  TimeZone timezone;
  Value config;  ///< dig::Workflow::config
};

/// A project with its latest revision, as the API shows it.
struct LatestRevision {
  Project project;
  Revision revision;
};

struct NewRevision {
  std::string name;
  Value default_params = Value::object();
  std::string archive_type;  ///< db, none, s3, gcs
  std::optional<std::string> archive_path;
  std::optional<std::string> archive_md5;  ///< 16 bytes
  Value user_info = Value::object();
};

/// The projects, revisions and workflows of one site. Rows of other sites do not exist for it. Lives in a transaction.
class Projects {
 public:
  Projects(Transaction& transaction, std::int64_t site_id) : transaction_(transaction), site_id_(site_id) {}

  // ---- Projects ----

  /// A part of a list in the order of ids. `size` is not negative.
  struct Page {
    std::int64_t after_id = 0;  ///< `last_id`
    std::int64_t size = 100;
  };
  /// Not deleted ones that have a revision. `name_part`: empty, or what their names contain.
  std::vector<LatestRevision> list(const Page& page, std::string_view name_part = {});
  /// One that is not deleted.
  std::optional<Project> by_name(std::string_view name);
  /// Deleted ones, too.
  std::optional<Project> by_id(std::int64_t project_id);
  /// The project of this name, made where there is none, and locked until the transaction ends.
  Project put_and_lock(std::string_view name);
  /// Its name becomes free and its schedules, triggers and metadata go; all else stays. False where it is deleted already.
  bool remove(std::int64_t project_id);

  // ---- Revisions ----

  std::optional<Revision> latest_revision(std::int64_t project_id);
  std::optional<Revision> revision(std::int64_t project_id, std::string_view name);
  /// The revision that a workflow definition belongs to.
  std::optional<Revision> revision_of_workflow(std::int64_t workflow_definition_id);
  /// The newest 100, newest first.
  std::vector<Revision> revisions(std::int64_t project_id, std::optional<std::int64_t> before_id = {});
  /// Nothing where the project has a revision of this name.
  std::optional<Revision> insert_revision(std::int64_t project_id, const NewRevision& revision);
  void insert_archive(std::int64_t revision_id, std::string bytes);
  std::optional<std::string> archive(std::int64_t revision_id);

  // ---- Workflows ----

  struct NewWorkflow {
    std::string name;
    TimeZone timezone;
    Value config;  ///< dig::Workflow::config
  };
  /// Stores the workflows of a new revision, sorted by name; configs that the project has already are used again
  /// (spec/server.md 10, `config_digest`). In the order of ids. The project must be locked.
  std::vector<WorkflowDefinition> insert_workflows(const Project& project, const Revision& revision, std::vector<NewWorkflow> workflows);
  /// Any revision; deleted projects, too.
  std::optional<WorkflowDefinition> workflow(std::int64_t workflow_definition_id);
  std::optional<WorkflowDefinition> workflow(std::int64_t revision_id, std::string_view name);
  /// The workflow of this name in the latest revision of a project that is not deleted.
  std::optional<WorkflowDefinition> latest_workflow(std::int64_t project_id, std::string_view name);
  std::vector<WorkflowDefinition> workflows(std::int64_t revision_id);

  struct WorkflowFilter {
    std::string name_part;                ///< empty, or what the workflow's name contains
    bool search_project_name = false;     ///< or what the project's name contains
    bool descending = false;              ///< the order of ids
    std::optional<std::int64_t> last_id;  ///< only later ones in this order
    std::int64_t size = 100;
  };
  /// Of the latest revisions of all projects that are not deleted.
  std::vector<WorkflowDefinition> latest_workflows(const WorkflowFilter& filter);

 private:
  Transaction& transaction_;
  const std::int64_t site_id_;
};

/// Definitions of any site; those that do not exist are left out.
std::vector<WorkflowDefinition> workflows_of_ids(Transaction& transaction, const std::vector<std::int64_t>& ids);

/// The archive of a revision of any site, and the MD5 (16 bytes; empty: none) that was stored with it.
struct StoredArchive {
  std::string bytes, md5;
};
std::optional<StoredArchive> archive_of_revision(Transaction& transaction, std::int64_t revision_id);

/// `workflow_configs.config_digest` of a config's text (spec/server.md 10).
std::int64_t config_digest(std::string_view config_json, const TimeZone& timezone);

}  // namespace digdag::store
