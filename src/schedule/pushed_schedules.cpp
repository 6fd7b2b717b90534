#include "schedule/pushed_schedules.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "schedule/skip_rules.h"
#include "store/schedules.h"

namespace digdag::schedule {

struct PushedSchedules::Entry {
  std::string workflow;
  std::unique_ptr<Scheduler> scheduler;
  ScheduleTime first;
  bool cleared;
};

PushedSchedules::~PushedSchedules() = default;
PushedSchedules::PushedSchedules(PushedSchedules&&) noexcept = default;

PushedSchedules::PushedSchedules(const std::vector<PushedWorkflow>& workflows, const PushOptions& options) : now_(options.now) {
  for (const PushedWorkflow& workflow : workflows) {
    std::vector<UnusedKey> unused;
    auto scheduler = scheduler_of(workflow.config, workflow.timezone, &unused);
    if (!scheduler) continue;
    if (!unused.empty()) {
      std::string message;
      for (const UnusedKey& key : unused) message += key.text + "\n";
      throw config_error(message).at(unused.front().position).hint("remove the key, or correct it");
    }
    const ScheduleTime first = scheduler->first(options.schedule_from);
    const bool cleared = options.clear_all || std::find(options.clear.begin(), options.clear.end(), workflow.name) != options.clear.end();
    entries_.push_back({workflow.name, std::move(scheduler), first, cleared});
  }
  for (const std::string& name : options.clear) {
    if (std::none_of(workflows.begin(), workflows.end(), [&](const PushedWorkflow& workflow) { return workflow.name == name; })) {
      throw config_error(name + " does not exist");
    }
  }
}

namespace {

/// Whether whoever skipped to the next session also said when it runs: not when its schedule, as it was till now, would run it.
bool run_time_was_asked_for(store::Transaction& transaction, const store::ScheduleRow& row) {
  if (row.skipped_until != row.next_session_time || row.waiting_since) return false;
  const auto workflows = store::scheduled_workflows(transaction, {row.workflow_definition_id});
  if (workflows.empty() || !workflows.front().workflow) return false;
  const auto scheduler = scheduler_of(workflows.front().workflow->config, workflows.front().workflow->timezone);
  return scheduler && scheduler->next(row.next_session_time.plus_seconds(-1)) != ScheduleTime{row.next_session_time, row.next_run_time};
}

}  // namespace

std::int64_t PushedSchedules::missed(const Scheduler& scheduler, ScheduleTime time) const {
  std::int64_t count = 0;
  try {
    for (std::int64_t looked_at = 0; time.run <= now_ && looked_at < most_counted; ++looked_at) {
      const SkipRules rules(scheduler, time);
      if (!rules.late(now_) && !rules.missed(now_)) ++count;
      time = scheduler.next(time.session);
    }
  } catch (const Error&) {
    return 0;  // an option without a valid value: it is put off
  }
  return count;
}

// What becomes of a schedule that was there before (spec/scheduling.md 4.3; decisions.md S-17).
void PushedSchedules::follow(store::Transaction& transaction, store::ScheduleRow& row, const Entry& entry) {
  const bool keep_run_time = !entry.cleared && run_time_was_asked_for(transaction, row);
  if (entry.cleared) {
    row.last_session_time.reset();
    row.skipped_until.reset();
  }
  ScheduleTime time = row.last_session_time ? entry.scheduler->next(*row.last_session_time) : entry.first;
  if (row.skipped_until && time.session < *row.skipped_until) time = entry.scheduler->next(row.skipped_until->plus_seconds(-1));
  if (!keep_run_time || time.session != row.next_session_time) row.next_run_time = time.run;
  row.next_session_time = time.session;
  row.waiting_since.reset();
}

std::int64_t PushedSchedules::apply(store::Transaction& transaction, std::int64_t project_id,
                                    const std::map<std::string, std::int64_t, std::less<>>& definition_ids) const {
  std::map<std::string, store::ScheduleRow, std::less<>> before;
  for (store::ScheduleRow& row : store::lock_schedules_of_project(transaction, project_id))
    before.emplace(row.workflow_name, std::move(row));
  std::vector<store::ScheduleRow> kept;
  std::vector<store::NewSchedule> added;
  std::int64_t due = 0;
  for (const Entry& entry : entries_) {
    const std::int64_t definition_id = definition_ids.at(entry.workflow);
    if (auto found = before.extract(entry.workflow)) {
      store::ScheduleRow& row = kept.emplace_back(std::move(found.mapped()));
      follow(transaction, row, entry);
      row.workflow_definition_id = definition_id;
      if (!row.disabled_at) due += missed(*entry.scheduler, {row.next_session_time, row.next_run_time});
    } else {
      added.push_back({definition_id, entry.first.run, entry.first.session});
      due += missed(*entry.scheduler, entry.first);
    }
  }
  std::vector<std::int64_t> gone;
  gone.reserve(before.size());
  for (const auto& [name, row] : before) gone.push_back(row.id);
  store::delete_schedules(transaction, gone);
  store::update_schedules(transaction, kept);
  store::insert_schedules(transaction, project_id, added);
  return std::min(due, most_counted);
}

Instant parse_schedule_from(std::string_view text, Instant now) {
  if (text.empty()) return now;
  const auto instant = parse_instant(text);
  if (!instant) {
    throw config_error("Invalid schedule_from= parameter format. Expected yyyy-MM-dd'T'HH:mm:ss'Z' format");
  }
  return *instant;
}

}  // namespace digdag::schedule
