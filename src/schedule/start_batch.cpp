#include "schedule/start_batch.h"

#include <algorithm>
#include <map>
#include <queue>
#include <set>
#include <utility>

#include "base/error.h"
#include "schedule/skip_rules.h"

namespace digdag::schedule {

namespace {

constexpr std::int64_t most_schedules = 100;
constexpr std::int64_t most_config_bytes = 1 << 20;  ///< of a batch: what is compiled at the same time
constexpr std::size_t most_skips = 1000;             ///< of a schedule in one transaction
constexpr std::int64_t limit_delay_seconds = 600;
constexpr std::int64_t error_delay_seconds = 3600;

bool unavailable(const store::DatabaseError& error) { return error.why() == store::DatabaseError::Cause::unavailable; }

bool same_state(const store::ScheduleRow& a, const store::ScheduleRow& b) {
  return a.workflow_definition_id == b.workflow_definition_id && a.next_run_time == b.next_run_time &&
         a.next_session_time == b.next_session_time && a.last_session_time == b.last_session_time;
}

}  // namespace

/// One schedule of the batch.
struct StartBatch::Line {
  store::ScheduleRow row;  ///< as it was read
  std::optional<store::WorkflowDefinition> workflow;
  std::unique_ptr<Scheduler> scheduler;
  std::string trouble;  ///< why it is put off, after the steps that it has; empty: it is not
  bool alone = false;   ///< its own transaction has failed: it is only put off

  // While it is planned: what comes next.
  ScheduleTime next;
  std::optional<Instant> last_session_time;
  std::size_t skips = 0;

  std::string session(Instant time) const {
    return "session " + format_session_time(time, workflow ? workflow->timezone : TimeZone()) + " of workflow " + row.workflow_name +
           " (project " + (workflow ? workflow->project.name : "id=" + std::to_string(row.project_id)) + ", schedule id " +
           std::to_string(row.id) + ")";
  }
};

/// A session that is started or passed over.
struct StartBatch::Step {
  Line* line;
  ScheduleTime time;
  std::string skip_reason;  ///< empty: it is started
  std::unique_ptr<executor::SessionStarter::Prepared> start;
  bool unless_active = false;
};

/// What a transaction made of a schedule.
struct StartBatch::Outcome {
  Line* line;
  store::ScheduleRow row;
  bool ours = false;     ///< locked, and as it was planned
  bool stopped = false;  ///< its further steps do not count
  bool full = false;     ///< the attempt limit
  std::vector<Step*> started;
  std::int64_t skipped = 0;
  std::vector<std::pair<LogLevel, std::string>> messages;  ///< after the commit

