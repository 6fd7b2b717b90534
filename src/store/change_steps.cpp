#include "store/change_steps.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>
#include <utility>

namespace digdag::store {
namespace {

using engine::TaskIndex;
using engine::TaskState;

template <typename Item, typename Work>
void in_steps(const std::vector<Item>& items, std::size_t length, const Work& work) {
  for (std::size_t i = 0; i < items.size(); i += length) {
    const auto begin = items.begin() + static_cast<std::ptrdiff_t>(i);
    work(std::vector<Item>(begin, begin + static_cast<std::ptrdiff_t>(std::min(length, items.size() - i))));
  }
}

void add_ancestors(const engine::Attempt& attempt, TaskIndex task, std::unordered_set<TaskIndex>& found) {
  for (TaskIndex i = attempt.parent(task); i != engine::no_task && found.insert(i).second; i = attempt.parent(i)) {
  }
}

/// Whether who reads the rows of its parent back lets this task begin: not below one that has failed meanwhile.
bool releases(const engine::Attempt& attempt, TaskIndex task) {
  const TaskIndex parent = attempt.parent(task);
  return parent == engine::no_task || attempt.state(parent) == TaskState::planned || attempt.state(parent) == TaskState::success;
}

}  // namespace

std::vector<ChangeStep> steps_of(const AttemptChange& change, std::size_t rows_in_a_step) {
  const AttemptRows& rows = *change.rows;
  const auto stored = static_cast<TaskIndex>(rows.states.size());
  const auto first_added = std::lower_bound(change.changed.begin(), change.changed.end(), stored);
  const std::vector<TaskIndex> added(first_added, change.changed.end());
  const auto may_follow = [&](TaskIndex task) {
    const bool was_blocked = rows.states[static_cast<std::size_t>(task)] == TaskState::blocked;
    const bool is_killed = (change.attempt->flags(task) & engine::cancel_requested) != 0;  // the kill counts for all of them or for none
    return was_blocked && change.attempt->state(task) != TaskState::blocked && !is_killed && releases(*change.attempt, task);
  };
  // Nothing counts before what it stands below. Of new tasks some may be stored already: by an earlier try of these steps.
  std::unordered_set<TaskIndex> above;
  for (const TaskIndex task : change.changed) {
    if (task >= stored || !may_follow(task)) add_ancestors(*change.attempt, task, above);
  }
  std::vector<TaskIndex> released, others;
  for (auto task = change.changed.begin(); task != first_added; ++task)
    (may_follow(*task) && !above.contains(*task) ? released : others).push_back(*task);
  std::vector<ChangeStep> steps;
  const auto add = [&](std::vector<TaskIndex> tasks) -> ChangeStep& {
    AttemptChange part{change.rows, change.attempt, std::move(tasks), {}, {}, {}, false, true};
    std::set_intersection(part.changed.begin(), part.changed.end(), change.results_changed.begin(), change.results_changed.end(),
                          std::back_inserter(part.results_changed));
    return steps.emplace_back(ChangeStep{std::move(part)});
  };
  in_steps(added, rows_in_a_step, [&](std::vector<TaskIndex> tasks) {
    add(std::move(tasks)).pending_from = rows.task_ids[static_cast<std::size_t>(added.front())];
  });
  ChangeStep& cause = add(std::move(others));
  cause.part.is_part = false;
  cause.part.events = change.events;
  cause.completes = true;
  in_steps(released, rows_in_a_step, [&](std::vector<TaskIndex> tasks) { add(std::move(tasks)); });
  in_steps(change.runs, rows_in_a_step, [&](std::vector<QueuedRun> runs) { add({}).part.runs = std::move(runs); });
  return steps;
}

}  // namespace digdag::store
