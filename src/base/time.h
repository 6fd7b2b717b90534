#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace digdag {

/// A point in time, milliseconds since the Unix epoch. The engine gets it from outside, never from a clock. Sums stay within
/// 8.64e15 ms of the epoch, as the dates of JavaScript do.
struct Instant {
  static constexpr std::int64_t most_millis = 8'640'000'000'000'000;
  std::int64_t millis = 0;

  static Instant of_seconds(std::int64_t seconds) { return Instant{}.plus_seconds(seconds); }
  /// Whole seconds since the epoch, rounded down.
  std::int64_t seconds() const { return millis >= 0 ? millis / 1000 : -((-millis + 999) / 1000); }
  Instant plus_seconds(std::int64_t n) const { return plus_millis(std::clamp(n, -2 * most_millis / 1000, 2 * most_millis / 1000) * 1000); }
  Instant plus_millis(std::int64_t n) const {
    return {std::clamp(millis + std::clamp(n, -2 * most_millis, 2 * most_millis), -most_millis, most_millis)};
  }
  friend auto operator<=>(const Instant&, const Instant&) = default;
};

/// The system clock.
Instant now();

/// Local date and time without a zone. `year` may be outside of 0..9999.
struct LocalTime {
  std::int64_t year = 1970;
  int month = 1, day = 1, hour = 0, minute = 0, second = 0;
  friend auto operator<=>(const LocalTime&, const LocalTime&) = default;
};

/// A time zone by Java's rules for ids: `Asia/Tokyo`, `UTC`, `Z`, `+09:00`, `+9`, `UTC+9` (→ `UTC+09:00`), `GMT+09:00`, `EST5EDT`
/// (spec/language.md 3.3). Cheap to copy, immutable.
class TimeZone {
 public:
  /// UTC.
  TimeZone();
  /// Nothing where the id is unknown (also `JST`, `PST`, `utc`).
  static std::optional<TimeZone> of(std::string_view id);
  /// The zone of the process (`TZ`, /etc/localtime); its id as Java would name it (`Etc/UTC`).
  static TimeZone system();

  const std::string& id() const;
  /// Seconds east of UTC at that instant.
  int offset_at(Instant instant) const;
  LocalTime local(Instant instant) const;

  /// Which of the possible instants a local time means. A gap always moves forward by its size.
  enum class Overlap { earlier_offset, later_offset };
  /// `earlier_offset` is java.time's rule (first occurrence), `later_offset` the cron rule (second; spec/scheduling.md 3.14).
  Instant instant(const LocalTime& local, Overlap overlap = Overlap::earlier_offset) const;

  friend bool operator==(const TimeZone& a, const TimeZone& b) { return a.id() == b.id(); }

 private:
  struct Rules;
  std::shared_ptr<const Rules> rules_;
};

/// Adds days to a date (proleptic Gregorian).
LocalTime plus_days(LocalTime local, std::int64_t days);
/// 0 = Sunday … 6 = Saturday.
int weekday(const LocalTime& local);
int days_in_month(std::int64_t year, int month);

// Formats of the language (spec/language.md 7.5).
std::string format_session_time(Instant instant, const TimeZone& zone);           ///< 2026-01-02T03:04:05+00:00, never Z
std::string format_local_time(Instant instant, const TimeZone& zone);             ///< 2026-01-02 03:04:05
std::string format_date(Instant instant, const TimeZone& zone);                   ///< 2026-01-02
std::string format_date_compact(Instant instant, const TimeZone& zone);           ///< 20260102
std::string format_offset(Instant instant, const TimeZone& zone);                 ///< +0000, -0800
std::string format_log_time(Instant instant, const TimeZone& zone, bool millis);  ///< 2026-01-02 03:04:05[.678] +0000
std::string format_state_directory(Instant instant, const TimeZone& zone);        ///< 20260102T030405+0000
std::string format_instant(Instant instant);                                      ///< 2026-01-02T03:04:05Z (with .678 where not whole)

/// ISO date-time with an offset or zone: `2016-01-01T00:00:00Z`, `…+09:00`, `…+09:00[Asia/Tokyo]`; fraction and seconds optional.
std::optional<Instant> parse_instant(std::string_view text);
/// The exact form of format_session_time, as `last_session_time` and `next_session_time` must have it.
std::optional<Instant> parse_session_time(std::string_view text);
/// `yyyy-MM-dd HH:mm:ss` or `yyyy-MM-dd`; a day past the month's end is clipped to its last (`2026-02-30` → 28).
std::optional<LocalTime> parse_local_time(std::string_view text);
/// The form of format_state_directory.
std::optional<Instant> parse_state_directory(std::string_view text);

}  // namespace digdag
