#include "engine/rows.h"

#include <algorithm>
#include <utility>

namespace digdag::engine {

TaskExtra& Rows::extra(TaskIndex i) {
  auto& extra = (*this)[i].extra;
  if (!extra) extra = std::make_unique<TaskExtra>();
  return *extra;
}

TaskIndex Rows::insert(const dig::TaskTree& tree, TaskIndex parent, std::uint8_t flags) {
  const auto base = static_cast<TaskIndex>(tasks_.size());
  // Grows geometrically: generated trees are often small and many.
  if (tasks_.capacity() < tasks_.size() + tree.tasks.size())
    tasks_.reserve(std::max(tasks_.capacity() * 2, tasks_.size() + tree.tasks.size()));
  std::vector<TaskIndex> upstreams;
  for (const dig::TaskDefinition& definition : tree.tasks) {
    Task task;
    task.name = definition.name;
    task.position = definition.position;
    task.group = definition.group;
    task.flags = flags;
    const TaskIndex i = append(std::move(task), definition.parent < 0 ? parent : base + definition.parent);
    set_config(i, definition.local, definition.export_params);
    upstreams.clear();
    for (const std::int32_t upstream : definition.upstreams) upstreams.push_back(base + upstream);
    add_upstreams(i, upstreams);
    if (!definition.barrier.empty()) wait_for_siblings(i, base + definition.barrier.first, base + definition.barrier.last);
    count_visible_siblings(i);
    if (definition.window > 0) set_window(i, definition.window);
  }
  return base;
}

namespace {
bool has_reserved_key(const Value& config) {
  if (!config.is_object()) return false;
  for (const auto& member : config.as_object()) {
    if (member.key.starts_with('_')) return true;
  }
  return false;
}
}  // namespace

void Rows::set_config(TaskIndex i, const Value& local, const Value& export_config) {
  static const Value nothing = Value::object();  // shared by the many tasks without `_export`
  Task& task = (*this)[i];
  task.local = local;
  const bool exports = export_config.is_object() && !export_config.as_object().empty();
  task.export_config = exports ? export_config : nothing;
  task.has_reserved_keys = has_reserved_key(local) || (exports && has_reserved_key(export_config));
}

TaskIndex Rows::append(Task task, TaskIndex parent) {
  const auto index = static_cast<TaskIndex>(tasks_.size());
  task.parent = parent;
  if (parent != no_task) {
    Task& above = (*this)[parent];
    task.in_handler = above.in_handler;
    if (!task.position.known()) task.position = above.position;
    if (above.last_child == no_task) {
      above.first_child = index;
    } else {
      (*this)[above.last_child].next_sibling = index;
      task.ordinal = (*this)[above.last_child].ordinal + 1;
    }
    above.last_child = index;
    if (above.extra && above.extra->starts_generation) {
      above.extra->starts_generation = false;
      above.extra->newest_generation = index;
      if (above.extra->second_generation == no_task) above.extra->second_generation = index;
      task.ordinal = 0;
    }
  }
  if (is_handler_name(task.name)) task.in_handler = true;
  tasks_.push_back(std::move(task));
  return index;
}

TaskIndex Rows::append_copy(TaskIndex original, TaskIndex parent, const std::unordered_map<TaskIndex, TaskIndex>& copies) {
  Task copy;
  const Task& from = (*this)[original];
  copy.name = from.name;
  copy.local = from.local;
  copy.export_config = from.export_config;
  copy.has_reserved_keys = from.has_reserved_keys;
  copy.position = from.position;
  copy.group = from.group;
  copy.flags = initial_task;
  if (from.extra) {
    copy.extra = std::make_unique<TaskExtra>();
    copy.extra->export_origins = from.extra->export_origins;
  }
  const std::int32_t window = from.extra && from.extra->window ? from.extra->window->limit : 0;
  std::vector<TaskIndex> upstreams;
  upstreams.reserve(static_cast<std::size_t>(from.upstream_count));
  for (std::int32_t e = 0; e < from.upstream_count; ++e) {
    upstreams.push_back(copies.at(upstream_at(from, e)));
  }
  const BarrierIndex barrier = from.barrier;
  const TaskIndex i = append(std::move(copy), parent);
  add_upstreams(i, upstreams);
  if (barrier != no_barrier) {
    const Barrier& members = barriers_[static_cast<std::size_t>(barrier)];
    wait_for_siblings(i, copies.at(members.first_member), copies.at(members.last_member));
  }
  count_visible_siblings(i);
  if (window > 0) set_window(i, window);
  return i;
}

void Rows::add_upstreams(TaskIndex i, const std::vector<TaskIndex>& upstreams) {
  if (upstreams.empty()) return;
  std::vector<TaskIndex> unique = upstreams;
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  Task& task = (*this)[i];
  task.first_upstream = static_cast<std::int32_t>(edges_.size());
  task.upstream_count = static_cast<std::int32_t>(unique.size());
  for (const TaskIndex upstream : unique) {
    Task& above = (*this)[upstream];
    edges_.push_back(Edge{upstream, i, above.first_downstream});
    above.first_downstream = static_cast<std::int32_t>(edges_.size()) - 1;
    if (above.state != TaskState::success) ++task.unmet;
  }
}

BarrierIndex Rows::barrier_of(TaskIndex first, TaskIndex last) {
  const BarrierIndex known = (*this)[first].member_of;
  if (known != no_barrier && barriers_[static_cast<std::size_t>(known)].last_member == last) return known;
  Barrier barrier{first, last, 0, {}};
  const auto index = static_cast<BarrierIndex>(barriers_.size());
  for (TaskIndex member = first; member != no_task; member = (*this)[member].next_sibling) {
    (*this)[member].member_of = index;
    if ((*this)[member].state != TaskState::success) ++barrier.remaining;
    if (member == last) break;
  }
  barriers_.push_back(std::move(barrier));
  return index;
}

void Rows::wait_for_siblings(TaskIndex i, TaskIndex first, TaskIndex last) {
  const BarrierIndex index = barrier_of(first, last);
  Barrier& barrier = barriers_[static_cast<std::size_t>(index)];
  barrier.waiting.push_back(i);
  (*this)[i].barrier = index;
  if (barrier.remaining > 0) ++(*this)[i].unmet;
}

void Rows::wait_for_all(TaskIndex i, const std::vector<TaskIndex>& upstreams) {
  constexpr std::size_t many = 8;
  bool shared = upstreams.size() >= many;
  const BarrierIndex known = shared ? (*this)[upstreams.front()].member_of : no_barrier;
  for (std::size_t k = 0; shared && k < upstreams.size(); ++k) {
    const Task& member = (*this)[upstreams[k]];
    shared = member.member_of == known && (k + 1 == upstreams.size() || member.next_sibling == upstreams[k + 1]);
  }
  if (shared && known != no_barrier) {
    const Barrier& barrier = barriers_[static_cast<std::size_t>(known)];
    shared = barrier.first_member == upstreams.front() && barrier.last_member == upstreams.back();
  }
  if (shared) {
    wait_for_siblings(i, upstreams.front(), upstreams.back());
  } else {
    add_upstreams(i, upstreams);
  }
}

void Rows::count_visible_siblings(TaskIndex i) {
  // All upstreams stand before the task. What is covered from the first sibling on without a gap needs no list; an upstream
  // that sees less than all before it adds nothing, since what it sees lies before it.
  Task& task = (*this)[i];
  std::int32_t covered = 0;
  for (std::int32_t e = 0; e < task.upstream_count; ++e) {
    const Task& upstream = (*this)[upstream_at(task, e)];
    covered = std::max(covered, upstream.visible_siblings);
  }
  if (task.barrier != no_barrier) {
    const Barrier& barrier = barriers_[static_cast<std::size_t>(task.barrier)];
    // Every member of a chunk waits for the whole chunk before it, so the first one speaks for all.
    covered = std::max(covered, (*this)[barrier.first_member].visible_siblings);
    if ((*this)[barrier.first_member].ordinal <= covered) covered = std::max(covered, (*this)[barrier.last_member].ordinal + 1);
  }
  for (std::int32_t e = 0; e < task.upstream_count; ++e) {
    const Task& upstream = (*this)[upstream_at(task, e)];
    if (upstream.ordinal > covered) {
      covered = -1;
      break;
    }
    covered = std::max(covered, upstream.ordinal + 1);
  }
  if (task.barrier != no_barrier && covered <= (*this)[barriers_[static_cast<std::size_t>(task.barrier)].last_member].ordinal) covered = -1;
  task.visible_siblings = covered;
}

void Rows::set_window(TaskIndex parent, std::int32_t limit) {
  extra(parent).window = std::make_unique<Window>();
  extra(parent).window->limit = limit;
}

std::vector<TaskIndex> Rows::succeeded(TaskIndex i) {
  std::vector<TaskIndex> free;
  const auto met = [&](TaskIndex waiting) {
    if (--(*this)[waiting].unmet == 0) free.push_back(waiting);
  };
  for (std::int32_t e = (*this)[i].first_downstream; e >= 0; e = edges_[static_cast<std::size_t>(e)].next_downstream) {
    met(edges_[static_cast<std::size_t>(e)].downstream);
  }
  if ((*this)[i].member_of != no_barrier) {
    Barrier& barrier = barriers_[static_cast<std::size_t>((*this)[i].member_of)];
    if (--barrier.remaining == 0) {
      for (const TaskIndex waiting : barrier.waiting) met(waiting);
    }
  }
  std::sort(free.begin(), free.end());
  return free;
}

std::vector<TaskIndex> Rows::listed_upstreams(TaskIndex i) const {
  const Task& task = (*this)[i];
  std::vector<TaskIndex> result;
  result.reserve(static_cast<std::size_t>(task.upstream_count));
  for (std::int32_t e = 0; e < task.upstream_count; ++e) result.push_back(upstream_at(task, e));
  return result;
}

std::optional<std::pair<TaskIndex, TaskIndex>> Rows::awaited_siblings(TaskIndex i) const {
  const BarrierIndex barrier = (*this)[i].barrier;
  if (barrier == no_barrier) return std::nullopt;
  const Barrier& members = barriers_[static_cast<std::size_t>(barrier)];
  return std::pair(members.first_member, members.last_member);
}

std::vector<TaskIndex> Rows::upstreams(TaskIndex i) const {
  const Task& task = (*this)[i];
  std::vector<TaskIndex> result = listed_upstreams(i);
  if (task.barrier != no_barrier) {
    const Barrier& barrier = barriers_[static_cast<std::size_t>(task.barrier)];
    for (TaskIndex member = barrier.first_member;; member = (*this)[member].next_sibling) {
      result.push_back(member);
      if (member == barrier.last_member) break;
    }
  }
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

std::vector<TaskIndex> Rows::transitive_upstreams(TaskIndex i) const {
  std::vector<TaskIndex> result;
  if ((*this)[i].visible_siblings >= 0) {
    const TaskIndex parent = (*this)[i].parent;
    if (parent == no_task) return result;
    for (TaskIndex sibling = (*this)[parent].first_child; sibling != i; sibling = (*this)[sibling].next_sibling) {
      if ((*this)[sibling].ordinal == 0) result.clear();  // a new generation begins
      if ((*this)[sibling].ordinal < (*this)[i].visible_siblings) result.push_back(sibling);
    }
    return result;
  }
  std::vector<TaskIndex> open = upstreams(i);
  std::vector<bool> seen(static_cast<std::size_t>((*this)[i].ordinal) + 1);
  while (!open.empty()) {
    const TaskIndex next = open.back();
    open.pop_back();
    const auto place = static_cast<std::size_t>((*this)[next].ordinal);
    if (seen[place]) continue;
    seen[place] = true;
    result.push_back(next);
    for (const TaskIndex upstream : upstreams(next)) open.push_back(upstream);
  }
  std::sort(result.begin(), result.end());
  return result;
}

std::string Rows::full_name(TaskIndex task) const {
  std::vector<const std::string*> names;
  for (TaskIndex i = task; i != no_task; i = (*this)[i].parent) names.push_back(&(*this)[i].name);
  std::string result;
  for (auto name = names.rbegin(); name != names.rend(); ++name) result += **name;
  return result;
}

TaskIndex Rows::newest_generation(TaskIndex parent) const {
  const Task& task = (*this)[parent];
  return task.extra && task.extra->newest_generation != no_task ? task.extra->newest_generation : task.first_child;
}

bool Rows::is_of_newest_generation(TaskIndex child) const {
  const TaskIndex parent = (*this)[child].parent;
  const TaskExtra* const extra = (*this)[parent].extra.get();
  return !(extra && extra->starts_generation) && child >= newest_generation(parent);
}

void Rows::mark_stores(TaskIndex task) {
  for (TaskIndex i = task; i != no_task && !(*this)[i].stores_below; i = (*this)[i].parent) (*this)[i].stores_below = true;
}

void Rows::mark_errors(TaskIndex task) {
  for (TaskIndex i = task; i != no_task && !(*this)[i].errors_below; i = (*this)[i].parent) (*this)[i].errors_below = true;
}

}  // namespace digdag::engine
