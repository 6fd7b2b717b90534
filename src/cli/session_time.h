#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "schedule/scheduler.h"

namespace digdag::cli {

/// The session time of a local run and the WARN line that tells where it comes from (spec/cli.md 6.2 "Session time").
struct SessionTime {
  Instant time;
  std::string notice;  ///< empty: nothing to tell
};

/// `expression`: hourly, daily, schedule, last, `yyyy-MM-dd`, `yyyy-MM-dd HH:mm:ss`. `scheduler`: of the workflow, or nullptr.
/// `state_root`: where `last` looks for the newest session of this workflow. Throws Error(config), UsageError.
SessionTime session_time(std::string_view expression, std::string_view workflow, const TimeZone& zone, Instant now,
                         const schedule::Scheduler* scheduler, const std::filesystem::path& state_root);

}  // namespace digdag::cli
