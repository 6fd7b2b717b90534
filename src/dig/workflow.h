#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/position.h"
#include "base/time.h"
#include "base/value.h"

namespace digdag::dig {

/// A run of neighbouring siblings, named by the indexes of its first and last task: it consists of those children of one
/// parent whose index lies in [first, last] (their descendants lie between them and do not belong to it).
struct Siblings {
  std::int32_t first = -1;
  std::int32_t last = -1;

  bool empty() const { return first < 0; }
  friend bool operator==(const Siblings&, const Siblings&) = default;
};

/// A task of a compiled workflow (spec/language.md 5.3).
///
/// It may start when all of `upstreams` and all of `barrier` have succeeded. Every upstream is a sibling with a smaller index.
struct TaskDefinition {
  std::string name;                     ///< own name: `+a`, `^sub`
  std::string full_name;                ///< `+wf+g+a`
  std::int32_t parent = -1;             ///< index of the parent; -1 for the root
  std::vector<std::int32_t> upstreams;  ///< indexes, in the original's order, duplicates kept (`_after: [+x, +x]`)
  /// The previous chunk of `_parallel: {limit: N}`, all of which the tasks of the next chunk wait for. Kept as a range because
  /// N tasks that wait for N others are N x N edges. In the original's order these come after `upstreams`.
  Siblings barrier;
  /// Of a group with `_parallel: {limit: N, mode: window}`: at most N of its children are under way at the same time, and those
  /// that may start do so in file order (spec/decisions.md 1). 0 = no such limit. The children have no edges for it.
  std::int32_t window = 0;
  bool group = false;   ///< GROUPING_ONLY: has no operator
  Value local;          ///< own keys without `_export`, nothing evaluated
  Value export_params;  ///< `_export`, `{}` where it has none
  Position position;    ///< where its name was written
};

/// A tree of tasks in file order: depth-first, parents before children; index 0 is the root.
struct TaskTree {
  std::vector<TaskDefinition> tasks;
};

/// Every upstream of a task in the original's order: `upstreams`, then the members of `barrier`. For interfaces that list
/// edges (`check --json`, REST, the database); costs the size of the barrier with all descendants.
std::vector<std::int32_t> all_upstreams(const TaskTree& tree, std::int32_t task);

/// One `.dig` file: its name, its time zone and its content split by the rules of spec/language.md 3.3.
struct Workflow {
  std::string name;
  TimeZone timezone;          ///< UTC where the file names none
  bool has_timezone = false;  ///< whether the file names one
  Value config;               ///< `_export`, schedule, sla, _error, _check, _retry, _parallel, …, then the tasks; nothing evaluated
  std::string file;           ///< as the user would write it, relative to the project
  Position position;
};

}  // namespace digdag::dig
