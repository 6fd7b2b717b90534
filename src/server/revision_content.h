#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dig/loader.h"
#include "schedule/pushed_schedules.h"
#include "schedule/pushed_triggers.h"
#include "store/projects.h"

namespace digdag::server {

/// The workflows, schedules and triggers of a project that becomes a revision: checked before the transaction that stores them.
class RevisionContent {
 public:
  /// No file of the project may be broken (`faults_of`). Throws Error(config) for a wrong schedule.
  RevisionContent(const dig::Project& project, const schedule::PushOptions& options);

  struct Stored {
    store::Project project;
    store::Revision revision;
    std::int64_t missed_sessions = 0;  ///< PushedSchedules::apply
  };
  /// Nothing where the project has a revision of this name. Throws Error(config) for a trigger that cannot be. After the commit the
  /// ScheduleLoop is to be woken.
  std::optional<Stored> insert(store::Projects& projects, store::Transaction& transaction, const std::string& project_name,
                               const store::NewRevision& revision) const;

  const std::vector<store::Projects::NewWorkflow>& workflows() const { return workflows_; }

 private:
  std::vector<store::Projects::NewWorkflow> workflows_;
  std::unique_ptr<const schedule::PushedSchedules> schedules_;
  std::unique_ptr<const schedule::PushedTriggers> triggers_;
};

/// What is wrong in the files of a project, each fault with a line feed before it, the first ones first; empty where nothing is.
std::string faults_of(const dig::Project& project);

}  // namespace digdag::server
