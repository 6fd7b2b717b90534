#include "cli/task_selection.h"

#include <vector>

#include "dig/compiler.h"

namespace digdag::cli {
namespace {

using Marks = std::vector<bool>;

/// Marks all descendants of marked tasks; children come after their parents, so that one pass finds all.
void spread_to_descendants(const dig::TaskTree& tree, Marks& marks) {
  for (std::size_t i = 1; i < tree.tasks.size(); ++i) {
    const auto parent = tree.tasks[i].parent;
    if (parent >= 0 && marks[static_cast<std::size_t>(parent)]) marks[i] = true;
  }
}

/// Ancestors of a task, and what runs before it or before one of them: all upstreams with their descendants.
Marks before(const dig::TaskTree& tree, std::size_t task) {
  Marks marks(tree.tasks.size());
  std::vector<std::size_t> ancestors;
  std::vector<std::int32_t> open;
  for (auto node = static_cast<std::int32_t>(task); node >= 0; node = tree.tasks[static_cast<std::size_t>(node)].parent) {
    if (node != static_cast<std::int32_t>(task)) ancestors.push_back(static_cast<std::size_t>(node));
    for (const auto upstream : dig::all_upstreams(tree, node)) open.push_back(upstream);
  }
  while (!open.empty()) {
    const std::int32_t upstream = open.back();
    open.pop_back();
    if (marks[static_cast<std::size_t>(upstream)]) continue;
    marks[static_cast<std::size_t>(upstream)] = true;
    for (const auto further : dig::all_upstreams(tree, upstream)) open.push_back(further);
  }
  spread_to_descendants(tree, marks);
  for (const std::size_t ancestor : ancestors) marks[ancestor] = true;
  return marks;
}

std::unordered_set<std::string> names_of(const dig::TaskTree& tree, const Marks& marks) {
  std::unordered_set<std::string> names;
  for (std::size_t i = 0; i < marks.size(); ++i) {
    if (marks[i]) names.insert(tree.tasks[i].full_name);
  }
  return names;
}

}  // namespace

std::size_t find_task(const dig::TaskTree& tree, std::string_view pattern) {
  std::vector<std::string> names;
  names.reserve(tree.tasks.size());
  for (const auto& task : tree.tasks) names.push_back(task.full_name);
  return dig::match_task(pattern, names);
}

TaskSelection::TaskSelection(const dig::TaskTree& tree, bool rerun, const std::optional<std::string>& start,
                             const std::optional<std::string>& goal, const std::optional<std::string>& end) {
  if (rerun) resume_.emplace();
  if (start) resume_ = names_of(tree, before(tree, find_task(tree, *start)));
  if (goal) {
    const std::size_t task = find_task(tree, *goal);
    const Marks earlier = before(tree, task);
    resume_ = names_of(tree, earlier);
    Marks own(tree.tasks.size());
    own[task] = true;
    spread_to_descendants(tree, own);
    run_ = names_of(tree, own);
    run_->insert(resume_->begin(), resume_->end());
  }
  if (end) run_ = names_of(tree, before(tree, find_task(tree, *end)));
}

bool TaskSelection::holds(const Names& names, std::string_view full_name) {
  if (names.contains(std::string(full_name))) return true;
  // A generated task: `+wf+loop^sub+loop-0` follows `+wf+loop` (C-21). A generated part begins at the first `^`.
  for (std::size_t mark = full_name.find('^'); mark != std::string_view::npos; mark = full_name.find('^', mark + 1)) {
    if (names.contains(std::string(full_name.substr(0, mark)))) return true;
  }
  return false;
}

}  // namespace digdag::cli
