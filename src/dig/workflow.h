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

/// A task of a compiled workflow (spec/language.md 5.3).
struct TaskDefinition {
  std::string name;       ///< own name: `+a`, `^sub`
  std::string full_name;  ///< `+wf+g+a`
  std::int32_t parent = -1;                ///< index of the parent; -1 for the root
  std::vector<std::int32_t> upstreams;     ///< sibling indexes in the original's order, duplicates kept; empty where `barrier` says it
  bool group = false;                      ///< GROUPING_ONLY: has no operator
  Value local;                             ///< own keys without `_export`, nothing evaluated
  Value export_params;                     ///< `_export`, `{}` where it has none
  Position position;                       ///< where its name was written
};

/// A tree of tasks in file order: depth-first, parents before children; index 0 is the root.
struct TaskTree {
  std::vector<TaskDefinition> tasks;
};

/// One `.dig` file: its name, its time zone and its content split by the rules of spec/language.md 3.3.
struct Workflow {
  std::string name;
  TimeZone timezone;
  Value config;         ///< `_export`, schedule, sla, _error, _check, _retry, _parallel, …, then the tasks; nothing evaluated
  std::string file;     ///< as the user would write it, relative to the project
  Position position;
};

}  // namespace digdag::dig
