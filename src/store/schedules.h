#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "store/database.h"
#include "store/projects.h"

namespace digdag::store {

/// A row of `schedules` with the names that belong to it (spec/scheduling.md 1).
struct Schedule {
  std::int64_t id = 0;
  std::int64_t site_id = 0, project_id = 0;
  std::string project_name;
  std::int64_t workflow_definition_id = 0;
  std::string workflow_name;
  TimeZone timezone;      ///< of the workflow
  Instant next_run_time;  ///< whole seconds, as all of its instants; year 9999: finished
  Instant next_session_time;
  std::optional<Instant> last_session_time;  ///< the last one that was started
  std::optional<Instant> skipped_until;      ///< no push goes back before this session (S-17)
  std::optional<Instant> waiting_since;      ///< put off because of the attempt limit: the run time that it had before (E-63)
  std::optional<Timestamp> disabled_at;
  Timestamp created_at, updated_at;
};

// ---- Reading ----------------------------------------------------------------------------------------------------------

/// Which schedules a page holds. By id, up to 100, after `after_id`.
struct SchedulePage {
  std::int64_t site_id = 0;
  std::optional<std::int64_t> project_id;
  std::optional<std::string> workflow_name;  ///< with a project
  std::int64_t after_id = 0;
};
std::vector<Schedule> schedules(Transaction& transaction, const SchedulePage& page);
std::optional<Schedule> schedule(Transaction& transaction, std::int64_t site_id, std::int64_t id);
/// The same, with its row locked until the transaction ends.
std::optional<Schedule> lock_schedule(Transaction& transaction, std::int64_t site_id, std::int64_t id);
/// The definition that a schedule runs.
std::optional<WorkflowDefinition> scheduled_workflow(Transaction& transaction, std::int64_t workflow_definition_id);

// ---- Pushing ----------------------------------------------------------------------------------------------------------

struct NewSchedule {
  std::int64_t workflow_definition_id = 0;
  Instant next_run_time, next_session_time;
};
/// All of a project, locked, by id: what a push compares with.
std::vector<Schedule> lock_schedules_of_project(Transaction& transaction, std::int64_t project_id);
void insert_schedules(Transaction& transaction, std::int64_t project_id, const std::vector<NewSchedule>& schedules);
/// Writes the times and the definition of locked rows; leaves `disabled_at`, `created_at` alone.
void update_schedules(Transaction& transaction, const std::vector<Schedule>& schedules);
void delete_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids);
/// When a project is deleted (spec/scheduling.md 4.6).
void delete_schedules_of_project(Transaction& transaction, std::int64_t project_id);

/// Sets or clears `disabled_at`.
void set_schedule_disabled(Transaction& transaction, std::int64_t id, bool disabled);

// ---- Starting sessions ------------------------------------------------------------------------------------------------

/// Which sites this process serves: `scheduler.account_routing.*` (spec/server.md 4.3). Nothing set: all.
struct SiteSelection {
  std::vector<std::int64_t> sites;
  enum class Mode : std::uint8_t { all, only, except } mode = Mode::all;
  bool has(std::int64_t site_id) const;
};

/// A due schedule, not locked, with the size of what its workflow is made from.
struct DueSchedule {
  Schedule schedule;
  std::int64_t config_bytes = 0;
};
/// The enabled schedules whose run time has come, the earliest first (S-19), `most` of them.
std::vector<DueSchedule> due_schedules(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most);
/// When the first enabled schedule is due; nothing where none is.
std::optional<Instant> earliest_run_time(Transaction& transaction, const SiteSelection& sites);
/// Locks those that nobody else has locked and gives them as they are now, by run time.
std::vector<Schedule> lock_free_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids);
/// The definitions with these ids, in no particular order.
std::vector<WorkflowDefinition> scheduled_workflows(Transaction& transaction, const std::vector<std::int64_t>& workflow_definition_ids);

/// Whether the last attempt of some session of the workflow is neither done nor being killed (spec/scheduling.md 6.2).
bool has_active_attempt(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name);
/// The latest session of a workflow before t, however it was started.
std::optional<Instant> latest_session_before(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name, Instant t);
/// Which of these sessions have an attempt of that name; in ascending order.
std::vector<Instant> sessions_with_attempt(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name,
                                           const std::vector<Instant>& session_times, std::string_view attempt_name);

/// Sites with schedules that wait because of the attempt limit.
std::vector<std::int64_t> sites_with_waiting_schedules(Transaction& transaction, const SiteSelection& sites);
/// Makes those of a site that have waited longest due now, as many as there may be attempts more: `attempt_limit` less those that
/// run. Gives their number.
std::int64_t wake_waiting_schedules(Transaction& transaction, std::int64_t site_id, std::int64_t attempt_limit, Instant now);

// ---- Delayed attempts: those of a backfill, until what they wait for is done (spec/scheduling.md 8.7) -----------------

struct DelayedAttempt {
  std::int64_t attempt_id = 0;
  std::int64_t site_id = 0;
};
/// Those that can be started now, in the order in which they were asked for.
std::vector<DelayedAttempt> ready_delayed_attempts(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most);
/// Ends one that has no tasks yet, with these AttemptFlags besides `attempt_done`; those that wait for it go on. False where it is
/// none (any more).
bool end_delayed_attempt(Transaction& transaction, std::int64_t attempt_id, std::uint8_t flags);

}  // namespace digdag::store
