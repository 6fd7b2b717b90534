#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace digdag::schedule {

/// Which of the two occurrences of a local time make sessions when clocks are set back (spec/decisions.md S-11).
enum class OverlapSessions : std::uint8_t {
  second,  ///< the original's rule: the second one; the first one only while a pattern matches every minute
  first,
  both,
};

/// A cron pattern in the original's dialect (spec/scheduling.md 3): `minute hour day month weekday`, alternatives separated by
/// `|`. Both day fields must match; `5/10` is the single value 5. Immutable, thread-safe.
class CronPattern {
 public:
  /// Throws Error(config) with the original's text for what is no pattern, and for one that never matches
  /// (`0 0 31 2 *`; decisions.md S-04).
  static CronPattern parse(std::string_view text);

  /// The first matching minute after t, by the local fields of `zone` (spec/scheduling.md 3.14): a local time that a gap leaves
  /// out moves forward by the gap's size. Nothing where none follows within 50 years.
  std::optional<Instant> next(Instant t, const TimeZone& zone, OverlapSessions overlap = OverlapSessions::second) const;
  /// The last matching minute before t: the one from which `next` goes to t or beyond (decisions.md S-06).
  std::optional<Instant> previous(Instant t, const TimeZone& zone, OverlapSessions overlap = OverlapSessions::second) const;

  /// The values that match, a bit each, for one alternative.
  struct Fields {
    std::uint64_t minutes = 0, hours = 0;  ///< from bit 0
    std::uint64_t days = 0, months = 0;    ///< from bit 1
    std::uint64_t weekdays = 0;            ///< bit 0 = Sunday
    bool last_day = false;                 ///< the month's last day matches too

    bool matches_day(const LocalTime& local) const;
    bool matches(const LocalTime& local) const;
  };

 private:
  explicit CronPattern(std::vector<Fields> alternatives) : alternatives_(std::move(alternatives)) {}
  bool matches(const LocalTime& local) const;
  /// The latest one before t that an alternative gives by itself, without regard to what came before.
  std::optional<Instant> latest_candidate(Instant t, const TimeZone& zone, OverlapSessions overlap) const;

  std::vector<Fields> alternatives_;
};

}  // namespace digdag::schedule
