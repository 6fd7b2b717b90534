#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "store/database.h"
#include "store/projects.h"
#include "store/site_selection.h"

namespace digdag::store {

// `trigger:` of workflows (spec/decisions.md S-40): they start when another one has succeeded.

/// A project's name and a workflow's in it.
using WorkflowName = std::pair<std::string, std::string>;

// ---- Pushing ----------------------------------------------------------------------------------------------------------

struct NewTrigger {
  std::int64_t workflow_definition_id = 0;  ///< of the workflow that starts
  WorkflowName upstream;                    ///< need not exist
};
/// Puts these in the place of all that the project had.
void replace_triggers(Transaction& transaction, const Project& project, const std::vector<NewTrigger>& triggers);
/// When a project is deleted.
void delete_triggers_of_project(Transaction& transaction, std::int64_t project_id);

struct Trigger {
  WorkflowName workflow, upstream;
};
/// All of a site, which nobody else changes until the transaction ends.
std::vector<Trigger> lock_triggers(Transaction& transaction, std::int64_t site_id);

// ---- Starting ---------------------------------------------------------------------------------------------------------

/// In the transaction that stores that these attempts have succeeded: what is to be started in consequence. Says `schedules_notice`
/// where that is something.
void insert_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& succeeded_attempt_ids);

/// A start that is owed until it has been made or turned out to be impossible.
struct TriggeredStart {
  std::int64_t id = 0, site_id = 0;
  std::int64_t workflow_definition_id = 0;
  Instant session_time;
  std::int64_t upstream_attempt_id = 0;
  std::int64_t config_bytes = 0;  ///< the size of what the workflow is made from
};
/// In the order in which they came to be.
std::vector<TriggeredStart> triggered_starts(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most);
/// Locks those that are there and that nobody else has locked, and gives their ids.
std::vector<std::int64_t> lock_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& ids);
void remove_triggered_starts(Transaction& transaction, const std::vector<std::int64_t>& ids);
/// It is looked at again then.
void put_off_triggered_start(Transaction& transaction, std::int64_t id, Instant until);

}  // namespace digdag::store
