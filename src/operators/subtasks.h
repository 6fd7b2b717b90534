#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/value.h"
#include "operators/operator.h"

namespace digdag::operators {

/// Builds the subtasks that loop>, for_each> and for_range> generate: copies of `_do`, each with some variables in its
/// `_export`. The copies share what they have in common.
class Subtasks {
 public:
  using Variables = std::vector<std::pair<std::string, Value>>;

  /// Reads `_do` and `_parallel` of the task: `Parameter '_do' is required but not set`, `Invalid _parallel format: …`.
  explicit Subtasks(const TaskContext& task);

  void reserve(std::size_t count) { group_.reserve(count + 1); }
  void add(std::string_view name, const Variables& variables);
  /// The variables, by number, of the last subtask are data: they stay as they are (spec/decisions.md L-21).
  void mark_literal(std::string_view name, std::string_view variable);

  engine::TaskResult result() &&;

 private:
  Object do_;  ///< without `_export`
  Value export_;
  Value parallel_;  ///< null: one after the other
  Object group_;
  std::vector<std::string> literal_paths_;
};

/// Error(config) `Too many <what>. Limit: <n>` where a task may not generate as many.
void check_count(const TaskContext& task, std::string_view what, std::uint64_t count);

}  // namespace digdag::operators
