#include "cli/times.h"

#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace digdag::cli {
namespace {

std::string time_apart(std::int64_t seconds) {
  const std::int64_t hours = seconds / 3600, minutes = seconds / 60 % 60;
  std::string text;
  if (hours > 0) text += std::to_string(hours) + "h ";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m ";
  return text + std::to_string(seconds % 60) + "s";
}

std::string shown(Instant time, const TimeZone& zone, TimeStyle style) {
  if (style.iso && style.utc) return format_instant(time);
  const TimeZone& wanted = style.utc ? TimeZone() : zone;
  return style.iso ? format_session_time(time, wanted) : format_log_time(time, wanted, false);
}

/// The zone of `2026-03-04T00:00:00-05:00`.
TimeZone offset_of(std::string_view time) {
  if (time.size() < 6 || time.ends_with('Z')) return {};
  return TimeZone::of(time.substr(time.size() - 6)).value_or(TimeZone());
}

/// `yyyy-MM-dd HH:mm:ss +0900`
std::optional<Instant> parse_time_with_offset(const std::string& text) {
  const std::size_t blank = text.rfind(' ');
  if (blank == std::string::npos || text.size() - blank != 6) return std::nullopt;
  const auto local = parse_local_time(text.substr(0, blank));
  const auto zone = TimeZone::of(text.substr(blank + 1, 3) + ":" + text.substr(blank + 4));
  if (!local || !zone) return std::nullopt;
  return zone->instant(*local);
}

}  // namespace

std::string from_now(Instant time, Instant now) {
  const std::int64_t seconds = time.seconds() - now.seconds();
  return seconds > 0 ? "(in " + time_apart(seconds) + ")" : "(" + time_apart(-seconds) + " ago)";
}

std::vector<Option> time_options() {
  return {{{"--utc"}, Option::Kind::flag, "", "show times in UTC"},
          {{"--iso"}, Option::Kind::flag, "", "show times as ISO 8601 (2026-01-02T03:04:05+09:00)"}};
}

TimeStyle time_style(const Arguments& arguments) { return {.utc = arguments.has("--utc"), .iso = arguments.has("--iso")}; }

std::string shown_instant(const Value& instant, TimeStyle style) {
  if (!instant.is_string()) return "";
  const auto time = parse_instant(instant.as_string());
  return time ? shown(*time, TimeZone::system(), style) : visible(instant.as_string());
}

std::string shown_session_time(const Value& given, TimeStyle style) {
  if (!given.is_string()) return "";
  const auto time = parse_instant(given.as_string());
  return time ? shown(*time, offset_of(given.as_string()), style) : visible(given.as_string());
}

Instant given_time(std::string_view option, const std::string& text, bool allow_now) {
  if (allow_now && text == "now") return now();
  if (const auto time = parse_time_with_offset(text)) return *time;
  std::int64_t seconds = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failure == std::errc() && end == text.data() + text.size()) return Instant::of_seconds(seconds);
  throw task_error(std::string(option) + " option must be \"yyyy-MM-dd HH:mm:ss Z\" format or UNIX timestamp: " + text)
      .hint("current local time is \"" + format_log_time(now(), TimeZone::system(), false) + "\"");
}

}  // namespace digdag::cli
