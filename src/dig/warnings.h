#pragma once

#include <optional>
#include <vector>

#include "dig/loader.h"
#include "dig/workflow.h"

namespace digdag::dig {

/// What works but probably not as meant. `check` prints these, `check --strict` fails for them. The ids:
///
///   found while reading YAML
///   W-number-string    `0.5` is a text (L-01)
///   W-octal            `010` is 8
///   W-sexagesimal      `1:30.5` is 90.5
///   W-duplicate-key    two keys of different text are the same key: `1` and `01` (L-05)
///   W-include-parent   `!include : ../x` (L-07)
///
///   found in a workflow
///   W-nested-task      a map under an operator task looks like a task of its own, but is an unused option (L-12)
///   W-disabled-keys    a task with `_disable: true` has keys that are not even checked (L-12)
///   W-unused-key       timezone, schedule, sla, _secrets of an inner group, schedule, sla, another timezone of a called file (L-12)
///   W-subtasks         the tasks in `_do`, `_else_do` or `_check` do not compile (L-14)
///   W-sla              `sla` has no valid form, or its tasks do not compile (E-19, L-14); told by push, too
///   W-retry            `_retry` has no valid form (L-14), or the operator does not retry (E-03)
///   W-time-limit       `_timeout`, `_kill_grace` or `_error_on_cancel` of an operator task has no valid form (E-33)
///   W-group-check      `_check` of a group or a file does not run by default (E-10)
///   W-reserved         `_pool`, `_priority`, `_cache`, `_finally` on an operator task
///   W-missing-workflow `call>` or `require>` names a workflow that is not there (C-13)
///   W-raw-template     a `${name}` inside of a map gives the template of an exported parameter as it is written (8.1)
///
/// Operators and their options are known further up; what concerns them is added there.
void find_doubts(const Workflow& workflow, const TaskTree& tasks, std::vector<Warning>& warnings);

/// The tasks that would be generated from `_do`, `_else_do`, `_check` or `_error` of a task; nothing for other keys, and where
/// they do not compile (W-subtasks).
std::optional<TaskTree> subtasks_of(const TaskDefinition& task, const Object::Member& member);

/// What is doubtful about the files that `call>` and `require>` name: needs those, too. `file` must be compiled.
std::vector<Warning> find_doubtful_targets(const Project& project, const Project::File& file);

}  // namespace digdag::dig
