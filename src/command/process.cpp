#include "command/process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

#include "base/fd.h"

namespace digdag::command {

namespace {

/// What follows the name in /proc/PID/stat (the name may hold anything): state, parent, group, session, …; empty where there
/// is no such process.
std::string stat_fields(const std::string& pid) {
  std::array<char, 1024> buffer;
  const Fd file(open(("/proc/" + pid + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t count = file ? read(file.get(), buffer.data(), buffer.size()) : -1;
  const std::string_view text(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  const std::size_t name_end = text.rfind(')');
  return name_end == std::string_view::npos ? "" : std::string(text.substr(name_end + 1));
}

}  // namespace

std::uint64_t start_time_of(pid_t pid) {
  constexpr int field_after_name = 20;
  std::istringstream fields(stat_fields(std::to_string(pid)));
  std::string field;
  for (int i = 0; i < field_after_name && fields >> field; ++i) {
  }
  return fields ? std::strtoull(field.c_str(), nullptr, 10) : 0;
}

Processes Processes::look() {
  Processes seen;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    const auto pid = static_cast<pid_t>(std::strtol(name.c_str(), nullptr, 10));
    if (pid <= 0) continue;
    std::istringstream fields(stat_fields(name));
    Process process{pid, 0, 0, 0};
    char state = 'Z';
    if (fields >> state >> process.parent >> process.group >> process.session && state != 'Z' && state != 'X')
      seen.processes_.push_back(process);
  }
  return seen;
}

std::vector<pid_t> Processes::groups_below(pid_t leader) const {
  std::unordered_set<pid_t> members{leader}, groups;
  for (bool grew = true; grew;) {
    grew = false;
    for (const Process& process : processes_) {
      if (process.session != leader && !members.contains(process.parent)) continue;
      if (!members.insert(process.pid).second) continue;
      grew = true;
      if (process.group > 0 && process.group != leader) groups.insert(process.group);
    }
  }
  return {groups.begin(), groups.end()};
}

std::vector<pid_t> groups_writing_to(const std::unordered_set<ino_t>& pipes) {
  std::vector<pid_t> groups;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const auto pid = static_cast<pid_t>(std::strtol(entry.path().filename().c_str(), nullptr, 10));
    struct stat output {};
    if (pid <= 0 || stat((entry.path() / "fd" / "1").c_str(), &output) != 0) continue;
    if (!S_ISFIFO(output.st_mode) || !pipes.contains(output.st_ino)) continue;
    if (const pid_t group = getpgid(pid); group > 0) groups.push_back(group);
  }
  return groups;
}

}  // namespace digdag::command