  void move_on(Instant session) {
    const ScheduleTime next = line->scheduler->next(session);
    row.next_session_time = next.session;
    row.next_run_time = next.run;
    row.waiting_since.reset();
  }
  void start(Instant session) {
    row.last_session_time = session;
    if (row.skipped_until && session >= *row.skipped_until) row.skipped_until.reset();
    move_on(session);
  }
  void skip(Instant session, const std::string& reason) {
    messages.emplace_back(LogLevel::info, "Skipped " + line->session(session) + ": " + reason);
    row.skipped_until = std::max(row.skipped_until.value_or(session), session.plus_seconds(1));
    ++skipped;
    move_on(session);
  }
  void put_off(Instant run_time, LogLevel level, const std::string& why) {
    row.next_run_time = Instant::of_seconds(run_time.seconds());
    stopped = true;
    messages.emplace_back(level,
                          "Put off " + line->session(row.next_session_time) + " to " + format_instant(row.next_run_time) + ": " + why);
  }
};

StartBatch::~StartBatch() = default;

StartBatch::StartBatch(store::Database& database, executor::SessionStarter& starter, Log& log, const store::SiteSelection& sites,
                       Instant now, std::int64_t most_starts)
    : database_(database), starter_(starter), log_(log), now_(now), horizon_(now) {
  read_due(sites, most_starts);
  plan(most_starts);
}

void StartBatch::read_due(const store::SiteSelection& sites, std::int64_t most_starts) {
  database_.read([&](store::Transaction& transaction) {
    lines_.clear();
    const std::int64_t most = std::min(most_schedules, most_starts);
    const auto due = store::due_schedules(transaction, sites, now_, most);
    std::vector<std::int64_t> definitions;
    std::int64_t bytes = 0;
    for (const store::DueSchedule& schedule : due) {
      bytes += schedule.config_bytes;
      if (bytes > most_config_bytes && !lines_.empty()) break;
      definitions.push_back(schedule.workflow_definition_id);
      lines_.push_back(std::make_unique<Line>());
      lines_.back()->row = schedule;
    }
    if (lines_.empty()) return;
    const bool all = lines_.size() == due.size() && static_cast<std::int64_t>(due.size()) < most;
    horizon_ = all ? now_ : lines_.back()->row.next_run_time;
    std::map<std::int64_t, store::ScheduledWorkflow> workflows;
    for (auto& workflow : store::scheduled_workflows(transaction, definitions))
      workflows[workflow.workflow_definition_id] = std::move(workflow);
    for (const auto& line : lines_) {
      const auto found = workflows.find(line->row.workflow_definition_id);
      if (found == workflows.end()) {
        line->trouble = "its workflow or project is gone";
      } else if (found->second.workflow) {
        line->workflow = std::move(found->second.workflow);
      } else {
        line->trouble = found->second.problem;
      }
    }
  });
}

void StartBatch::plan(std::int64_t most_starts) {
  const auto later = [](const Line* a, const Line* b) { return std::pair(a->next.run, a->row.id) > std::pair(b->next.run, b->row.id); };
  std::priority_queue<Line*, std::vector<Line*>, decltype(later)> next(later);
  for (const auto& line : lines_) {
    if (!line->trouble.empty()) continue;
    line->next = {line->row.next_session_time, line->row.next_run_time};
    line->last_session_time = line->row.last_session_time;
    next.push(line.get());
  }
  for (std::int64_t starts = 0; starts < most_starts && !next.empty() && next.top()->next.run <= horizon_;) {
    Line& line = *next.top();
    next.pop();
    if (!plan_next(line)) continue;
    const Step& step = steps_.back();
    starts += step.skip_reason.empty() ? 1 : 0;
    line.skips += step.skip_reason.empty() ? 0 : 1;
    // What follows a session that depends on what is running is not known before its transaction.
    if (!step.unless_active && line.skips < most_skips) next.push(&line);
  }
}

/// Adds the line's next session; false where it can have none.
bool StartBatch::plan_next(Line& line) {
  try {
    if (!line.scheduler) line.scheduler = scheduler_of(line.workflow->config, line.workflow->timezone);
    if (!line.scheduler) throw config_error("the workflow has no schedule");
    const SkipRules rules(*line.scheduler, line.next);
    Step step{.line = &line, .time = line.next, .skip_reason = {}, .start = {}, .unless_active = false};
    if (auto reason = rules.late(now_))
      step.skip_reason = *std::move(reason);
    else if (auto missed = rules.missed(now_))
      step.skip_reason = *std::move(missed);
    if (step.skip_reason.empty()) {
      step.unless_active = rules.unless_active();
      step.start = starter_.prepare({.workflow = *line.workflow,
                                     .session_time = line.next.session,
                                     .retry_attempt_name = {},
                                     .params = Value::object(),
                                     .last_executed_session_time = line.last_session_time,
                                     .run_time = line.next.run,
                                     .resume = {},
                                     .after_session = {}});
      line.last_session_time = line.next.session;
    }
    line.next = line.scheduler->next(line.next.session);
    steps_.push_back(std::move(step));
    return true;
  } catch (const store::DatabaseError& error) {
    if (unavailable(error)) throw;
    line.trouble = error.chain();
  } catch (const Error& error) {
    line.trouble = error.chain();
  } catch (const std::exception& error) {
    line.trouble = error.what();
  }
  return false;
}

StartBatch::Result StartBatch::run() {
  std::vector<Line*> lines;
  lines.reserve(lines_.size());
  for (const auto& line : lines_) lines.push_back(line.get());
  if (!lines.empty()) run_lines(lines);
  return result_;
}

void StartBatch::run_lines(const std::vector<Line*>& lines) {
  std::string trouble;
  try {
    report(database_.write([&](store::Transaction& transaction) { return run_in(transaction, lines); }));
    return;
  } catch (const store::DatabaseError& error) {
    if (unavailable(error)) throw;
    trouble = error.chain();
  } catch (const Error& error) {
    trouble = error.chain();
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  if (lines.size() == 1) {
    std::erase_if(steps_, [&](const Step& step) { return step.line == lines.front(); });
    if (lines.front()->alone) {
      log_.write(LogLevel::error, "scheduler", "schedule",
                 "Cannot put off " + lines.front()->session(lines.front()->row.next_session_time) + ": " + trouble);
      return;
    }
    lines.front()->alone = true;
    lines.front()->trouble = trouble;
    run_lines(lines);
    return;
  }
  const auto middle = lines.begin() + static_cast<std::ptrdiff_t>(lines.size() / 2);
  run_lines({lines.begin(), middle});
  run_lines({middle, lines.end()});
}

std::vector<StartBatch::Outcome> StartBatch::run_in(store::Transaction& transaction, const std::vector<Line*>& lines) {
  std::vector<std::int64_t> ids;
  std::map<const Line*, Outcome*> outcome_of;
  std::vector<Outcome> outcomes;
  outcomes.reserve(lines.size());
  for (Line* line : lines) {
    ids.push_back(line->row.id);
    outcomes.push_back({.line = line, .row = line->row});
    outcome_of[line] = &outcomes.back();
  }
  std::map<std::int64_t, store::ScheduleRow> locked;
  for (store::ScheduleRow& row : store::lock_free_schedules(transaction, ids)) locked.emplace(row.id, std::move(row));
  for (Outcome& outcome : outcomes) {
    const auto found = locked.find(outcome.row.id);
    outcome.ours = found != locked.end() && same_state(found->second, outcome.row);
    if (outcome.ours) outcome.row = found->second;
  }
  for (Step& step : steps_) {
    const auto found = outcome_of.find(step.line);
    if (found != outcome_of.end() && found->second->ours && !found->second->stopped) run_step(transaction, step, *found->second);
  }
  std::vector<store::ScheduleRow> changed;
  for (Outcome& outcome : outcomes) {
    if (!outcome.ours) continue;
    if (!outcome.line->trouble.empty() && !outcome.stopped) {
      outcome.put_off(std::max(now_, outcome.row.next_run_time).plus_seconds(error_delay_seconds), LogLevel::error, outcome.line->trouble);
    }
    changed.push_back(outcome.row);
  }
  store::update_schedules(transaction, changed);
  return outcomes;
}

void StartBatch::run_step(store::Transaction& transaction, Step& step, Outcome& outcome) {
  if (!step.skip_reason.empty()) return outcome.skip(step.time.session, step.skip_reason);
  if (step.unless_active &&
      store::has_active_attempt(transaction, outcome.row.site_id, outcome.row.project_id, outcome.row.workflow_name)) {
    return skip_while_active(outcome);
  }
  executor::StartAnswer answer = starter_.insert(transaction, *step.start);
  if (const auto* refused = std::get_if<executor::StartRefused>(&answer)) {
    if (refused->why == executor::StartRefused::Why::limit || refused->why == executor::StartRefused::Why::site_limit) {
      // Who waits longest is woken first; who was woken and finds no room after all goes to the end.
      outcome.row.waiting_since = outcome.row.waiting_since ? Instant::of_seconds(now_.seconds()) : outcome.row.next_run_time;
      outcome.full = true;
      return outcome.put_off(now_.plus_seconds(limit_delay_seconds), LogLevel::warn, refused->message);
    }
    return outcome.put_off(std::max(now_, outcome.row.next_run_time).plus_seconds(error_delay_seconds), LogLevel::error, refused->message);
  }
  if (const auto* exists = std::get_if<executor::SessionExists>(&answer); exists && exists->skipped)
    return outcome.skip(step.time.session, *exists->skipped);
  const bool started = std::holds_alternative<executor::Started>(answer);
  if (started) outcome.started.push_back(&step);
  outcome.messages.emplace_back(LogLevel::info, started ? "Started " + outcome.line->session(step.time.session)
                                                        : "There is an attempt already of " + outcome.line->session(step.time.session));
  outcome.start(step.time.session);
}

/// Every session that is due while an attempt runs is passed over, not the first one alone.
void StartBatch::skip_while_active(Outcome& outcome) {
  outcome.stopped = true;
  for (std::size_t i = 0; i < most_skips && outcome.row.next_run_time <= now_; ++i) {
    const Instant session = outcome.row.next_session_time;
    const SkipRules rules(*outcome.line->scheduler, {session, outcome.row.next_run_time});
    if (!rules.unless_active()) return;
    outcome.skip(session, "an attempt of the workflow is still running (skip_on_overtime)");
  }
}

void StartBatch::report(const std::vector<Outcome>& outcomes) {
  std::vector<Step*> started;
  for (const Outcome& outcome : outcomes) {
    if (!outcome.ours) continue;
    started.insert(started.end(), outcome.started.begin(), outcome.started.end());
    for (const auto& [level, message] : outcome.messages) log_.write(level, "scheduler", "schedule", message);
    result_.skipped += outcome.skipped;
    result_.moved = true;
    if (outcome.full) result_.full_sites.push_back(outcome.row.site_id);
  }
  result_.started += static_cast<std::int64_t>(started.size());
  std::sort(started.begin(), started.end());  // in the order of the plan
  for (Step* step : started) starter_.committed(std::move(step->start));
}

}  // namespace digdag::schedule
