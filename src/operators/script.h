#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "operators/operator.h"

// What the operators that run a program share: sh> and py> (spec/operators.md 4).

namespace digdag::operators {

/// A directory for the files that an operator and its program hand to each other:
/// `<project>/.digdag/tmp/digdag-<type>-<task id>-XXXXXX`, readable by us alone. Removed with all that is in it when the run
/// is over (spec/decisions.md O-22); kept where the log level is debug.
class IoDirectory {
 public:
  /// Error(kind "io") with the path and the cause where it cannot be made.
  IoDirectory(const TaskContext& task, std::string_view type);
  ~IoDirectory();
  IoDirectory(const IoDirectory&) = delete;
  IoDirectory& operator=(const IoDirectory&) = delete;

  /// Removes an empty `tmp`: when nothing runs any more, for making it anew costs more than the rest of a small task.
  static void remove_parent(const std::filesystem::path& project_directory);

  std::filesystem::path file(std::string_view name) const { return path_ / name; }
  /// The same as seen from the directory that the program runs in.
  std::string relative(std::string_view name) const;
  /// A file that is not there yet.
  void write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
  std::filesystem::path workspace_;
  bool keep_ = false;
};

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

}  // namespace digdag::operators
