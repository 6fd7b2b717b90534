#include "schedule/cron.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "base/error.h"
#include "schedule/cron_field.h"

namespace digdag::schedule {

namespace {

using Fields = CronPattern::Fields;

constexpr int years_searched = 50;
constexpr std::int64_t minute_millis = 60'000;
/// Longer than any change of clocks, a skipped day included.
constexpr std::int64_t around_change_seconds = 26 * std::int64_t{3600};

Instant start_of_minute(Instant t) {
  const std::int64_t rest = ((t.millis % minute_millis) + minute_millis) % minute_millis;
  return {t.millis - rest};
}

bool has(std::uint64_t bits, int bit) { return (bits >> static_cast<unsigned>(bit) & 1U) != 0; }

/// The lowest set bit >= `from`, or -1.
int bit_at_or_above(std::uint64_t bits, int from) {
  if (from > 63) return -1;
  bits &= ~std::uint64_t{0} << static_cast<unsigned>(from);
  return bits == 0 ? -1 : std::countr_zero(bits);
}

/// The highest set bit <= `from`, or -1.
int bit_at_or_below(std::uint64_t bits, int from) {
  if (from < 0) return -1;
  if (from < 63) bits &= (std::uint64_t{1} << static_cast<unsigned>(from + 1)) - 1;
  return bits == 0 ? -1 : 63 - std::countl_zero(bits);
}

/// Moves the time of day forward to a match; false where the day has none left.
bool advance_time(const Fields& fields, LocalTime& local) {
  if (has(fields.hours, local.hour)) {
    if (const int minute = bit_at_or_above(fields.minutes, local.minute); minute >= 0) {
      local.minute = minute;
      return true;
    }
  }
  local.hour = bit_at_or_above(fields.hours, local.hour + 1);
  local.minute = bit_at_or_above(fields.minutes, 0);
  return local.hour >= 0;
}

bool go_back_in_day(const Fields& fields, LocalTime& local) {
  if (has(fields.hours, local.hour)) {
    if (const int minute = bit_at_or_below(fields.minutes, local.minute); minute >= 0) {
      local.minute = minute;
      return true;
    }
  }
  local.hour = bit_at_or_below(fields.hours, local.hour - 1);
  local.minute = bit_at_or_below(fields.minutes, 59);
  return local.hour >= 0;
}

void next_day(LocalTime& local) {
  if (++local.day <= days_in_month(local.year, local.month)) return;
  local.day = 1;
  if (++local.month <= 12) return;
  local.month = 1;
  ++local.year;
}

void previous_day(LocalTime& local) {
  if (--local.day >= 1) return;
  if (--local.month < 1) {
    local.month = 12;
    --local.year;
  }
  local.day = days_in_month(local.year, local.month);
}

/// The earliest local time >= `local` that matches.
std::optional<LocalTime> next_match(const Fields& fields, LocalTime local) {
  const std::int64_t last_year = local.year + years_searched;
  local.second = 0;
  bool found = advance_time(fields, local);
  while (!found || !fields.matches_day(local)) {
    if (has(fields.months, local.month)) {
      next_day(local);
    } else {
      local.day = days_in_month(local.year, local.month);
      next_day(local);
    }
    if (local.year > last_year) return std::nullopt;
    local.hour = local.minute = 0;
    found = advance_time(fields, local);
  }
  return local;
}

/// The latest local time <= `local` that matches.
std::optional<LocalTime> previous_match(const Fields& fields, LocalTime local) {
  const std::int64_t first_year = local.year - years_searched;
  local.second = 0;
  bool found = go_back_in_day(fields, local);
  while (!found || !fields.matches_day(local)) {
    if (!has(fields.months, local.month)) local.day = 1;
    previous_day(local);
    if (local.year < first_year) return std::nullopt;
    local.hour = 23;
    local.minute = 59;
    found = go_back_in_day(fields, local);
  }
  return local;
}

bool same_date(const LocalTime& a, const LocalTime& b) { return a.year == b.year && a.month == b.month && a.day == b.day; }

LocalTime next_minute(LocalTime local) {
  if (++local.minute <= 59) return local;
  local.minute = 0;
  if (++local.hour <= 23) return local;
  local.hour = 0;
  next_day(local);
  return local;
}

LocalTime previous_minute(LocalTime local) {
  if (--local.minute >= 0) return local;
  local.minute = 59;
  if (--local.hour >= 0) return local;
  local.hour = 23;
  previous_day(local);
  return local;
}

constexpr TimeZone::Overlap earlier = TimeZone::Overlap::earlier_offset;
constexpr TimeZone::Overlap later = TimeZone::Overlap::later_offset;

/// The matches of one alternative from a local time on, as instants of the first and of the second occurrence. A match
/// that a gap carries to another date is none; the search goes on from there.
class Matches {
 public:
  Matches(const Fields& fields, const TimeZone& zone, const LocalTime& from) : fields_(fields), zone_(zone), from_(from) {}

