#include "schedule/schedule_control.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "schedule/scheduler.h"

namespace digdag::schedule {

namespace {

constexpr std::int64_t most_skipped = 1'000'000;

/// Ends a transaction, which changes nothing.
struct Refusal {
  ScheduleRefused refused;
};

[[noreturn]] void refuse(ScheduleRefused::Why why, std::string message) { throw Refusal{{why, std::move(message)}}; }

[[noreturn]] void refuse_unknown(std::int64_t id) {
  refuse(ScheduleRefused::Why::not_found, "Resource does not exist: schedule id=" + std::to_string(id));
}

/// A schedule with what it runs.
struct Scheduled {
  store::Schedule schedule;
  store::WorkflowDefinition workflow;
  std::unique_ptr<Scheduler> scheduler;
};

Scheduled scheduled(store::Transaction& transaction, store::Schedule schedule) {
  auto found = store::scheduled_workflows(transaction, {schedule.workflow_definition_id});
  if (found.empty()) refuse_unknown(schedule.id);
  if (!found.front().workflow) throw config_error(found.front().problem);
  store::WorkflowDefinition workflow = *std::move(found.front().workflow);
  auto scheduler = scheduler_of(workflow.config, workflow.timezone);
  if (!scheduler) throw config_error("Workflow " + workflow.name + " has no schedule");
  return {std::move(schedule), std::move(workflow), std::move(scheduler)};
}

ScheduleTime target_time(const Scheduled& of, const SkipTarget& target) {
  ScheduleTime time = of.scheduler->first(target.time.in(of.schedule.timezone));
  const std::int64_t count = target.count.value_or(0);
  if (count > most_skipped) refuse(ScheduleRefused::Why::invalid, "count must not be larger than " + std::to_string(most_skipped));
  for (std::int64_t i = 0; i < count && time != finished_schedule(); ++i) time = of.scheduler->next(time.session);
  if (target.run_time) time.run = *target.run_time;
  return time;
}

void skip_to(const Scheduled& of, const SkipTarget& target, store::Schedule& schedule) {
  const ScheduleTime time = target_time(of, target);
  if (time.session <= schedule.next_session_time) {
    refuse(ScheduleRefused::Why::conflict, "Specified time to skip schedules is already past");
  }
  // Behind the end of a schedule no later push could find a session.
  const bool finished = time.session == finished_schedule().session;
  schedule.skipped_until = finished ? schedule.next_session_time.plus_seconds(1) : time.session;
  schedule.next_session_time = time.session;
  schedule.next_run_time = Instant::of_seconds(time.run.seconds());
  schedule.waiting_since.reset();
}

/// The sessions of a backfill (spec/scheduling.md 8.2).
std::vector<Instant> sessions_from(const Scheduled& of, const BackfillRequest& request) {
  std::vector<Instant> sessions;
  for (Instant t = of.scheduler->first(request.from).session; t < of.schedule.next_session_time && t != finished_schedule().session;
       t = of.scheduler->session_after(t)) {
    if (request.count == static_cast<std::int64_t>(sessions.size())) break;
    if (static_cast<std::int64_t>(sessions.size()) == BackfillRequest::most) {
      refuse(ScheduleRefused::Why::invalid, "A backfill starts at most " + std::to_string(BackfillRequest::most) +
                                                " sessions, but there are more until the next schedule time");
    }
    sessions.push_back(t);
  }
  const auto found = static_cast<std::int64_t>(sessions.size());
  if (request.count && found < *request.count) {
    refuse(ScheduleRefused::Why::invalid, "count is set to " + std::to_string(*request.count) + " but there are only " +
                                              std::to_string(found) + " attempts until the next schedule time");
  }
  return sessions;
}

void check(const BackfillRequest& request) {
  if (request.count && *request.count < 0) refuse(ScheduleRefused::Why::invalid, "count must not be negative");
  if (request.parallel < 1) refuse(ScheduleRefused::Why::invalid, "parallel must be at least 1");
  if (!request.dry_run && is_blank(request.attempt_name)) refuse(ScheduleRefused::Why::invalid, "attemptName must not be blank");
}

/// A backfill before its transaction: compiled, with what it was made from.
struct BackfillPlan {
  Scheduled of;
  std::vector<Instant> sessions;
  std::vector<std::unique_ptr<executor::SessionStarter::Prepared>> starts;  ///< one for each session; none in a dry run
};

/// The answer to a dry run.
Backfill not_started(const BackfillPlan& plan, const std::string& attempt_name, Instant now) {
  Backfill backfill{plan.of.schedule, {}};
  for (const Instant session : plan.sessions) {
    backfill.attempts.push_back({.site_id = plan.of.schedule.site_id,
                                 .project_id = plan.of.schedule.project_id,
                                 .project_name = plan.of.schedule.project_name,
                                 .workflow_name = plan.of.schedule.workflow_name,
                                 .workflow_definition_id = plan.of.workflow.id,
                                 .session_uuid = random_uuid(),
                                 .session_time = session,
                                 .timezone = plan.of.schedule.timezone,
                                 .retry_attempt_name = attempt_name,
                                 .params = Value::object(),
                                 .created_at = store::Timestamp::of(now)});
  }
  return backfill;
}

[[noreturn]] void refuse_existing_session(const BackfillPlan& plan, Instant session, const std::string& attempt_name) {
  refuse(ScheduleRefused::Why::conflict, "Attempt of project id=" + std::to_string(plan.of.schedule.project_id) +
                                             " workflow=" + plan.of.schedule.workflow_name + " instant=" + format_instant(session) +
                                             " attempt name=" + attempt_name + " already exists");
}

void refuse_existing(store::Transaction& transaction, const BackfillPlan& plan, const std::string& attempt_name) {
  const auto existing =
      store::sessions_with_attempt(transaction, plan.of.schedule.project_id, plan.of.schedule.workflow_name, plan.sessions, attempt_name);
  if (!existing.empty()) refuse_existing_session(plan, existing.front(), attempt_name);
}

/// Inserts all attempts, each waiting for the session `parallel` before it.
std::vector<store::SessionAttempt> insert_all(store::Transaction& transaction, executor::SessionStarter& starter, const BackfillPlan& plan,
                                              const BackfillRequest& request) {
  std::vector<store::SessionAttempt> attempts;
  std::vector<store::DelayedAfter> waiting;
  const auto parallel = static_cast<std::size_t>(request.parallel);
  for (const auto& start : plan.starts) {
    executor::StartAnswer answer = starter.insert(transaction, *start);
    if (const auto* refused = std::get_if<executor::StartRefused>(&answer)) refuse(ScheduleRefused::Why::invalid, refused->message);
    // Asked for above, so somebody else starts the same right now.
    if (const auto* exists = std::get_if<executor::SessionExists>(&answer)) {
      refuse_existing_session(plan, exists->attempt.session_time, request.attempt_name);
    }
    attempts.push_back(std::get<executor::Started>(std::move(answer)).attempt);
    if (attempts.size() > parallel) waiting.push_back({attempts.back().id, attempts[attempts.size() - 1 - parallel].session_id});
  }
  store::delay_attempts(transaction, waiting);
  return attempts;
}

}  // namespace

ScheduleControl::ScheduleControl(Options options, store::Database& database, executor::SessionStarter& starter)
    : options_(std::move(options)), database_(database), starter_(starter) {}

ScheduleAnswer ScheduleControl::change(std::int64_t site_id, std::int64_t id,
                                       const std::function<void(store::Transaction&, store::Schedule&)>& work) {
  try {
    store::Schedule changed = database_.write([&](store::Transaction& transaction) {
      auto schedule = store::lock_schedule(transaction, site_id, id);
      if (!schedule) refuse_unknown(id);
      work(transaction, *schedule);
      transaction.notify(store::schedules_notice);
      return store::schedule(transaction, site_id, id).value();
    });
    options_.changed();
    return changed;
  } catch (const Refusal& refusal) {
    return refusal.refused;
  }
}

ScheduleAnswer ScheduleControl::skip(std::int64_t site_id, std::int64_t id, const SkipTarget& target, bool dry_run) {
  if (!dry_run) {
    return change(site_id, id, [&](store::Transaction& transaction, store::Schedule& schedule) {
      skip_to(scheduled(transaction, schedule), target, schedule);
      store::update_schedules(transaction, {schedule});
    });
  }
  try {
    return database_.read([&](store::Transaction& transaction) {
      auto schedule = store::schedule(transaction, site_id, id);
      if (!schedule) refuse_unknown(id);
      skip_to(scheduled(transaction, *schedule), target, *schedule);
      return *schedule;
    });
  } catch (const Refusal& refusal) {
    return refusal.refused;
  }
}

ScheduleAnswer ScheduleControl::disable(std::int64_t site_id, std::int64_t id) {
  return change(site_id, id,
                [&](store::Transaction& transaction, store::Schedule&) { store::set_schedule_disabled(transaction, id, true); });
}

ScheduleAnswer ScheduleControl::enable(std::int64_t site_id, std::int64_t id, std::optional<RequestedTime> skip_target) {
  return change(site_id, id, [&](store::Transaction& transaction, store::Schedule& schedule) {
    if (skip_target) {
      skip_to(scheduled(transaction, schedule), {.time = *skip_target, .count = {}, .run_time = {}}, schedule);
      store::update_schedules(transaction, {schedule});
    }
    store::set_schedule_disabled(transaction, id, false);
  });
}

BackfillAnswer ScheduleControl::backfill(std::int64_t site_id, std::int64_t id, const BackfillRequest& request) {
  try {
    check(request);
    for (;;) {
      BackfillPlan plan;
      std::optional<Instant> executed;
      database_.read([&](store::Transaction& transaction) {
        const auto schedule = store::schedule(transaction, site_id, id);
        if (!schedule) refuse_unknown(id);
        plan = {scheduled(transaction, *schedule), {}, {}};
        plan.sessions = sessions_from(plan.of, request);
        refuse_existing(transaction, plan, request.attempt_name);
        if (plan.sessions.empty()) return;
        executed = store::latest_session_before(transaction, schedule->project_id, schedule->workflow_name, plan.sessions.front());
      });
      if (request.dry_run) return not_started(plan, request.attempt_name, options_.clock());
      for (const Instant session : plan.sessions) {
        plan.starts.push_back(starter_.prepare({.workflow = plan.of.workflow,
                                                .session_time = session,
                                                .retry_attempt_name = request.attempt_name,
                                                .params = Value::object(),
                                                .last_executed_session_time = executed,
                                                .run_time = {},
                                                .resume = {},
                                                .after_session = 0}));
        executed = session;
      }
      const auto attempts = database_.write([&](store::Transaction& transaction) -> std::optional<std::vector<store::SessionAttempt>> {
        const auto schedule = store::lock_schedule(transaction, site_id, id);
        if (!schedule) refuse_unknown(id);
        if (schedule->next_session_time != plan.of.schedule.next_session_time ||
            schedule->workflow_definition_id != plan.of.schedule.workflow_definition_id) {
          return std::nullopt;
        }
        refuse_existing(transaction, plan, request.attempt_name);
        return insert_all(transaction, starter_, plan, request);
      });
      if (!attempts) continue;  // the schedule has moved on: it is planned again
      for (auto& start : plan.starts) starter_.committed(std::move(start));
      options_.changed();
      return Backfill{plan.of.schedule, *attempts};
    }
  } catch (const Refusal& refusal) {
    return refusal.refused;
  }
}

}  // namespace digdag::schedule
