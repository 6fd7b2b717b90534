#include "server/metrics.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <system_error>

#include "base/text.h"

namespace digdag::server {
namespace {

double resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::int64_t size = 0, resident = 0;
  file >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double entries_of(const char* directory) {
  std::error_code failure;
  std::int64_t count = 0;
  for (std::filesystem::directory_iterator at(directory, failure), end; !failure && at != end; at.increment(failure)) ++count;
  return static_cast<double>(count);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

std::string Metrics::labels(const std::vector<std::pair<std::string_view, std::string_view>>& pairs) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : pairs) {
    const std::string escaped = replace_all(replace_all(replace_all(std::string(value), "\\", "\\\\"), "\"", "\\\""), "\n", "\\n");
    parts.push_back(fmt::format("{}=\"{}\"", name, escaped));
  }
  return join(parts, ",");
}

void Metrics::declare_counter(std::string_view name, std::string_view help) {
  const std::lock_guard lock(mutex_);
  families_[std::string(name)].help = help;
}

void Metrics::add(std::string_view counter, std::string_view labels, double amount) {
  const std::lock_guard lock(mutex_);
  families_.at(std::string(counter)).values[std::string(labels)] += amount;
}

void Metrics::measure(std::string_view gauge, std::string_view help, std::function<double()> value) {
  const std::lock_guard lock(mutex_);
  families_[std::string(gauge)] = {.help = std::string(help), .values = {}, .measured = std::move(value)};
}

std::string Metrics::text() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const auto& [name, family] : families_) {
    text += fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, family.help, family.measured ? "gauge" : "counter");
    if (family.measured) text += fmt::format("{} {}\n", name, family.measured());
    for (const auto& [labels, value] : family.values) {
      text += labels.empty() ? fmt::format("{} {}\n", name, value) : fmt::format("{}{{{}}} {}\n", name, labels, value);
    }
  }
  return text;
}

void measure_process(Metrics& metrics) {
  metrics.measure("process_resident_memory_bytes", "Resident memory.", resident_bytes);
  metrics.measure("process_open_fds", "Open file descriptors.", [] { return entries_of("/proc/self/fd"); });
  metrics.measure("process_threads", "Threads.", [] { return entries_of("/proc/self/task"); });
  metrics.measure("process_cpu_seconds", "Processor time, user and system.", cpu_seconds);
}

}  // namespace digdag::server