  struct Match {
    Instant first, second;
  };
  std::optional<Match> next() {
    while (const auto local = next_match(fields_, from_)) {
      const Match match{zone_.instant(*local, earlier), zone_.instant(*local, later)};
      const LocalTime there = zone_.local(match.second);
      from_ = next_minute(*local);
      if (same_date(there, *local)) return match;
      from_ = there;
    }
    return std::nullopt;
  }

 private:
  const Fields& fields_;
  const TimeZone& zone_;
  LocalTime from_;
};

/// The first match of one alternative after t, which is a whole minute.
std::optional<Instant> next_of(const Fields& fields, Instant t, const TimeZone& zone, OverlapSessions overlap) {
  const Instant from = t.plus_millis(minute_millis);
  LocalTime local = zone.local(from);
  if (overlap == OverlapSessions::both) {
    // In the first occurrence of an overlap, what is earlier on the clock comes once more.
    const Instant first = zone.instant(local, earlier), second = zone.instant(local, later);
    if (first != second && from == first) local = TimeZone().local({TimeZone().instant(local).millis - (second.millis - first.millis)});
  }
  Matches matches(fields, zone, local);
  std::optional<Instant> best;
  while (const auto match = matches.next()) {
    if (overlap == OverlapSessions::second) return match->second;
    if (overlap == OverlapSessions::both && match->second > t && (!best || match->second < *best)) best = match->second;
    if (match->first > t) return best ? std::min(*best, match->first) : match->first;
  }
  return best;
}

/// The time around a change of clocks in which local times and instants do not go side by side.
struct Change {
  Instant begin, end;
};

/// The change of clocks within a day of t, if there is one.
std::optional<Change> change_near(Instant t, const TimeZone& zone) {
  Instant before = t.plus_seconds(-around_change_seconds), after = t.plus_seconds(around_change_seconds);
  const int offset_before = zone.offset_at(before), offset_after = zone.offset_at(after);
  if (offset_before == offset_after) return std::nullopt;
  while (after.seconds() - before.seconds() > 1) {
    const Instant middle = Instant::of_seconds(before.seconds() + (after.seconds() - before.seconds()) / 2);
    (zone.offset_at(middle) == offset_before ? before : after) = middle;
  }
  const int size = std::abs(offset_after - offset_before);
  return Change{after.plus_seconds(-size), after.plus_seconds(size)};
}

CronPattern::Fields parse_alternative(std::string_view text) {
  const auto parts = tokens(text, " \t");
  if (parts.size() != 5) {
    Error error = config_error("invalid pattern: \"" + std::string(text) + "\"");
    if (parts.size() == 6)
      throw std::move(error).hint("cron has five fields, without seconds; seconds_interval> starts sessions every N seconds");
    if (text.find('@') != std::string_view::npos)
      throw std::move(error).hint("instead of @daily and the like write daily>, hourly>, weekly> or monthly>");
    throw std::move(error).hint("cron has five fields: minute hour day-of-month month day-of-week");
  }
  std::uint64_t bits[5];
  for (std::size_t i = 0; i < 5; ++i) {
    const CronField& field = cron_fields()[i];
    try {
      bits[i] = parse_cron_field(field, parts[i]);
    } catch (const Error& error) {
      Error whole = config_error("invalid pattern \"" + std::string(text) + "\". Error parsing " + std::string(field.name) +
                                 " field: " + error.message() + ".");
      if (parts[i].find_first_of("?#W") == std::string_view::npos) throw whole;
      throw std::move(whole).hint("`?`, `#` and `W` are not known here; `*` matches every value, `L` the last day of a month");
    }
  }
  return {.minutes = bits[0],
          .hours = bits[1],
          .days = bits[2],
          .months = bits[3],
          .weekdays = bits[4],
          .last_day = has(bits[2], CronField::last_day_value)};
}

}  // namespace

bool CronPattern::Fields::matches_day(const LocalTime& local) const {
  if (!has(months, local.month)) return false;
  if (!has(days, local.day) && !(last_day && local.day == days_in_month(local.year, local.month))) return false;
  return has(weekdays, weekday(local));
}

bool CronPattern::Fields::matches(const LocalTime& local) const {
  return has(minutes, local.minute) && has(hours, local.hour) && matches_day(local);
}

CronPattern CronPattern::parse(std::string_view text) {
  std::vector<Fields> alternatives;
  bool matches_ever = false;
  for (const std::string_view alternative : tokens(text, "|")) {
    alternatives.push_back(parse_alternative(alternative));
    // No pattern is quiet for longer than a February 29th on one weekday, 40 years around 2100.
    matches_ever = matches_ever || next_match(alternatives.back(), {2080, 1, 1}).has_value();
  }
  if (alternatives.empty()) throw config_error("invalid pattern: \"" + std::string(text) + "\"");
  if (!matches_ever) {
    throw config_error("cron pattern \"" + std::string(text) + "\" never matches").hint("no month that it names has that day");
  }
  return CronPattern(std::move(alternatives));
}

bool CronPattern::matches(const LocalTime& local) const {
  return std::any_of(alternatives_.begin(), alternatives_.end(), [&](const Fields& fields) { return fields.matches(local); });
}

std::optional<Instant> CronPattern::next(Instant t, const TimeZone& zone, OverlapSessions overlap) const {
  const Instant minute = start_of_minute(t);
  const Instant following = minute.plus_millis(minute_millis);
  if (overlap == OverlapSessions::second && matches(zone.local(following))) return following;
  std::optional<Instant> best;
  for (const Fields& fields : alternatives_) {
    const auto found = next_of(fields, minute, zone, overlap);
    if (found && (!best || *found < *best)) best = found;
  }
  return best;
}

std::optional<Instant> CronPattern::latest_candidate(Instant t, const TimeZone& zone, OverlapSessions overlap) const {
  const auto occurrence = overlap == OverlapSessions::first ? earlier : later;
  std::optional<Instant> best;
  for (const Fields& fields : alternatives_) {
    auto local = previous_match(fields, zone.local({t.millis - 1}));
    while (local && zone.instant(*local, occurrence) >= t) local = previous_match(fields, previous_minute(*local));
    if (!local) continue;
    const Instant found = zone.instant(*local, occurrence);
    if (!best || found > *best) best = found;
  }
  return best;
}

std::optional<Instant> CronPattern::previous(Instant t, const TimeZone& zone, OverlapSessions overlap) const {
  const auto candidate = latest_candidate(t, zone, overlap);
  if (!candidate) return std::nullopt;
  const auto change = change_near(*candidate, zone);
  if (!change || *candidate > change->end || (*candidate < change->begin && t <= change->begin)) return candidate;
  // What `next` gives around a change depends on where it comes from. Walk over it.
  auto session = previous(change->begin, zone, overlap);
  if (!session) return candidate;
  for (auto following = next(*session, zone, overlap); following && *following < t; following = next(*session, zone, overlap)) {
    session = following;
  }
  return session;
}

}  // namespace digdag::schedule
