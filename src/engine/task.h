#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/position.h"
#include "base/time.h"
#include "base/value.h"

namespace digdag::engine {

/// Codes and names of the original (spec/execution.md 4).
enum class TaskState : std::uint8_t {
  blocked = 0,
  ready = 1,
  retry_waiting = 2,
  group_retry_waiting = 3,
  running = 4,
  planned = 5,
  group_error = 6,
  success = 7,
  error = 8,
  canceled = 9,
};
std::string_view to_string(TaskState state);
inline bool is_done(TaskState s) { return s >= TaskState::group_error; }
inline bool is_error(TaskState s) { return s == TaskState::error || s == TaskState::group_error; }

enum TaskFlag : std::uint8_t { cancel_requested = 1, delayed_error = 2, delayed_group_error = 4, initial_task = 8 };

/// A dotted key of stored params to be removed (spec/language.md 4.6).
using ConfigKey = std::string;

/// What an operator run gives (spec/operators.md 1.3). Null objects count as empty.
struct TaskResult {
  Value subtask_config;
  Value export_params;
  Value store_params;
  std::vector<ConfigKey> reset_store_params;
  /// JSON pointers into `subtask_config` of values that are data, not templates (loop variables; spec/decisions.md L-21).
  std::vector<std::string> literal_paths;

  bool empty() const;
};

/// Index of a task in its attempt; stable while the attempt lives. Tasks are numbered in order of insertion, so within one
/// generation a smaller index stands earlier in the file. Ids of the database are the store's business.
using TaskIndex = std::int32_t;
constexpr TaskIndex no_task = -1;
/// Counts the runs of a task; a finish with another number than the current one is refused (design rule 3).
using Lease = std::uint32_t;

}  // namespace digdag::engine
