#include "executor/required_attempts.h"

#include <utility>
#include <variant>

#include "store/attempt_events.h"
#include "store/projects.h"
#include "store/sessions.h"

namespace digdag::executor {

struct RequiredAttempts::Target {
  std::optional<store::SessionAttempt> requiring;
  bool project_is_known = false;
  std::optional<store::WorkflowDefinition> workflow;
  std::vector<std::string> workflows;  ///< of the project, where it has no such one
  std::optional<store::SessionAttempt> existing;
};

RequiredAttempts::RequiredAttempts(store::Database& database, SessionStarter& starter, Executor& executor)
    : database_(database), starter_(starter), executor_(executor), chains_([this](std::int64_t attempt) {
        const AttemptStatus status = executor_.status(attempt);
        return status.known && !status.done;
      }) {}

RequiredAttempts::Target RequiredAttempts::target_of(store::Transaction& transaction, const Request& request) const {
  Target target;
  const auto site = transaction.first("select site_id from session_attempts where id = $1", {request.requiring_attempt});
  if (!site) return target;
  target.requiring = store::Sessions(transaction, site->integer(0)).attempt(request.requiring_attempt);
  store::Projects projects(transaction, site->integer(0));
  std::optional<store::Project> project;
  if (request.project_name)
    project = projects.by_name(*request.project_name);
  else
    project = projects.by_id(request.project_id.value_or(target.requiring ? target.requiring->project_id : 0));
  if (!project || project->deleted_at) return target;
  const auto revision = projects.latest_revision(project->id);
  if (!revision) return target;
  target.project_is_known = true;
  target.workflow = projects.workflow(revision->id, request.workflow);
  if (!target.workflow) {
    for (const store::WorkflowDefinition& workflow : projects.workflows(revision->id)) target.workflows.push_back(workflow.name);
    return target;
  }
  store::Sessions sessions(transaction, site->integer(0));
  if (const auto session = sessions.find_session({project->id, request.workflow, request.session_time}))
    target.existing = sessions.conflicting(*session, request.retry_attempt_name);
  return target;
}

RequiredAttempts::Found RequiredAttempts::found(const store::SessionAttempt& attempt, bool created) const {
  Found found;
  found.session_id = attempt.session_id;
  found.attempt_id = attempt.id;
  found.created = created;
  found.done = attempt.done();
  found.success = attempt.success();
  found.failure = executor_.status(attempt.id).failure;
  return found;
}

RequiredAttempts::Answer RequiredAttempts::start(const Request& request) {
  Target target = database_.read([&](store::Transaction& transaction) { return target_of(transaction, request); });
  if (!target.project_is_known) return Missing{};
  if (!target.workflow) return Missing{std::move(target.workflows)};
  const std::string requiring = target.requiring ? target.requiring->workflow_name : "";
  if (target.existing && target.existing->id == request.requiring_attempt)
    return Refused{"Workflow '" + request.workflow + "' requires itself for the same session"};
  std::optional<Found> answer;
  if (!target.existing) {
    StartRequest start;
    start.workflow = std::move(*target.workflow);
    start.session_time = request.session_time;
    start.retry_attempt_name = request.retry_attempt_name;
    start.params = request.params;
    auto prepared = starter_.prepare(start);
    const StartAnswer started = database_.write([&](store::Transaction& transaction) { return starter_.insert(transaction, *prepared); });
    if (const auto* refused = std::get_if<StartRefused>(&started)) return Refused{refused->message};
    if (const auto* made = std::get_if<Started>(&started)) {
      starter_.committed(std::move(prepared));
      answer = found(made->attempt, true);
    } else {
      const auto& exists = std::get<SessionExists>(started);
      if (exists.skipped) return Refused{*exists.skipped};
      answer = found(exists.attempt, false);
    }
  } else {
    answer = found(*target.existing, false);
  }
  const std::lock_guard lock(mutex_);
  if (answer->done) {
    chains_.end_wait(request.requiring_attempt, answer->attempt_id);
    return *answer;
  }
  if (const std::string chain = chains_.wait(request.requiring_attempt, requiring, answer->attempt_id); !chain.empty())
    return Refused{"Workflows require each other for the same session: " + requiring + " -> " + chain};
  return *answer;
}

void RequiredAttempts::kill(std::int64_t attempt_id) {
  const auto event = database_.write([&](store::Transaction& transaction) { return store::request_kill(transaction, attempt_id); });
  if (event) executor_.kill(attempt_id, *event);
}

}  // namespace digdag::executor
