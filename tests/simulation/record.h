#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/attempt.h"

namespace digdag::simulation {

/// What is wrong between the engine, the model and the specification.
struct Disagreement : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// What an attempt is made of.
struct Setup {
  dig::TaskTree tree;
  Value params;
  engine::AttemptOptions options;
  engine::ResumedTasks resumed;  ///< by the law (resume_law.h)
  engine::ResumedTasks pool;     ///< the same as the engine finds it in the rows of the earlier attempt
  /// Whether what a task sees is fixed when it starts. Not so where a taken-over group got a new task: that runs beside what
  /// stands behind its taken-over siblings.
  bool params_are_fixed = true;
};

/// Events of an attempt with their times, and what the engine answered, as text.
struct Recorded {
  std::optional<engine::Event> event;  ///< nothing: the start
  Instant at;
  std::string answer;
};

/// The same attempt: `count` of its events given to a new engine. Throws Disagreement where it answers differently.
engine::Attempt replay(const Setup& setup, const std::vector<Recorded>& events, std::size_t count);

/// All that can be read of an attempt, one row a line.
std::string picture_of(const engine::Attempt& attempt);

std::string text_of(const engine::Event& event);
std::string text_of(const engine::Outcome& outcome);
std::string text_of(engine::TaskState state);
std::string text_of(const std::optional<Instant>& at);
/// JSON; `{}` for anything without members.
std::string text_of(const Value& object);

}  // namespace digdag::simulation
