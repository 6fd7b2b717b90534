#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_set>
#include <vector>

namespace digdag::command {

/// When the process started, in clock ticks since boot (/proc/PID/stat): with the number it tells a process from any other
/// one. 0 where there is no such process.
std::uint64_t start_time_of(pid_t pid);

/// A look at the processes of the machine: who descends from whom. Costs a read for each process, so it is taken only when
/// something has to be ended.
class Processes {
 public:
  static Processes look();

  /// The process groups, besides that of `leader`, of all that belongs to it: its session, and the descendants of it and of
  /// the members of its session. A command may have left its group (`timeout`, `set -m`) or its session (`setsid`).
  std::vector<pid_t> groups_below(pid_t leader) const;

 private:
  struct Process {
    pid_t pid, parent, group, session;
  };
  std::vector<Process> processes_;  ///< living ones, no zombies
};

/// The process groups that have one of these pipes (inodes) as their standard output.
std::vector<pid_t> groups_writing_to(const std::unordered_set<ino_t>& pipes);

}  // namespace digdag::command
