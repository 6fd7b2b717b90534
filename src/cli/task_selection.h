#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "dig/workflow.h"

namespace digdag::cli {

/// The index of the task that a pattern names. Throws what dig::match_task throws.
std::size_t find_task(const dig::TaskTree& tree, std::string_view pattern);

/// Which tasks of a local run may use saved state and which may run at all: `--rerun`, `--start`, `--goal`, `--end`
/// (spec/execution.md 23.5, decisions.md C-20 to C-22). Tasks generated at run time follow the task that generates them.
class TaskSelection {
 public:
  /// Everything runs, and everything may use saved state.
  TaskSelection() = default;
  /// At most one of rerun, start and goal is given; `end` goes with `start`. Throws what find_task throws.
  TaskSelection(const dig::TaskTree& tree, bool rerun, const std::optional<std::string>& start, const std::optional<std::string>& goal,
                const std::optional<std::string>& end);

  bool may_run(std::string_view full_name) const { return !run_ || holds(*run_, full_name); }
  bool may_use_state(std::string_view full_name) const { return !resume_ || holds(*resume_, full_name); }

 private:
  using Names = std::unordered_set<std::string>;
  static bool holds(const Names& names, std::string_view full_name);
  std::optional<Names> run_;     ///< absent: all
  std::optional<Names> resume_;  ///< absent: all
};

}  // namespace digdag::cli
