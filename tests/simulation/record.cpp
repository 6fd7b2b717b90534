#include "record.h"

#include "base/json.h"

namespace digdag::simulation {

using engine::Attempt;
using engine::Event;
using engine::TaskIndex;

std::string text_of(engine::TaskState state) { return std::string(engine::to_string(state)); }
std::string text_of(const std::optional<Instant>& at) { return at ? std::to_string(at->millis) : "-"; }
std::string text_of(const Value& object) { return object.is_object() && !object.as_object().empty() ? to_json(object) : "{}"; }

std::string text_of(const Event& event) {
  struct {
    std::string operator()(const engine::Succeeded& e) const {
      return "succeeded #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " store " + text_of(e.result.store_params) +
             " export " + text_of(e.result.export_params) + " sub " + text_of(e.result.subtask_config) + " resets " +
             std::to_string(e.result.reset_store_params.size());
    }
    std::string operator()(const engine::Failed& e) const {
      return "failed #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " " + text_of(e.error) +
             (e.retryable ? " retryable " : " ") + to_json(e.retry);
    }
    std::string operator()(const engine::RetryLater& e) const {
      return "retry later #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " in " + std::to_string(e.delay_millis) +
             " ms " + text_of(e.state);
    }
    std::string operator()(const engine::Wake& e) const { return "wake #" + std::to_string(e.task) + " lease " + std::to_string(e.lease); }
    std::string operator()(const engine::Kill&) const { return "kill"; }
    std::string operator()(const engine::Tick&) const { return "tick"; }
    std::string operator()(const engine::RetryEvaluated& e) const {
      return "retry evaluated #" + std::to_string(e.task) + " " + to_json(e.retry);
    }
    std::string operator()(const engine::LimitsEvaluated& e) const {
      return "limits evaluated #" + std::to_string(e.task) + " lease " + std::to_string(e.lease) + " " + to_json(e.limits);
    }
    std::string operator()(const engine::Lost& e) const { return "lost #" + std::to_string(e.task) + " lease " + std::to_string(e.lease); }
  } visitor;
  return std::visit(visitor, event);
}

std::string text_of(const engine::Outcome& outcome) {
  std::string out = "changed";
  for (auto task : outcome.changed) out += " " + std::to_string(task);
  for (const auto& effect : outcome.effects) {
    if (const auto* run = std::get_if<engine::Run>(&effect)) {
      out += "; run " + std::to_string(run->task) + " lease " + std::to_string(run->lease) + (run->cleanup ? " cleanup" : "");
    } else if (const auto* stop = std::get_if<engine::Stop>(&effect)) {
      out += "; stop " + std::to_string(stop->task) + " lease " + std::to_string(stop->lease);
    } else if (const auto* evaluate = std::get_if<engine::EvaluateRetry>(&effect)) {
      out += "; evaluate " + std::to_string(evaluate->task) + " " + to_json(evaluate->retry);
    }
  }
  for (const auto& note : outcome.notes) out += "; note " + std::to_string(note.task) + " " + note.message;
  if (outcome.finished) out += "; finished";
  return out;
}

std::string picture_of(const Attempt& attempt) {
  std::string out;
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    out += std::to_string(i) + " " + attempt.full_name(i) + " < " + std::to_string(attempt.parent(i)) + " " + text_of(attempt.state(i)) +
           " flags " + std::to_string(attempt.flags(i)) + " lease " + std::to_string(attempt.lease(i)) + " retries " +
           std::to_string(attempt.retry_count(i)) + " at " + text_of(attempt.retry_at(i)) + " started " + text_of(attempt.started_at(i)) +
           " updated " + text_of(attempt.updated_at(i)) + " state " + text_of(attempt.state_params(i)) + " error " +
           text_of(attempt.error(i)) + " export " + text_of(attempt.export_config(i)) + " after";
    for (auto up : attempt.upstreams(i)) out += " " + std::to_string(up);
    if (const auto* result = attempt.result(i)) {
      out += " result " + text_of(result->subtask_config) + text_of(result->export_params) + text_of(result->store_params);
      for (const auto& key : result->reset_store_params) out += " -" + key;
    }
    out += "\n";
  }
  return out;
}

Attempt replay(const Setup& setup, const std::vector<Recorded>& events, std::size_t count) {
  Attempt attempt(setup.tree, engine::Params().with(setup.params), TimeZone(), setup.options, setup.pool);
  for (std::size_t i = 0; i < count; ++i) {
    const auto outcome = events[i].event ? attempt.apply(*events[i].event, events[i].at) : attempt.start(events[i].at);
    if (text_of(outcome) != events[i].answer) {
      throw Disagreement("event " + std::to_string(i) + " has another outcome when it is replayed:\n  " + events[i].answer + "\n  " +
                         text_of(outcome));
    }
  }
  return attempt;
}

}  // namespace digdag::simulation
