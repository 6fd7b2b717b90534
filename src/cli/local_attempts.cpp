#include "cli/local_attempts.h"

#include <algorithm>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"
#include "cli/settings.h"
#include "dig/declared_params.h"
#include "executor/attempt_options.h"
#include "schedule/scheduler.h"

namespace digdag::cli {

namespace {

/// `_concurrency: N` or `{limit: N, on_limit: wait | skip | fail}`; limit 0: none.
struct Concurrency {
  std::int64_t limit = 0;
  bool waits = true;
};

Concurrency concurrency_of(const dig::Workflow& workflow) {
  const Value* config = workflow.config.find("_concurrency");
  if (!config || config->is_null()) return {};
  if (!config->is_object()) return {convert_to_int(*config, "_concurrency"), true};
  return {Config(*config).integer("limit"), Config(*config).string_or("on_limit", "wait") == "wait"};
}

}  // namespace

LocalAttempts::LocalAttempts(const dig::Project& project, const Value& project_params, const SystemConfig& system,
                             executor::Executor& executor, Admission admission)
    : project_(project), project_params_(project_params), system_(system), executor_(executor), admission_(std::move(admission)) {}

std::int64_t LocalAttempts::start_main(const dig::Workflow& workflow, const dig::TaskTree& tree, Instant session_time) {
  const std::lock_guard lock(mutex_);
  return add(workflow, tree, session_time, std::nullopt, Value::object());
}

std::int64_t LocalAttempts::add(const dig::Workflow& workflow, const dig::TaskTree& tree, Instant session_time,
                                const std::optional<std::string>& retry_name, const Value& params) {
  Value given = project_params_;
  merge(given, params);
  engine::Params layers = engine::Params().with(object_of(system_, "digdag.defaultParams"));
  layers = layers.with(dig::declared_params(workflow, given)).with(given);
  if (const auto scheduler = schedule::scheduler_of(workflow.config, workflow.timezone)) {
    layers = layers.with(schedule::schedule_params(*scheduler, session_time, workflow.timezone));
  }

  engine::Attempt attempt(tree, std::move(layers), workflow.timezone, executor::attempt_options(system_));
  const auto [place, is_new] = sessions_.try_emplace({workflow.name, session_time.seconds()});
  Session& session = place->second;
  if (is_new) session.id = next_session_++;
  const std::int64_t id = next_attempt_++;

  executor::AttemptIdentity identity;
  identity.session_id = session.id;
  identity.attempt_id = id;
  identity.workflow_name = workflow.name;
  identity.session_uuid = random_uuid();
  identity.session_time = session_time;
  identity.created_at = now();
  identity.timezone = workflow.timezone;
  identity.retry_attempt_name = retry_name;
  start_or_wait(workflow, std::move(identity), std::move(attempt));
  session.attempts[retry_name.value_or("")] = id;
  session.last_attempt = id;
  workflow_of_[id] = workflow.name;
  return id;
}

void LocalAttempts::start_or_wait(const dig::Workflow& workflow, executor::AttemptIdentity identity, engine::Attempt attempt) {
  const Concurrency allowed = concurrency_of(workflow);
  if (!has_free_place(workflow.name, allowed.limit) || !admission_(identity)) {
    const std::int64_t session = identity.session_time.seconds();
    waiting_.emplace(session, Waiting{allowed.limit, std::move(identity), std::move(attempt)});
  } else {
    executor_.add(std::move(identity), std::move(attempt));
  }
}

void LocalAttempts::start_waiting() {
  for (auto place = waiting_.begin(); place != waiting_.end();) {
    Waiting& waiting = place->second;
    try {
      if (!has_free_place(waiting.identity.workflow_name, waiting.limit) || !admission_(waiting.identity)) {
        ++place;
        continue;
      }
      executor_.add(std::move(waiting.identity), std::move(waiting.attempt));
    } catch (const Error& error) {
      refused_[waiting.identity.attempt_id] = error.message_with_kind();
    }
    place = waiting_.erase(place);
  }
}

bool LocalAttempts::has_free_place(const std::string& workflow, std::int64_t limit) const {
  if (limit <= 0) return true;
  std::int64_t running = 0;
  for (const auto& [attempt, name] : workflow_of_) {
    const executor::AttemptStatus status = executor_.status(attempt);
    running += name == workflow && status.known && !status.done;
  }
  return running < limit;
}

void LocalAttempts::kill(std::int64_t attempt_id) {
  const std::lock_guard lock(mutex_);
  const auto waiting =
      std::find_if(waiting_.begin(), waiting_.end(), [&](const auto& entry) { return entry.second.identity.attempt_id == attempt_id; });
  if (waiting != waiting_.end()) {
    executor_.add(std::move(waiting->second.identity), std::move(waiting->second.attempt));
    waiting_.erase(waiting);
  }
  executor_.kill(attempt_id);
}

LocalAttempts::Found LocalAttempts::found(const Session& session, std::int64_t attempt) const {
  const executor::AttemptStatus status = executor_.status(attempt);
  Found answer;
  answer.session_id = session.id;
  answer.attempt_id = attempt;
  answer.done = status.done;
  answer.success = status.success;
  answer.failure = status.failure;
  return answer;
}

std::string LocalAttempts::chain_back(std::int64_t attempt, std::int64_t waiting) const {
  std::set<std::int64_t> visited;
  return chain_back(attempt, waiting, visited);
}

std::string LocalAttempts::chain_back(std::int64_t attempt, std::int64_t waiting, std::set<std::int64_t>& visited) const {
  const std::string& name = workflow_of_.at(attempt);
  if (attempt == waiting) return name;
  const auto required = waits_for_.find(attempt);
  if (required == waits_for_.end() || !visited.insert(attempt).second) return "";
  for (const std::int64_t next : required->second) {
    if (const std::string rest = chain_back(next, waiting, visited); !rest.empty()) return name + " -> " + rest;
  }
  return "";
}

engine::AttemptStarter::Answer LocalAttempts::start(const Request& request) {
  if ((request.project_id && *request.project_id != 1) || (request.project_name && *request.project_name != "default")) return Missing{};
  const dig::Project::File* file = project_.find(request.workflow);
  if (!file) return Missing{project_.workflow_names()};
  if (!file->errors.empty() || !file->workflow || !file->tasks) {
    return Refused{"Dependent workflow '" + request.workflow +
                   "' is broken: " + (file->errors.empty() ? file->name : file->errors.front().report())};
  }
  const std::lock_guard lock(mutex_);
  start_waiting();
  const auto session = sessions_.find({request.workflow, request.session_time.seconds()});
  if (session != sessions_.end()) {
    const auto named = session->second.attempts.find(request.retry_attempt_name.value_or(""));
    std::optional<std::int64_t> existing;
    if (named != session->second.attempts.end()) existing = request.retry_attempt_name ? named->second : session->second.last_attempt;
    if (existing) {
      if (const auto refused = refused_.find(*existing); refused != refused_.end()) return Refused{refused->second};
      if (*existing == request.requiring_attempt) {
        return Refused{"Workflow '" + request.workflow + "' requires itself for the same session"};
      }
      Found answer = found(session->second, *existing);
      if (!answer.done) {
        if (const std::string chain = chain_back(*existing, request.requiring_attempt); !chain.empty()) {
          return Refused{"Workflows require each other for the same session: " + workflow_of_.at(request.requiring_attempt) + " -> " +
                         chain};
        }
        waits_for_[request.requiring_attempt].insert(*existing);
      }
      return answer;
    }
  }
  try {
    const Concurrency allowed = concurrency_of(*file->workflow);
    if (!allowed.waits && !has_free_place(request.workflow, allowed.limit)) {
      return Refused{"Workflow '" + request.workflow + "' runs already. _concurrency limit: " + std::to_string(allowed.limit)};
    }
    const std::int64_t id = add(*file->workflow, *file->tasks, request.session_time, request.retry_attempt_name, request.params);
    waits_for_[request.requiring_attempt].insert(id);
    Found answer = found(sessions_.at({request.workflow, request.session_time.seconds()}), id);
    answer.created = true;
    return answer;
  } catch (const Error& error) {
    return Refused{error.message_with_kind()};
  }
}

}  // namespace digdag::cli
