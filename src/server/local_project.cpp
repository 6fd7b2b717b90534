#include "server/local_project.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "server/revision_content.h"
#include "store/projects.h"

namespace digdag::server {
namespace {

constexpr int site_id = 0;
constexpr std::string_view project_name = "default";

Value default_params_of(const SystemConfig& config) {
  const auto json = config.get("scheduler.localOverrideParams");
  Value params = json ? parse_json(*json) : Value::object();
  if (!params.is_object()) throw config_error("'scheduler.localOverrideParams' must be a JSON object");
  return params;
}

/// As text: the order of tasks counts.
std::string definition(const std::string& name, const TimeZone& timezone, const Value& config) {
  return name + " " + timezone.id() + " " + to_json(config);
}

std::vector<std::string> definitions(const dig::Project& project) {
  std::vector<std::string> all;
  all.reserve(project.files.size());
  for (const dig::Project::File& file : project.files)
    all.push_back(definition(file.workflow->name, file.workflow->timezone, file.workflow->config));
  std::sort(all.begin(), all.end());
  return all;
}

std::vector<std::string> definitions(const std::vector<store::WorkflowDefinition>& workflows) {
  std::vector<std::string> all;
  all.reserve(workflows.size());
  for (const store::WorkflowDefinition& workflow : workflows) all.push_back(definition(workflow.name, workflow.timezone, workflow.config));
  std::sort(all.begin(), all.end());
  return all;
}

/// One more than the greatest number among the project's revisions: those that somebody pushed have other names.
std::int64_t next_number(store::Projects& projects) {
  std::int64_t greatest = 0;
  const auto project = projects.by_name(project_name);
  if (!project) return 1;
  for (const store::Revision& revision : projects.revisions(project->id)) {
    std::int64_t number = 0;
    const char* const end = revision.name.data() + revision.name.size();
    if (std::from_chars(revision.name.data(), end, number).ptr == end) greatest = std::max(greatest, number);
  }
  return greatest + 1;
}

}  // namespace

std::optional<std::filesystem::path> LocalProject::directory_of(const SystemConfig& config) {
  const std::string directory(trim(config.get_or("scheduler.autoLoadLocalProject", "")));
  if (directory.empty()) return std::nullopt;
  return std::filesystem::absolute(directory);
}

LocalProject::LocalProject(const std::filesystem::path& directory, const SystemConfig& config, Parts parts)
    : parts_(std::move(parts)),
      default_params_(default_params_of(config)),
      watcher_(
          directory, begin(directory),
          [this](const dig::Project& project) {
            std::string revision = add_revision(project);
            parts_.schedules_changed();
            return revision;
          },
          parts_.log) {}

dig::Project LocalProject::begin(const std::filesystem::path& directory) {
  dig::Project project = dig::load_project(directory);
  if (const std::string faults = faults_of(project); !faults.empty()) throw Error("validation", "Validating project failed" + faults);
  const bool known = parts_.database.read([&](store::Transaction& transaction) {
    store::Projects projects(transaction, site_id);
    const auto stored = projects.by_name(project_name);
    const auto revision = stored ? projects.latest_revision(stored->id) : std::nullopt;
    return revision && to_json(revision->default_params) == to_json(default_params_) &&
           definitions(projects.workflows(revision->id)) == definitions(project);
  });
  if (!known) parts_.log.write(LogLevel::info, "main", "server", "Added new revision " + add_revision(project));
  return project;
}

std::string LocalProject::add_revision(const dig::Project& project) {
  const RevisionContent content(project, {.schedule_from = parts_.clock(), .now = parts_.clock()});
  return parts_.database.write([&](store::Transaction& transaction) {
    store::Projects projects(transaction, site_id);
    for (std::int64_t number = next_number(projects);; ++number) {
      const auto stored = content.insert(projects, transaction, std::string(project_name),
                                         {.name = std::to_string(number), .default_params = default_params_, .archive_type = "none"});
      if (stored) return stored->revision.name;
    }
  });
}

}  // namespace digdag::server
