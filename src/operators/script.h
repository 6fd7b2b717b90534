#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operators/operator.h"

// What the operators that run a program share: sh> and py> (spec/operators.md 4).

namespace digdag::operators {

/// The environment of a program, built up from that of this process.
class Environment {
 public:
  explicit Environment(const TaskContext& task);
  void set(std::string_view name, std::string value) { variables_.insert_or_assign(std::string(name), std::move(value)); }
  void unset(std::string_view name);
  /// The variables of the task's own `_env`, with their secrets (spec/operators.md 1.7).
  void add_env_of(const TaskContext& task);
  std::vector<std::pair<std::string, std::string>> take() &&;

 private:
  std::map<std::string, std::string, std::less<>> variables_;
};

/// The failure of a program that could not run or was ended by a signal; `what` is `Command`, `Python command`. Does nothing
/// where it ended by itself, whatever its exit code.
void check_ended_by_itself(const command::CommandEnd& end, std::string_view what);

/// The failure of a program that ended with an exit code other than 0; a hint says what shells mean by 126 and 127.
Error exit_error(std::string message, const command::CommandEnd& end);

}  // namespace digdag::operators
