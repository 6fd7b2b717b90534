#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace digdag::cli {

struct ProjectFile {
  std::string path;
  std::string content;
  bool executable = false;
};

/// What `digdag init` puts into a new project (spec/cli.md 6.1).
struct ProjectType {
  std::string_view name;
  std::vector<ProjectFile> files;  ///< before the workflow
  std::string workflow;
  bool needs_server = false;
  std::string_view operator_name = "echo";  ///< that its workflow is about
};

/// nullptr: there is no such type.
const ProjectType* find_project_type(std::string_view name);

}  // namespace digdag::cli
