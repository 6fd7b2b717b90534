#pragma once

#include <sys/types.h>

#include <cstdint>
#include <unordered_set>
#include <vector>

namespace digdag::command {

/// When the process started, in clock ticks since boot (/proc/PID/stat): with the number it tells a process from any other
/// one. 0 where there is no such process.
std::uint64_t start_time_of(pid_t pid);

/// The process groups that have one of these pipes (inodes) as their standard output.
std::vector<pid_t> groups_writing_to(const std::unordered_set<ino_t>& pipes);

}  // namespace digdag::command
