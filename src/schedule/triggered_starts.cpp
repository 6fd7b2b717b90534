#include "schedule/triggered_starts.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "store/schedules.h"
#include "store/triggers.h"

namespace digdag::schedule {

namespace {

constexpr std::int64_t most_at_once = 100;
constexpr std::int64_t most_config_bytes = 1 << 20;  ///< what is compiled at the same time
constexpr std::int64_t error_delay_seconds = 300;

}  // namespace

struct TriggeredStarts::Start {
  store::TriggeredStart row;
  std::optional<store::WorkflowDefinition> workflow;
  std::string trouble;  ///< why it never can be started
  std::unique_ptr<executor::SessionStarter::Prepared> prepared;

  /// Of the transaction. `left`: another server has it in hand.
  enum class Became : std::uint8_t { left, started, existed, refused, limited } became = Became::left;
  std::string why;  ///< it existed or was refused

  std::string text() const {
    return "session " + format_session_time(row.session_time, workflow ? workflow->timezone : TimeZone()) + " of workflow " +
           (workflow ? workflow->name + " (project " + workflow->project.name + ")"
                     : "definition id=" + std::to_string(row.workflow_definition_id)) +
           " after the success of attempt " + std::to_string(row.upstream_attempt_id);
  }
  bool is_over() const { return became != Became::left && became != Became::limited; }
};

struct TriggeredStarts::Round {
  const Instant now;
  std::vector<Start> starts = {};
  std::vector<std::int64_t> full_sites = {};  ///< whose attempt limit is reached
  std::int64_t started = 0;
  bool moved = false;
};

std::int64_t TriggeredStarts::start_ready(Instant now) {
  Round round{.now = now};
  do {
    round.moved = false;
    read(round);
    if (!round.starts.empty()) run(round.starts, round);
  } while (round.moved);
  return round.started;
}

void TriggeredStarts::read(Round& round) const {
  round.starts.clear();
  database_.read([&](store::Transaction& transaction) {
    round.starts.clear();
    std::vector<std::int64_t> definitions;
    std::int64_t bytes = 0;
    for (const store::TriggeredStart& row :
         store::triggered_starts(transaction, sites_.without(round.full_sites), round.now, most_at_once)) {
      bytes += row.config_bytes;
      if (bytes > most_config_bytes && !round.starts.empty()) break;
      round.starts.push_back({.row = row});
      definitions.push_back(row.workflow_definition_id);
    }
    if (definitions.empty()) return;
    std::map<std::int64_t, store::ScheduledWorkflow> workflows;
    for (auto& workflow : store::scheduled_workflows(transaction, definitions))
      workflows[workflow.workflow_definition_id] = std::move(workflow);
    for (Start& start : round.starts) {
      const auto found = workflows.find(start.row.workflow_definition_id);
      start.trouble = found == workflows.end() ? "its project was deleted" : found->second.problem;
      if (found != workflows.end()) start.workflow = found->second.workflow;
    }
  });
  for (Start& start : round.starts) {
    if (start.workflow)
      start.prepared = starter_.prepare({.workflow = *start.workflow,
                                         .session_time = start.row.session_time,
                                         .retry_attempt_name = {},
                                         .params = Value::object(),
                                         .last_executed_session_time = {},
                                         .run_time = {},
                                         .resume = {},
                                         .after_session = {}});
  }
}

/// All together; where that fails they are split until the one that is to blame stands alone, and that is put off.
void TriggeredStarts::run(std::span<Start> starts, Round& round) {
  std::string trouble;
  try {
    database_.write([&](store::Transaction& transaction) { run_in(transaction, starts); });
    return report(starts, round);
  } catch (const store::DatabaseError& error) {
    if (error.why() == store::DatabaseError::Cause::unavailable) throw;
    trouble = error.chain();
  } catch (const Error& error) {
    trouble = error.chain();
  } catch (const std::exception& error) {
    trouble = error.what();
  }
  if (starts.size() > 1) {
    run(starts.first(starts.size() / 2), round);
    return run(starts.subspan(starts.size() / 2), round);
  }
  const Instant until = round.now.plus_seconds(error_delay_seconds);
  log_.write(LogLevel::error, "scheduler", "schedule",
             "Cannot start " + starts.front().text() + ", put off to " + format_instant(until) + ": " + trouble);
  database_.write([&](store::Transaction& transaction) { store::put_off_triggered_start(transaction, starts.front().row.id, until); });
  round.moved = true;
}

void TriggeredStarts::run_in(store::Transaction& transaction, std::span<Start> starts) {
  std::vector<std::int64_t> ids, over, full_sites;
  for (const Start& start : starts) ids.push_back(start.row.id);
  const std::vector<std::int64_t> locked = store::lock_triggered_starts(transaction, ids);
  for (Start& start : starts) {
    start.became = Start::Became::left;
    if (!std::binary_search(locked.begin(), locked.end(), start.row.id)) continue;
    if (std::find(full_sites.begin(), full_sites.end(), start.row.site_id) != full_sites.end())
      start.became = Start::Became::limited;
    else
      run_one(transaction, start);
    if (start.became == Start::Became::limited) full_sites.push_back(start.row.site_id);
    if (start.is_over()) over.push_back(start.row.id);
  }
  store::remove_triggered_starts(transaction, over);
}

void TriggeredStarts::run_one(store::Transaction& transaction, Start& start) {
  start.became = Start::Became::refused;
  start.why = start.trouble;
  if (!start.prepared) return;
  const executor::StartAnswer answer = starter_.insert(transaction, *start.prepared);
  if (const auto* refused = std::get_if<executor::StartRefused>(&answer)) {
    start.why = refused->message;
    if (refused->why == executor::StartRefused::Why::site_limit) start.became = Start::Became::limited;
  } else if (const auto* exists = std::get_if<executor::SessionExists>(&answer)) {
    start.became = Start::Became::existed;
    start.why = exists->skipped.value_or("the session has an attempt already");
  } else {
    start.became = Start::Became::started;
  }
}

void TriggeredStarts::report(std::span<Start> starts, Round& round) {
  for (Start& start : starts) {
    const auto say = [&](LogLevel level, const std::string& text) { log_.write(level, "scheduler", "schedule", text); };
    switch (start.became) {
      case Start::Became::left: continue;
      case Start::Became::limited: round.full_sites.push_back(start.row.site_id); break;
      case Start::Became::started:
        say(LogLevel::info, "Started " + start.text());
        starter_.committed(std::move(start.prepared));
        ++round.started;
        break;
      case Start::Became::existed: say(LogLevel::info, "Skipped " + start.text() + ": " + start.why); break;
      case Start::Became::refused: say(LogLevel::error, "Cannot start " + start.text() + ": " + start.why); break;
    }
    round.moved = true;
  }
}

}  // namespace digdag::schedule
