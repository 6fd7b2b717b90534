#include "server/revision_content.h"

#include <map>
#include <utility>

#include "base/error.h"
#include "dig/source_lines.h"

namespace digdag::server {

RevisionContent::RevisionContent(const dig::Project& project, const schedule::PushOptions& options) {
  std::vector<schedule::PushedWorkflow> pushed;
  for (const dig::Project::File& file : project.files) {
    const dig::Workflow& workflow = file.workflow.value();
    pushed.push_back({workflow.name, workflow.timezone, workflow.config});
    workflows_.push_back({workflow.name, workflow.timezone, workflow.config});
  }
  try {
    schedules_ = std::make_unique<schedule::PushedSchedules>(pushed, options);
  } catch (const Error& error) {
    throw dig::SourceLines(project.directory).complete(error);
  }
  triggers_ = std::make_unique<schedule::PushedTriggers>(pushed);
}

std::optional<RevisionContent::Stored> RevisionContent::insert(store::Projects& projects, store::Transaction& transaction,
                                                               const std::string& project_name, const store::NewRevision& given) const {
  const store::Project project = projects.put_and_lock(project_name);
  const std::optional<store::Revision> revision = projects.insert_revision(project.id, given);
  if (!revision) return std::nullopt;
  std::map<std::string, std::int64_t, std::less<>> ids;
  for (const store::WorkflowDefinition& workflow : projects.insert_workflows(project, *revision, workflows_)) {
    ids.emplace(workflow.name, workflow.id);
  }
  const std::int64_t missed_sessions = schedules_->apply(transaction, project.id, ids);
  triggers_->apply(transaction, project, ids);
  return Stored{project, *revision, missed_sessions};
}

std::string faults_of(const dig::Project& project) {
  constexpr std::size_t most_faults = 20;
  std::string message;
  std::size_t faults = 0;
  for (const dig::Project::File& file : project.files) {
    for (const Error& error : file.errors) {
      if (++faults <= most_faults) message += "\n" + error.report();
    }
  }
  if (faults > most_faults) message += "\n… and " + std::to_string(faults - most_faults) + " more";
  return message;
}

}  // namespace digdag::server
