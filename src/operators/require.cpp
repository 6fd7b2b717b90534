#include <algorithm>

#include "base/text.h"
#include "operators/operator.h"

namespace digdag::operators {
namespace {

using engine::AttemptStarter;

constexpr std::int64_t most_poll_seconds = 10;

Instant session_time_of(const Config& params) {
  const std::string text = params.string("session_time");
  const auto instant = parse_instant(text);
  if (!instant) throw unexpected_type("class java.time.Instant", "session_time", Value(text)).hint("write it as 2026-01-02T00:00:00+00:00");
  return *instant;
}

enum class Rerun { none, failed, all };

Rerun rerun_of(const Config& params) {
  const std::string option = params.string_or("rerun_on", "none");
  if (option == "none") return Rerun::none;
  if (option == "failed") return Rerun::failed;
  if (option == "all") return Rerun::all;
  throw config_error("invalid rerun_on option:" + option).hint("rerun_on is none, failed or all");
}

/// What is remembered from poll to poll, in the original's keys (spec/execution.md 31d).
class State {
 public:
  explicit State(const Value& state) : state_(state) {}

  bool kicked() const { return truth("require_kicked").value_or(false); }
  std::optional<bool> finished() const { return truth("task_finish_success"); }
  std::optional<std::string> rerun_name() const {
    const Value* name = state_.find("rerun_on_retry_attempt_name");
    return name != nullptr && name->is_string() ? std::optional(name->as_string()) : std::nullopt;
  }

  void set(std::string_view key, Value value) { state_.mutable_object().set(key, std::move(value)); }
  void set_target(const AttemptStarter::Found& found) {
    set("target_session_id", found.session_id);
    set("target_attempt_id", found.attempt_id);
  }

  /// Polls after 1, 2, 4, 8, 10, 10, … seconds, or when `awaited` has ended.
  RetryLater poll(std::optional<std::int64_t> awaited) && {
    const Value* stored = state_.find("retry");
    const std::int64_t count = stored != nullptr && stored->is_integer() ? std::clamp<std::int64_t>(stored->as_integer(), 0, 1 << 30) : 0;
    const std::int64_t seconds = count < 4 ? std::int64_t{1} << count : most_poll_seconds;
    set("retry", count + 1);
    return {seconds * 1000, std::move(state_), awaited};
  }

 private:
  std::optional<bool> truth(std::string_view key) const {
    const Value* value = state_.find(key);
    return value != nullptr && value->is_boolean() ? std::optional(value->as_boolean()) : std::nullopt;
  }

  Value state_;
};

/// require>: starts the session of another workflow, or finds it, and waits for it (spec/operators.md 3.3).
class Require : public Operator {
 public:
  Outcome run(TaskContext& task) override {
    State state(task.state);
    if (const auto finished = state.finished()) return finish(task, *finished);
    const AttemptStarter::Request request = request_of(task, state);
    const Rerun rerun = rerun_of(task.params());
    const bool ignore_failure = task.params().boolean_or("ignore_failure", false);

    const AttemptStarter::Answer answer = task.attempts->start(request);
    if (const auto* missing = std::get_if<AttemptStarter::Missing>(&answer)) throw not_there(task, request, *missing);
    if (const auto* refused = std::get_if<AttemptStarter::Refused>(&answer)) throw task_error(refused->message);
    const auto& found = std::get<AttemptStarter::Found>(answer);
    if (found.attempt_id == task.identity.attempt_id)
      throw task_error("Workflow '" + request.workflow + "' requires itself for the same session");

    const bool kicked = state.kicked() || found.created;
    if (found.done && !kicked && (rerun == Rerun::all || (rerun == Rerun::failed && !found.success))) {
      state.set("rerun_on_retry_attempt_name", random_uuid());
      return std::move(state).poll(std::nullopt);
    }
    state.set_target(found);
    if (found.created) state.set("require_kicked", true);
    if (!found.done) return std::move(state).poll(found.attempt_id);
    if (found.success || ignore_failure) return engine::TaskResult{};
    Error error = failed(found.session_id, found.attempt_id);
    if (found.failure.empty()) throw error;
    throw std::move(error).hint("workflow " + request.workflow + " failed at " + found.failure);
  }

  /// `propagate_kill: true` (O-13): what this task started ends with it; what it only found goes on.
  void cleanup(TaskContext& task) override {
    const Config state(task.state);
    if (task.params().boolean_or("propagate_kill", false) && State(task.state).kicked() && state.has("target_attempt_id")) {
      task.attempts->kill(state.long_integer("target_attempt_id"));
    }
  }

 private:
  static AttemptStarter::Request request_of(const TaskContext& task, const State& state) {
    const Config params = task.params();
    const Config local(task.local);
    AttemptStarter::Request request;
    request.workflow = params.string("_command");
    if (local.has("project_id")) request.project_id = local.integer("project_id");
    request.project_name = local.optional_string("project_name");
    if (request.project_id && request.project_name) throw config_error("Both project_id and project_name can't be set");
    request.session_time = session_time_of(params);
    request.retry_attempt_name = state.rerun_name();
    if (!request.retry_attempt_name) request.retry_attempt_name = local.optional_string("retry_attempt_name");
    request.params = params.nested_or_empty("params");
    request.requiring_attempt = task.identity.attempt_id;
    return request;
  }

  static Error not_there(const TaskContext& task, const AttemptStarter::Request& request, const AttemptStarter::Missing& missing) {
    const std::string project = request.project_name
                                    ? "projectName: " + *request.project_name
                                    : "projectId: " + std::to_string(request.project_id.value_or(task.identity.project_id));
    return task_error("Dependent workflow does not exist. " + project + ", workflowName:" + request.workflow)
        .hint(did_you_mean(request.workflow, missing.workflows));
  }

  static Error failed(std::int64_t session_id, std::int64_t attempt_id) {
    return task_error("Dependent workflow failed. Session id: " + std::to_string(session_id) +
                      ", attempt id: " + std::to_string(attempt_id));
  }

  /// What the original decided at its last poll.
  static Outcome finish(const TaskContext& task, bool success) {
    if (success) return engine::TaskResult{};
    const Config state(task.state);
    throw failed(state.long_integer_or("target_session_id", 0), state.long_integer_or("target_attempt_id", 0));
  }
};

}  // namespace

std::unique_ptr<Operator> make_require() { return std::make_unique<Require>(); }

}  // namespace digdag::operators
