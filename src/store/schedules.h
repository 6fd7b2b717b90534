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
#include "store/site_selection.h"

namespace digdag::store {

/// What is said (Transaction::notify) when a schedule, or an attempt that waits for its turn, was added or moved by somebody who is not
/// the scheduler.
inline constexpr const char* schedules_notice = "schedules";

/// A row of `schedules` (spec/scheduling.md 1). All instants are whole seconds.
struct ScheduleRow {
  std::int64_t id = 0;
  std::int64_t site_id = 0, project_id = 0;
  std::int64_t workflow_definition_id = 0;
  std::string workflow_name;
  Instant next_run_time;  ///< year 9999: finished
  Instant next_session_time;
  std::optional<Instant> last_session_time;  ///< the last one that was started
  std::optional<Instant> skipped_until;      ///< no push goes back before this session (S-17)
  std::optional<Instant> waiting_since;      ///< put off because of the attempt limit: the run time that it had before (E-63)
  std::optional<Timestamp> disabled_at;
  Timestamp created_at, updated_at;
};
/// With the names that people see.
struct Schedule : ScheduleRow {
  std::string project_name;
  TimeZone timezone;  ///< of the workflow
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

// ---- Pushing ----------------------------------------------------------------------------------------------------------

struct NewSchedule {
  std::int64_t workflow_definition_id = 0;
  Instant next_run_time, next_session_time;
};
/// All of a project, locked, by id: what a push compares with.
std::vector<ScheduleRow> lock_schedules_of_project(Transaction& transaction, std::int64_t project_id);
void insert_schedules(Transaction& transaction, std::int64_t project_id, const std::vector<NewSchedule>& schedules);
/// Writes the definition and all times but `disabled_at`, of rows that the transaction has locked.
void update_schedules(Transaction& transaction, const std::vector<ScheduleRow>& schedules);
void delete_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids);
/// When a project is deleted (spec/scheduling.md 4.6).
void delete_schedules_of_project(Transaction& transaction, std::int64_t project_id);

/// Sets or clears `disabled_at`.
void set_schedule_disabled(Transaction& transaction, std::int64_t id, bool disabled);

// ---- Starting sessions ------------------------------------------------------------------------------------------------

/// A due schedule, not locked, with the size of what its workflow is made from.
struct DueSchedule : ScheduleRow {
  std::int64_t config_bytes = 0;
};
/// The enabled schedules whose run time has come, the earliest first (S-19), `most` of them.
std::vector<DueSchedule> due_schedules(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most);
/// When the first enabled schedule is due; nothing where none is.
std::optional<Instant> earliest_run_time(Transaction& transaction, const SiteSelection& sites);
/// Locks those that are enabled and that nobody else has locked, and gives them as they are now.
std::vector<ScheduleRow> lock_free_schedules(Transaction& transaction, const std::vector<std::int64_t>& ids);

/// A definition that a schedule runs, or why it cannot be read.
struct ScheduledWorkflow {
  std::int64_t workflow_definition_id = 0;
  std::optional<WorkflowDefinition> workflow;
  std::string problem;
};
/// Those that exist, in no particular order; not those of deleted projects.
std::vector<ScheduledWorkflow> scheduled_workflows(Transaction& transaction, const std::vector<std::int64_t>& workflow_definition_ids);

/// Whether the last attempt of some session of the workflow is neither done nor being killed (spec/scheduling.md 6.2).
bool has_active_attempt(Transaction& transaction, std::int64_t site_id, std::int64_t project_id, std::string_view workflow_name);
/// The latest session of a workflow before t, however it was started.
std::optional<Instant> latest_session_before(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name, Instant t);
/// Which of these sessions have an attempt of that name; in ascending order.
std::vector<Instant> sessions_with_attempt(Transaction& transaction, std::int64_t project_id, std::string_view workflow_name,
                                           const std::vector<Instant>& session_times, std::string_view attempt_name);

/// Sites with schedules that wait because of the attempt limit.
std::vector<std::int64_t> sites_with_waiting_schedules(Transaction& transaction, const SiteSelection& sites);
/// Makes those of a site that have waited longest due now, as many as there may be attempts more: `attempt_limit` less those that
/// run; 0: no limit. Gives their number.
std::int64_t wake_waiting_schedules(Transaction& transaction, std::int64_t site_id, std::int64_t attempt_limit, Instant now);

// ---- Delayed attempts: those of a backfill, until what they wait for is done (spec/scheduling.md 8.7) -----------------

struct DelayedAttempt {
  std::int64_t attempt_id = 0;
  std::int64_t site_id = 0;
};
/// Those that can be started now, in the order in which they were asked for.
std::vector<DelayedAttempt> ready_delayed_attempts(Transaction& transaction, const SiteSelection& sites, Instant now, std::int64_t most);
/// A delayed attempt that has been inserted waits for a session.
struct DelayedAfter {
  std::int64_t attempt_id = 0, session_id = 0;
};
void delay_attempts(Transaction& transaction, const std::vector<DelayedAfter>& attempts);
/// It is looked at again then.
void put_off_delayed_attempt(Transaction& transaction, std::int64_t attempt_id, Instant until);
/// Ends one that has no tasks yet, with these AttemptFlags besides `attempt_done`; those that wait for it go on. False where it is
/// none (any more).
bool end_delayed_attempt(Transaction& transaction, std::int64_t attempt_id, std::uint8_t flags);

}  // namespace digdag::store
