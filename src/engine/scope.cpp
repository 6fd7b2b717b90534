#include "dig/compiler.h"
#include "engine/attempt_impl.h"

namespace digdag::engine {

// The order of spec/language.md 7.2: for each ancestor from the root down, and the task itself: the stores of what stands
// before it (its upstreams and theirs, with all their descendants); then the ancestor's exports and stores.

Params Attempt::Impl::params_of(TaskIndex task) {
  const Task& row = rows[task];
  Params params = params_before(task).with(row.export_config, row.extra ? row.extra->export_origins : dig::Origins());
  for (const char* key : {"_check", "_error"}) {
    if (!params.find(key).is_null()) params = params.without({key});
  }
  return params;
}

Params Attempt::Impl::params_before(TaskIndex task) {
  const TaskIndex parent = rows[task].parent;
  if (parent == no_task) return base;
  const std::int32_t visible = rows[task].visible_siblings;
  if (visible == 0 || !rows[parent].stores_below) return params_inside(parent);
  const bool newest = rows.is_of_newest_generation(task);
  if (visible > 0 && newest && rows[parent].state == TaskState::planned) return with_stores_of_first(parent, visible);
  Params params = params_inside(parent);
  for (const TaskIndex sibling : rows.transitive_upstreams(task)) params = with_stores_of_tree(params, sibling);
  return params;
}

Params Attempt::Impl::params_inside(TaskIndex task) {
  // Only while it is planned, what it exports and what stands before it is final.
  if (rows[task].state != TaskState::planned) return compute_params_inside(task);
  const auto known = scopes.find(task);
  if (known != scopes.end()) return known->second.inner;
  Scope scope;
  scope.inner = compute_params_inside(task);
  return scopes.emplace(task, std::move(scope)).first->second.inner;
}

Params Attempt::Impl::compute_params_inside(TaskIndex task) { return with_store(with_exports(params_before(task), task), task); }

Params Attempt::Impl::with_exports(const Params& params, TaskIndex task) const {
  const Task& row = rows[task];
  const dig::Origins origins = row.extra ? row.extra->export_origins : dig::Origins();
  if (!row.result || is_empty_object(row.result->export_params)) return params.with(row.export_config, origins);
  const dig::Origin origin = origin_of_operator(dig::operator_of(row.local));
  const Params exported = Params().with(row.export_config, origins).with(row.result->export_params, origin);
  return params.with(exported.to_value(), exported.origins());
}

Params Attempt::Impl::with_store(const Params& params, TaskIndex task) const {
  const Task& row = rows[task];
  if (!row.result) return params;
  if (row.result->reset_store_params.empty() && is_empty_object(row.result->store_params)) return params;
  const dig::Origin origin = origin_of_operator(dig::operator_of(row.local));
  return params.without(row.result->reset_store_params).with(row.result->store_params, origin);
}

Params Attempt::Impl::with_stores_of_tree(Params params, TaskIndex root) const {
  rows.visit_tree(root, [&](TaskIndex i) {
    if (!rows[i].stores_below) return false;
    params = with_store(params, i);
    return true;
  });
  return params;
}

Params Attempt::Impl::with_stores_of_first(TaskIndex parent, std::int32_t count) {
  const Params inner = params_inside(parent);
  Scope& scope = scopes.at(parent);
  const TaskIndex generation = rows.newest_generation(parent);
  if (scope.generation != generation) {
    scope.generation = scope.next = generation;
    scope.accumulated = inner;
    scope.merged = 0;
  }
  // What succeeded does not change any more, so it is merged once.
  while (scope.merged < count && rows[scope.next].state == TaskState::success) {
    scope.accumulated = with_stores_of_tree(scope.accumulated, scope.next);
    scope.next = rows[scope.next].next_sibling;
    ++scope.merged;
  }
  if (scope.merged == count) return scope.accumulated;
  const bool fewer = scope.merged > count;
  Params params = fewer ? inner : scope.accumulated;
  TaskIndex sibling = fewer ? generation : scope.next;
  for (std::int32_t i = fewer ? 0 : scope.merged; i < count; ++i, sibling = rows[sibling].next_sibling) {
    params = with_stores_of_tree(params, sibling);
  }
  return params;
}

}  // namespace digdag::engine
