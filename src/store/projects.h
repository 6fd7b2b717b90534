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
  TimeZone timezone;
  Value config;  ///< dig::Workflow::config
};

}  // namespace digdag::store
