#include "cli/session_time.h"

#include "base/error.h"
#include "cli/arguments.h"

namespace digdag::cli {
namespace {

/// Whether a session directory holds a state file of a task of this workflow: `+wf+….yml` or `+wf^….yml`.
bool has_state_of(const std::filesystem::path& directory, std::string_view workflow) {
  const std::string root = "+" + std::string(workflow);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.size() > root.size() && name.starts_with(root) && name.ends_with(".yml") &&
        (name[root.size()] == '+' || name[root.size()] == '^')) {
      return true;
    }
  }
  return false;
}

std::optional<Instant> newest_saved_session(const std::filesystem::path& state_root, std::string_view workflow) {
  std::optional<Instant> newest;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(state_root, ignored)) {
    const auto time = parse_state_directory(entry.path().filename().string());
    if (time && (!newest || *time > *newest) && has_state_of(entry.path(), workflow)) newest = time;
  }
  return newest;
}

Instant truncated(Instant now, const TimeZone& zone, bool to_day) {
  LocalTime local = zone.local(now);
  local.minute = local.second = 0;
  if (to_day) local.hour = 0;
  return zone.instant(local);
}

}  // namespace

SessionTime session_time(std::string_view expression, std::string_view workflow, const TimeZone& zone, Instant now,
                         const schedule::Scheduler* scheduler, const std::filesystem::path& state_root) {
  if (expression == "hourly") return {truncated(now, zone, false), ""};
  if (expression == "daily") return {truncated(now, zone, true), ""};
  if (expression == "schedule") {
    if (!scheduler) throw UsageError{"--session schedule is set but schedule is not set to this workflow."};
    return {scheduler->last(now).session, ""};
  }
  if (expression == "last") {
    if (const auto saved = newest_saved_session(state_root, workflow)) {
      return {*saved, "Reusing the last session time " + format_session_time(*saved, zone) + "."};
    }
    if (scheduler) {
      const Instant time = scheduler->last(now).session;
      return {time, "Using a new session time " + format_session_time(time, zone) + " based on schedule."};
    }
    const Instant today = truncated(now, zone, true);
    return {today, "Using a new session time " + format_session_time(today, zone) + "."};
  }
  if (const auto local = parse_local_time(expression)) return {zone.instant(*local), ""};
  throw config_error("--session must be hourly, daily, last, \"yyyy-MM-dd\", or \"yyyy-MM-dd HH:mm:SS\" format: " + std::string(expression))
      .hint("or schedule: the last time of the workflow's schedule. Times are local ones of the workflow's time zone");
}

}  // namespace digdag::cli
