#include "command/process.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "command/wire.h"

namespace digdag::command {

std::uint64_t start_time_of(pid_t pid) {
  std::array<char, 1024> buffer;
  const Fd file(open(("/proc/" + std::to_string(pid) + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t count = file ? read(file.get(), buffer.data(), buffer.size()) : -1;
  if (count <= 0) return 0;
  // The name in parentheses may hold anything; the start time is the 20th field after it.
  std::string_view text(buffer.data(), static_cast<std::size_t>(count));
  text.remove_prefix(text.rfind(')') + 1);
  for (int field = 0; field < 20; ++field) text.remove_prefix(std::min(text.find(' ') + 1, text.size()));
  return std::strtoull(std::string(text.substr(0, text.find(' '))).c_str(), nullptr, 10);
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
