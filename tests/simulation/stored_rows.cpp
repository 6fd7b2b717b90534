#include "stored_rows.h"

#include <set>

#include "base/json.h"
#include "engine/resume_source.h"

namespace digdag::simulation {

using engine::Attempt;
using engine::StoredTask;
using engine::TaskIndex;

std::vector<StoredTask> rows_of(const Attempt& attempt) {
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < attempt.size(); ++i) ids.push_back(100 + 3 * static_cast<std::int64_t>(i));
  std::vector<StoredTask> rows;
  for (std::size_t i = 0; i < attempt.size(); ++i) rows.push_back(attempt.stored(static_cast<TaskIndex>(i), ids));
  return rows;
}

namespace {

/// False where they say something that Java does not know.
bool make_java(std::vector<StoredTask>& rows) {
  for (const StoredTask& row : rows) {
    if (!row.native.is_object()) continue;
    for (const auto& member : row.native.as_object()) {
      if (member.key != "generation" && member.key != "origins") return false;
    }
  }
  expand_barriers(rows);
  std::set<std::string> names;
  for (StoredTask& row : rows) {
    row.native = Value();
    const bool is_copy = !names.insert(row.full_name).second;
    bool in_handler = false;
    for (const char* handler : {"^error", "^check", "^sla"}) in_handler = in_handler || row.full_name.find(handler) != std::string::npos;
    const bool is_generated = row.full_name.rfind('^') != std::string::npos && row.full_name.rfind('^') > row.full_name.rfind('+');
    if (is_copy && !is_generated && !in_handler) row.flags &= ~engine::initial_task;
  }
  return true;
}

std::string differences(const std::string& a, const std::string& b) {
  std::size_t line = 0;
  for (std::size_t i = 0; i < a.size() && i < b.size() && a[i] == b[i]; ++i) {
    if (a[i] == '\n') line = i + 1;
  }
  return "\n  " + a.substr(line, a.find('\n', line) - line) + "\n  " + b.substr(line, b.find('\n', line) - line);
}

}  // namespace

engine::Restored engine_of_rows(const Attempt& attempt, const Setup& setup, Instant now, bool as_java) {
  const std::vector<StoredTask> rows = rows_of(attempt);
  std::vector<StoredTask> given = rows;
  const bool java = as_java && make_java(given);
  if (!java) given = rows;
  engine::StoredAttempt stored{1, attempt.cancel_was_requested(), attempt.monitor(), engine::for_generated_tasks(setup.pool)};
  auto restored = Attempt::restore(stored, given, engine::Params().with(setup.params), TimeZone(), setup.options, now);
  const Attempt& back = restored.attempt;
  if (!restored.outcome.changed.empty()) throw Disagreement("something moves when it comes back: " + text_of(restored.outcome));
  if (picture_of(back) != picture_of(attempt))
    throw Disagreement("another attempt comes back:" + differences(picture_of(attempt), picture_of(back)));
  if (back.next_tick() != attempt.next_tick())
    throw Disagreement("the next tick is due at " + text_of(back.next_tick()) + " when it comes back, was " + text_of(attempt.next_tick()));
  for (TaskIndex i = 0; i < static_cast<TaskIndex>(attempt.size()); ++i) {
    const auto before = to_json(attempt.params_of(i).to_value()), after = to_json(back.params_of(i).to_value());
    const bool is_taken_over = rows[static_cast<std::size_t>(i)].resuming_task_id.has_value();  // nobody asks what it saw
    if (setup.params_are_fixed && !is_taken_over && before != after)
      throw Disagreement("params of " + attempt.full_name(i) + " when it comes back:\n  " + before + "\n  " + after);
    if (attempt.in_handler(i) != back.in_handler(i)) throw Disagreement(attempt.full_name(i) + " changes whether it is a handler's");
    if (attempt.state(i) == engine::TaskState::running && attempt.kill_grace(i) != back.kill_grace(i))
      throw Disagreement(attempt.full_name(i) + " changes its grace");
  }
  const auto again = rows_of(back);
  for (std::size_t i = 0; !java && i < rows.size(); ++i) {
    if (again[i] != rows[i]) {
      throw Disagreement("another row of " + rows[i].full_name + " is written when it comes back; native " + to_json(again[i].native) +
                         ", was " + to_json(rows[i].native));
    }
  }
  return restored;
}

}  // namespace digdag::simulation
