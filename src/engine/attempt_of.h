#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/config.h"
#include "base/json.h"
#include "base/text.h"
#include "dig/compiler.h"
#include "dig/loader.h"
#include "engine/attempt.h"

namespace digdag::engine {

inline const Instant test_start = Instant::of_seconds(1'767'323'045);  // 2026-01-02T03:04:05Z

inline Value json(std::string_view text) { return parse_json(text); }

// How a run ends, for AttemptOf::finish.
struct Ends {
  enum class Kind { success, failure, later } kind = Kind::success;
  TaskResult result;
  Value error;
  bool retryable = false;
  Value state;
  std::int64_t delay_seconds = 0;
};
inline const Ends success;
inline Ends failure(const std::string& message) {
  return Ends{Ends::Kind::failure, {}, Value::object({{"message", message}}), false, {}, 0};
}
/// A failure of an operator that honours `_retry`.
inline Ends retryable_failure(const std::string& message) {
  Ends ends = failure(message);
  ends.retryable = true;
  return ends;
}
inline Ends stores(std::string_view params) {
  Ends ends;
  ends.result.store_params = json(params);
  return ends;
}
inline Ends exports(std::string_view params) {
  Ends ends;
  ends.result.export_params = json(params);
  return ends;
}
inline Ends generates(std::string_view config) {
  Ends ends;
  ends.result.subtask_config = json(config);
  return ends;
}
inline Ends later(std::int64_t seconds, std::string_view state = "{}") {
  return Ends{Ends::Kind::later, {}, {}, false, json(state), seconds};
}

/// An attempt of a workflow `w` given as dig text, and a person who plays its agent on a clock that stands still until moved.
class AttemptOf {
 public:
  struct Given {
    AttemptOptions options;
    std::string params = "{}";
    ResumedTasks resumed;
    bool start = true;
  };
  explicit AttemptOf(std::string_view text) : AttemptOf(text, Given{}) {}
  AttemptOf(std::string_view text, Given given)
      : attempt(tree_of(text), Params().with(json(given.params)), TimeZone(), given.options, std::move(given.resumed)) {
    if (given.start) take(attempt.start(now));
  }

  static dig::TaskTree tree_of(std::string_view text) {
    // The lines of a raw string stand as deep as the code around them.
    std::vector<std::string> lines = split(text, '\n');
    std::size_t margin = std::string::npos;
    for (const auto& line : lines) {
      if (!is_blank(line)) margin = std::min(margin, line.find_first_not_of(' '));
    }
    std::string dig;
    for (const auto& line : lines) dig += (is_blank(line) ? std::string() : line.substr(margin)) + "\n";
    return dig::compile(dig::workflow_of("w", dig::load_yaml(dig, dig::Source{".", ".", "w.dig"}), "w.dig"));
  }

  /// Ends the run that this task is in; `name` without the workflow's `+w`.
  void finish(std::string_view name, const Ends& ends = success) { finish_lease(task(name), attempt.lease(task(name)), ends); }
  void finish_lease(TaskIndex task, Lease lease, const Ends& ends) {
    switch (ends.kind) {
      case Ends::Kind::success: apply(Succeeded{task, lease, ends.result}); break;
      case Ends::Kind::failure:
        apply(Failed{task, lease, ends.error, ends.retryable,
                     ends.retryable && attempt.local(task).find("_retry") ? *attempt.local(task).find("_retry") : Value()});
        break;
      case Ends::Kind::later: apply(RetryLater{task, lease, ends.delay_seconds * 1000, ends.state}); break;
    }
  }
  void kill() { apply(Kill{}); }
  void wait(std::int64_t seconds) {
    now = now.plus_seconds(seconds);
    apply(Tick{});
  }
  void apply(const Event& event) { take(attempt.apply(event, now)); }

  /// The newest row of this name.
  TaskIndex task(std::string_view name) const {
    for (auto i = static_cast<TaskIndex>(attempt.size()); i-- > 0;) {
      if (attempt.full_name(i) == "+w" + std::string(name)) return i;
    }
    ADD_FAILURE() << "no task " << name;
    return 0;
  }

  /// All rows but the root, one line each: name without `+w`, state. Lines as in a raw string of the test.
  std::string states() const {
    std::string text = "\n";
    for (std::size_t i = 1; i < attempt.size(); ++i) {
      const auto index = static_cast<TaskIndex>(i);
      text += attempt.full_name(index).substr(2) + " " + std::string(to_string(attempt.state(index))) + "\n";
    }
    return text;
  }
  std::string root() const { return std::string(to_string(attempt.state(0))); }
  std::string state(std::string_view name) const { return std::string(to_string(attempt.state(task(name)))); }
  std::string error(std::string_view name) const { return to_json(attempt.error(task(name))); }
  std::string state_params(std::string_view name) const { return to_json(attempt.state_params(task(name))); }
  std::string params(std::string_view name) const { return to_json(attempt.params_of(task(name)).to_value()); }
  std::string param(std::string_view name, std::string_view key) const { return to_json(attempt.params_of(task(name)).find(key)); }
  int runs(std::string_view name) const {
    int count = 0;
    for (const TaskIndex i : started) count += attempt.full_name(i) == "+w" + std::string(name);
    return count;
  }
  /// What the last event asked for: `run +a`, `stop +a 10`, `clean +a`, `evaluate +g 3`.
  std::string wanted() const {
    std::string text;
    for (const Effect& effect : last.effects) {
      if (!text.empty()) text += ", ";
      if (const auto* run = std::get_if<Run>(&effect)) {
        text += (run->cleanup ? "clean " : "run ") + attempt.full_name(run->task).substr(2);
      } else if (const auto* stop = std::get_if<Stop>(&effect)) {
        text += "stop " + attempt.full_name(stop->task).substr(2);
        if (stop->grace_seconds) text += " " + std::to_string(*stop->grace_seconds);
      } else if (const auto* evaluate = std::get_if<EvaluateRetry>(&effect)) {
        text += "evaluate " + attempt.full_name(evaluate->task).substr(2) + " " + to_json(evaluate->retry);
      }
    }
    return text;
  }
  std::string notes() const {
    std::string text;
    for (const Note& note : last.notes) text += note.message + "\n";
    return text;
  }
  bool changed_nothing() const { return last.changed.empty() && last.effects.empty() && last.notes.empty() && !last.finished; }
  std::optional<std::int64_t> seconds_to_tick() const {
    const auto next = attempt.next_tick();
    return next ? std::optional((next->millis - now.millis) / 1000) : std::nullopt;
  }
  /// The rows that succeeded, as an attempt that resumes this one takes them.
  ResumedTasks successes() const {
    ResumedTasks result;
    for (const TaskIndex i : attempt.newest_rows()) {
      if (attempt.state(i) != TaskState::success) continue;
      ResumedTask& resumed = result[attempt.full_name(i)];
      resumed.source_task_id = i + 1;
      resumed.local = attempt.local(i);
      resumed.export_config = attempt.export_config(i);
      if (const TaskResult* r = attempt.result(i)) {
        resumed.subtask_config = r->subtask_config;
        resumed.export_params = r->export_params;
        resumed.store_params = r->store_params;
        resumed.reset_store_params = r->reset_store_params;
      }
    }
    return result;
  }

  Attempt attempt;
  Instant now = test_start;
  Outcome last;
  std::vector<TaskIndex> started;

 private:
  void take(Outcome outcome) {
    for (const Effect& effect : outcome.effects) {
      if (const auto* run = std::get_if<Run>(&effect)) started.push_back(run->task);
    }
    last = std::move(outcome);
  }
};

}  // namespace digdag::engine
