#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"
#include "base/value.h"
#include "cli/arguments.h"

namespace digdag::cli {

/// `(in 21h 33m 45s)` or `(12s ago)`, `(0s ago)` for now: hours are not folded into days, leading zero parts are left out.
std::string from_now(Instant time, Instant now);

/// How times are shown: in the zone of the process, or as --utc and --iso want it (spec/cli.md 7.5, decisions.md C-33).
struct TimeStyle {
  bool utc = false;
  bool iso = false;
};
std::vector<Option> time_options();
TimeStyle time_style(const Arguments& arguments);

// Times as a server sends them; empty where there is none. What is no time is shown as it is.
std::string shown_instant(const Value& instant, TimeStyle style);
/// In the offset that the server has sent, which is the workflow's.
std::string shown_session_time(const Value& time, TimeStyle style);

/// The time that an option gives: `now` (where `allow_now`), `yyyy-MM-dd HH:mm:ss Z` or Unix seconds. Throws Error
/// `--skip-to option must be "yyyy-MM-dd HH:mm:ss Z" format or UNIX timestamp: …` with the current time as a hint.
Instant given_time(std::string_view option, const std::string& text, bool allow_now = false);

}  // namespace digdag::cli
