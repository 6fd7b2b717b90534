#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// Compiles a workflow into its task tree: order, dependencies, validation (spec/language.md 5). The root is `+<name>`.
/// Throws Error(config) for the first fault.
TaskTree compile(const Workflow& workflow);
/// Compiles a generated subtree: the root is called `parent_full_name` + `name` (`^sub`, `^error`, `^check`, …) and has no parent.
TaskTree compile(std::string_view parent_full_name, std::string_view name, const Value& config);
/// The tree as far as it goes, and every error of the workflow.
TaskTree compile(const Workflow& workflow, std::vector<Error>& errors);

/// Whether a config is an operator task (has `_type` or a key that ends with `>`).
bool is_operator(const Value& config);
/// The text of `_type`, else the key that ends with `>` without that sign; "" for a group.
std::string operator_of(const Value& local);

/// The N of a group's `_parallel: {limit: N, mode: window}`; 0 where it has no such window.
std::int32_t window_of(const Value& local);

/// The one task whose full name ends with `pattern` (spec/execution.md 16.3, cli.md 6.2). Error kinds: `no match`,
/// `multiple task match`, `syntax`.
std::size_t match_task(std::string_view pattern, const std::vector<std::string>& full_names);
/// The root, the task and its descendants; the task's upstreams are dropped (`run WORKFLOW +task`).
TaskTree extract_subtree(const TaskTree& tree, std::size_t task);

}  // namespace digdag::dig
