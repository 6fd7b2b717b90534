#include "base/time.h"

#include <absl/time/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace digdag {

namespace {

constexpr std::int64_t seconds_per_day = 86'400;
/// Years that parse; beyond them milliseconds since the epoch do not fit into 64 bits.
constexpr std::int64_t most_year = 99'999'999;
constexpr const char* zone_directory = "/usr/share/zoneinfo/";

constexpr std::int64_t floor_divide(std::int64_t a, std::int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar, counted in eras of 400 years that begin on March 1st.
constexpr std::int64_t days_of(std::int64_t year, int month, int day) {
  year -= month <= 2 ? 1 : 0;
  const std::int64_t era = floor_divide(year, 400);
  const std::int64_t year_of_era = year - era * 400;
  const std::int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const std::int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

constexpr void set_date(LocalTime& local, std::int64_t days) {
  days += 719'468;
  const std::int64_t era = floor_divide(days, 146'097);
  const std::int64_t day_of_era = days - era * 146'097;
  const std::int64_t year_of_era = (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const std::int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const std::int64_t shifted_month = (5 * day_of_year + 2) / 153;
  local.day = static_cast<int>(day_of_year - (153 * shifted_month + 2) / 5 + 1);
  local.month = static_cast<int>(shifted_month < 10 ? shifted_month + 3 : shifted_month - 9);
  local.year = year_of_era + era * 400 + (local.month <= 2 ? 1 : 0);
}

/// Seconds since the epoch of a local time at offset 0.
constexpr std::int64_t seconds_of(const LocalTime& local) {
  return days_of(local.year, local.month, local.day) * seconds_per_day + std::int64_t{local.hour} * 3600 + std::int64_t{local.minute} * 60 +
         local.second;
}

constexpr LocalTime local_of(std::int64_t seconds) {
  LocalTime local;
  const std::int64_t days = floor_divide(seconds, seconds_per_day);
  const int second_of_day = static_cast<int>(seconds - days * seconds_per_day);
  set_date(local, days);
  local.hour = second_of_day / 3600;
  local.minute = second_of_day / 60 % 60;
  local.second = second_of_day % 60;
  return local;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/// Two digits at `at`, or -1.
int two_digits(std::string_view text, std::size_t at) {
  if (at + 2 > text.size() || !is_digit(text[at]) || !is_digit(text[at + 1])) return -1;
  return (text[at] - '0') * 10 + (text[at + 1] - '0');
}

void append_two(std::string& out, int n) {
  out += static_cast<char>('0' + n / 10);
  out += static_cast<char>('0' + n % 10);
}

/// Four digits at least; `+` before more than four (SignStyle.EXCEEDS_PAD).
void append_year(std::string& out, std::int64_t year) {
  if (year < 0) {
    out += '-';
    year = -year;
  } else if (year > 9999) {
    out += '+';
  }
  const std::string digits = std::to_string(year);
  out.append(digits.size() < 4 ? 4 - digits.size() : 0, '0');
  out += digits;
}

/// `yyyy`: the year of its era, as patterns of the original have it.
void append_year_of_era(std::string& out, std::int64_t year) { append_year(out, year > 0 ? year : 1 - year); }

void append_date(std::string& out, const LocalTime& local, std::string_view separator) {
  append_year_of_era(out, local.year);
  out += separator;
  append_two(out, local.month);
  out += separator;
  append_two(out, local.day);
}

void append_time(std::string& out, const LocalTime& local, std::string_view separator) {
  append_two(out, local.hour);
  out += separator;
  append_two(out, local.minute);
  out += separator;
  append_two(out, local.second);
}

void append_millis(std::string& out, Instant instant) {
  const int millis = static_cast<int>(instant.millis - instant.seconds() * 1000);
  out += static_cast<char>('0' + millis / 100);
  append_two(out, millis % 100);
}

/// `xx` and `xxx`: +0900, +09:00; seconds of an offset are left out.
void append_offset(std::string& out, int seconds, std::string_view separator) {
  const int minutes = std::abs(seconds) / 60;
  out += seconds < 0 && minutes != 0 ? '-' : '+';
  append_two(out, minutes / 60);
  out += separator;
  append_two(out, minutes % 60);
}

/// java.time.ZoneOffset.of: Z, +h, +hh, +hhmm, +hh:mm, +hhmmss, +hh:mm:ss; at most 18 hours.
std::optional<int> parse_offset(std::string_view text) {
  if (text == "Z") return 0;
  if (text.size() < 2 || (text[0] != '+' && text[0] != '-')) return std::nullopt;
  const int sign = text[0] == '-' ? -1 : 1;
  int hours = 0, minutes = 0, seconds = 0;
  const auto colon_at = [&](std::size_t at) { return text[at] == ':'; };
  switch (text.size()) {
    case 2: hours = is_digit(text[1]) ? text[1] - '0' : -1; break;
    case 3: hours = two_digits(text, 1); break;
    case 5:
      hours = two_digits(text, 1);
      minutes = two_digits(text, 3);
      break;
    case 6:
      hours = two_digits(text, 1);
      minutes = colon_at(3) ? two_digits(text, 4) : -1;
      break;
    case 7:
      hours = two_digits(text, 1);
      minutes = two_digits(text, 3);
      seconds = two_digits(text, 5);
      break;
    case 9:
      hours = two_digits(text, 1);
      minutes = colon_at(3) ? two_digits(text, 4) : -1;
      seconds = colon_at(6) ? two_digits(text, 7) : -1;
      break;
    default: return std::nullopt;
  }
  if (hours < 0 || minutes < 0 || seconds < 0 || minutes > 59 || seconds > 59) return std::nullopt;
  const int total = hours * 3600 + minutes * 60 + seconds;
  if (total > 18 * 3600) return std::nullopt;
  return sign * total;
}

/// java.time.ZoneOffset's id.
std::string offset_id(int seconds) {
  if (seconds == 0) return "Z";
  std::string id(1, seconds < 0 ? '-' : '+');
  const int size = std::abs(seconds);
  append_two(id, size / 3600);
  id += ':';
  append_two(id, size / 60 % 60);
  if (size % 60 != 0) {
    id += ':';
    append_two(id, size % 60);
  }
  return id;
}

/// Whether Java would look this name up among its regions. What lies in the zone directory without being a region of
/// Java's (short ids, files of other tools, other names for the same directory) is excluded.
bool is_region_name(std::string_view name) {
  if (name.size() < 2 || !is_letter(name[0]) || name.back() == '/') return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if (!is_letter(c) && !is_digit(c) && std::string_view("~/._+-").find(c) == std::string_view::npos) return false;
    if (c == '/' && (name[i + 1] == '/' || name[i + 1] == '.')) return false;
  }
  static constexpr std::array<std::string_view, 9> excluded = {"EST",   "MST",     "HST",       "ROC",       "GMT+0",
                                                               "GMT-0", "Factory", "localtime", "posixrules"};
  if (std::find(excluded.begin(), excluded.end(), name) != excluded.end()) return false;
  return !name.starts_with("posix/") && !name.starts_with("right/");
}

}  // namespace

struct TimeZone::Rules {
  std::string id;
  int fixed_offset = 0;  ///< where there is no region
  std::optional<absl::TimeZone> region = {};

  int offset_at(std::int64_t seconds) const { return region ? region->At(absl::FromUnixSeconds(seconds)).offset : fixed_offset; }
};

Instant now() {
  timespec time{};
  ::clock_gettime(CLOCK_REALTIME, &time);
  return {static_cast<std::int64_t>(time.tv_sec) * 1000 + time.tv_nsec / 1'000'000};
}

TimeZone::TimeZone() {
  static const auto utc = std::make_shared<const Rules>(Rules{.id = "UTC"});
  rules_ = utc;
}

std::optional<TimeZone> TimeZone::of(std::string_view id) {
  const auto fixed = [](std::string zone_id, int offset) {
    TimeZone zone;
    if (zone_id != "UTC") zone.rules_ = std::make_shared<const Rules>(Rules{.id = std::move(zone_id), .fixed_offset = offset});
    return zone;
  };
  if (id.size() <= 1 || id[0] == '+' || id[0] == '-') {
    const auto offset = parse_offset(id);
    if (!offset) return std::nullopt;
    return fixed(offset_id(*offset), *offset);
  }
  for (const std::string_view prefix : {"UTC", "GMT", "UT"}) {
    if (!id.starts_with(prefix)) continue;
    const std::string_view rest = id.substr(prefix.size());
    if (rest.empty()) return fixed(std::string(prefix), 0);
    if (rest[0] != '+' && rest[0] != '-') break;  // a region: GMT0
    const auto offset = parse_offset(rest);
    if (!offset) return std::nullopt;
    return fixed(std::string(prefix) + (*offset == 0 ? "" : offset_id(*offset)), *offset);
  }
  if (!is_region_name(id)) return std::nullopt;
  if (id == "Etc/UTC") return fixed("Etc/UTC", 0);  // most machines' default: costs no file

  static std::mutex mutex;
  static auto& regions = *new std::unordered_map<std::string, TimeZone>;
  const std::lock_guard lock(mutex);
  const std::string name(id);
  if (const auto known = regions.find(name); known != regions.end()) return known->second;
  absl::TimeZone region;
  if (!absl::LoadTimeZone(name, &region)) return std::nullopt;
  TimeZone zone;
  zone.rules_ = std::make_shared<const Rules>(Rules{.id = name, .region = region});
  return regions.emplace(name, std::move(zone)).first->second;
}

namespace {

std::string content_of(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The name of the region whose file equals /etc/localtime, where that is a copy: containers get it mounted so.
std::string region_like_local_time() {
  const std::string wanted = content_of("/etc/localtime");
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::recursive_directory_iterator(zone_directory, error);
       !error && entry != std::filesystem::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().string().substr(std::string_view(zone_directory).size());
    std::error_code ignored;
    if (!wanted.empty() && is_region_name(name) && entry->is_regular_file(ignored) && entry->file_size(ignored) == wanted.size() &&
        content_of(entry->path()) == wanted) {
      names.push_back(name);
    }
  }
  return names.empty() ? "" : *std::min_element(names.begin(), names.end());
}

/// What /etc/localtime is, as a region's name; empty where that cannot be told.
std::string region_of_machine() {
  std::array<char, 512> target{};
  const ssize_t size = ::readlink("/etc/localtime", target.data(), target.size());
  if (size > 0) {
    const std::string_view path(target.data(), static_cast<std::size_t>(size));
    const std::string_view directory = "zoneinfo/";
    const auto at = path.find(directory);
    return at == std::string_view::npos ? "" : std::string(path.substr(at + directory.size()));
  }
  return region_like_local_time();
}

}  // namespace

TimeZone TimeZone::system() {
  const char* variable = std::getenv("TZ");
  std::string name = variable != nullptr ? variable : "";
  if (name.empty()) name = region_of_machine();
  if (name.starts_with(':')) name.erase(0, 1);
  if (name.starts_with("posix/")) name.erase(0, 6);
  if (name == "EST") return *of("-05:00");
  if (name == "MST") return *of("-07:00");
  if (name == "HST") return *of("-10:00");
  if (auto zone = of(name)) return *zone;
  // Not a name of Java's, but perhaps a rule of POSIX (`JST-9`): the offset of today, as Java does it.
  ::tzset();
  const std::time_t today = ::time(nullptr);
  std::tm local{};
  ::localtime_r(&today, &local);
  const auto offset = static_cast<int>(local.tm_gmtoff);
  return *of(offset == 0 ? "GMT" : "GMT" + offset_id(offset));
}

const std::string& TimeZone::id() const { return rules_->id; }

int TimeZone::offset_at(Instant instant) const { return rules_->offset_at(instant.seconds()); }

LocalTime TimeZone::local(Instant instant) const { return local_of(instant.seconds() + offset_at(instant)); }

Instant TimeZone::instant(const LocalTime& local, Overlap overlap) const {
  if (!rules_->region) return Instant::of_seconds(seconds_of(local) - rules_->fixed_offset);
  const auto possible = rules_->region->At(absl::CivilSecond(local.year, local.month, local.day, local.hour, local.minute, local.second));
  // In a gap, the offset from before it carries the local time forward by the gap's size.
  const bool second = possible.kind == absl::TimeZone::TimeInfo::REPEATED && overlap == Overlap::later_offset;
  return Instant::of_seconds(absl::ToUnixSeconds(second ? possible.post : possible.pre));
}

LocalTime plus_days(LocalTime local, std::int64_t days) {
  set_date(local, days_of(local.year, local.month, local.day) + days);
  return local;
}

int weekday(const LocalTime& local) {
  const std::int64_t days = days_of(local.year, local.month, local.day) + 4;  // 1970-01-01 was a Thursday
  return static_cast<int>(days - floor_divide(days, 7) * 7);
}

int days_in_month(std::int64_t year, int month) {
  if (month == 2) return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
  return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

namespace {

/// A local time and its offset, looked up once.
struct Zoned {
  Zoned(Instant instant, const TimeZone& zone) : offset(zone.offset_at(instant)), local(local_of(instant.seconds() + offset)) {}
  int offset;
  LocalTime local;
};

}  // namespace

std::string format_session_time(Instant instant, const TimeZone& zone) {
  const Zoned time(instant, zone);
  std::string out;
  append_date(out, time.local, "-");
  out += 'T';
  append_time(out, time.local, ":");
  append_offset(out, time.offset, ":");
  return out;
}

std::string format_local_time(Instant instant, const TimeZone& zone) {
  const Zoned time(instant, zone);
  std::string out;
  append_date(out, time.local, "-");
  out += ' ';
  append_time(out, time.local, ":");
  return out;
}

std::string format_date(Instant instant, const TimeZone& zone) {
  std::string out;
  append_date(out, zone.local(instant), "-");
  return out;
}

std::string format_date_compact(Instant instant, const TimeZone& zone) {
  std::string out;
  append_date(out, zone.local(instant), "");
  return out;
}

std::string format_offset(Instant instant, const TimeZone& zone) {
  std::string out;
  append_offset(out, zone.offset_at(instant), "");
  return out;
}

std::string format_log_time(Instant instant, const TimeZone& zone, bool millis) {
  const Zoned time(instant, zone);
  std::string out;
  append_date(out, time.local, "-");
  out += ' ';
  append_time(out, time.local, ":");
  if (millis) {
    out += '.';
    append_millis(out, instant);
  }
  out += ' ';
  append_offset(out, time.offset, "");
  return out;
}

std::string format_state_directory(Instant instant, const TimeZone& zone) {
  const Zoned time(instant, zone);
  std::string out;
  append_date(out, time.local, "");
  out += 'T';
  append_time(out, time.local, "");
  append_offset(out, time.offset, "");
  return out;
}

std::string format_instant(Instant instant) {
  const LocalTime local = local_of(instant.seconds());
  std::string out;
  append_year(out, local.year);
  out += '-';
  append_two(out, local.month);
  out += '-';
  append_two(out, local.day);
  out += 'T';
  append_time(out, local, ":");
  if (instant.millis % 1000 != 0) {
    out += '.';
    append_millis(out, instant);
  }
  out += 'Z';
  return out;
}

namespace {

/// Reads a text from left to right; every step says whether it fitted.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  bool literal(char c) {
    if (rest_.empty() || rest_[0] != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool two(int& value, int least, int most) {
    value = two_digits(rest_, 0);
    if (value < least || value > most) return false;
    rest_.remove_prefix(2);
    return true;
  }
  /// Four digits, or a sign and more of them; a negative year only where `proleptic`.
  bool year(std::int64_t& value, bool proleptic) {
    const bool plus = literal('+');
    const bool minus = !plus && literal('-');
    std::size_t digits = 0;
    value = 0;
    for (; digits < rest_.size() && digits < 9 && is_digit(rest_[digits]); ++digits) value = value * 10 + (rest_[digits] - '0');
    if (plus ? digits <= 4 : minus ? digits < 4 : digits != 4) return false;
    rest_.remove_prefix(digits);
    if (minus) value = -value;
    return std::abs(value) <= most_year && (proleptic || value > 0);
  }
  bool date(LocalTime& local, const char* separator, bool proleptic) {
    return year(local.year, proleptic) && (*separator == 0 || literal(*separator)) && two(local.month, 1, 12) &&
           (*separator == 0 || literal(*separator)) && two(local.day, 1, 31);
  }
  bool time(LocalTime& local, const char* separator) {
    return two(local.hour, 0, 24) && (*separator == 0 || literal(*separator)) && two(local.minute, 0, 59) &&
           (*separator == 0 || literal(*separator)) && two(local.second, 0, 59);
  }
  /// After `.` up to nine digits; only the first three count.
  bool fraction(int& millis) {
    std::size_t digits = 0;
    millis = 0;
    for (; digits < rest_.size() && is_digit(rest_[digits]); ++digits) {
      if (digits < 3) millis = millis * 10 + (rest_[digits] - '0');
    }
    rest_.remove_prefix(digits);
    for (std::size_t i = digits; i < 3; ++i) millis *= 10;
    return digits <= 9;
  }
  std::string_view rest() const { return rest_; }
  bool done() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

/// java.time's "smart" resolution: a day past the month's end becomes its last, 24:00:00 the next day's midnight.
bool resolve(LocalTime& local) {
  local.day = std::min(local.day, days_in_month(local.year, local.month));
  if (local.hour < 24) return true;
  if (local.minute != 0 || local.second != 0) return false;
  local.hour = 0;
  local = plus_days(local, 1);
  return true;
}

Instant at_offset(const LocalTime& local, int offset) { return Instant::of_seconds(seconds_of(local) - offset); }

}  // namespace

std::optional<Instant> parse_instant(std::string_view text) {
  Reader in(text);
  LocalTime local;
  int millis = 0;
  if (!in.date(local, "-", true) || local.day > days_in_month(local.year, local.month)) return std::nullopt;
  if (!in.literal('T') && !in.literal('t')) return std::nullopt;
  if (!in.two(local.hour, 0, 23) || !in.literal(':') || !in.two(local.minute, 0, 59)) return std::nullopt;
  if (in.literal(':')) {
    if (!in.two(local.second, 0, 59)) return std::nullopt;
    if (in.literal('.') && !in.fraction(millis)) return std::nullopt;
  }
  std::string_view offset_text = in.rest();
  if (const auto bracket = offset_text.find('['); bracket != std::string_view::npos) {
    const std::string_view zone = offset_text.substr(bracket);
    if (!zone.ends_with(']') || !TimeZone::of(zone.substr(1, zone.size() - 2))) return std::nullopt;
    offset_text = offset_text.substr(0, bracket);
  }
  const auto offset = offset_text == "z" ? 0 : parse_offset(offset_text);
  if (!offset) return std::nullopt;
  return at_offset(local, *offset).plus_millis(millis);
}

std::optional<Instant> parse_session_time(std::string_view text) {
  Reader in(text);
  LocalTime local;
  if (!in.date(local, "-", false) || !in.literal('T') || !in.time(local, ":") || !resolve(local)) return std::nullopt;
  const auto offset = in.rest().size() == 6 ? parse_offset(in.rest()) : std::nullopt;
  if (!offset) return std::nullopt;
  return at_offset(local, *offset);
}

std::optional<LocalTime> parse_local_time(std::string_view text) {
  Reader in(text);
  LocalTime local;
  if (!in.date(local, "-", false)) return std::nullopt;
  if (!in.done() && (!in.literal(' ') || !in.time(local, ":"))) return std::nullopt;
  if (!in.done() || !resolve(local)) return std::nullopt;
  return local;
}

std::optional<Instant> parse_state_directory(std::string_view text) {
  // The year is what stands before the last fixed part: `MMddTHHmmss+0000`.
  constexpr std::size_t fixed_part = 16;
  if (text.size() < fixed_part + 4) return std::nullopt;
  Reader year_in(text.substr(0, text.size() - fixed_part));
  Reader in(text.substr(text.size() - fixed_part));
  LocalTime local;
  if (!year_in.year(local.year, false) || !year_in.done()) return std::nullopt;
  if (!in.two(local.month, 1, 12) || !in.two(local.day, 1, 31) || !in.literal('T') || !in.time(local, "") || !resolve(local)) {
    return std::nullopt;
  }
  const auto offset = in.rest().size() == 5 ? parse_offset(in.rest()) : std::nullopt;
  if (!offset) return std::nullopt;
  return at_offset(local, *offset);
}

}  // namespace digdag
