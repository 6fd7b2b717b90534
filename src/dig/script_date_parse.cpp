#include <array>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "dig/script_date.h"

namespace digdag::dig {
namespace {

const double nan_value = std::numeric_limits<double>::quiet_NaN();

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

double utc_millis(double year, int month, int day, double hour, int minute, int second, double millis) {
  // Day counts by Date's own arithmetic are exact for every year in range.
  const double y = month <= 2 ? year - 1 : year;
  const double era = std::floor(y / 400);
  const double year_of_era = y - era * 400;
  const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const double days =
      era * 146'097 + year_of_era * 365 + std::floor(year_of_era / 4) - std::floor(year_of_era / 100) + day_of_year - 719'468;
  return days * 86'400'000 + hour * 3'600'000 + minute * 60'000.0 + second * 1000.0 + millis;
}

double clip(double millis) { return std::fabs(millis) <= 8.64e15 ? millis : nan_value; }

struct Reader {
  std::string_view text;
  std::size_t at = 0;

  bool done() const { return at == text.size(); }
  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at;
    return true;
  }
  /// Exactly `n` digits, or -1.
  int digits(std::size_t n) {
    int value = 0;
    for (std::size_t i = 0; i < n; ++i) {
      if (!is_digit(peek(i))) return -1;
      value = value * 10 + (peek(i) - '0');
    }
    at += n;
    return value;
  }
  /// As many digits as there are; `count` says how many, the value stops growing after nine.
  double number(std::size_t& count) {
    double value = 0;
    for (count = 0; is_digit(peek()); ++at, ++count) value = value * 10 + (peek() - '0');
    return value;
  }
  /// The digits after a point as milliseconds.
  double fraction() {
    double millis = 0, unit = 100;
    for (; is_digit(peek()); ++at, unit /= 10) {
      if (unit >= 1) millis += (peek() - '0') * unit;
    }
    return millis;
  }
};

/// `+09:00` or `+0900` after its sign, in minutes; nothing where it is none.
std::optional<int> offset_minutes(Reader& reader, bool negative) {
  const int hours = reader.digits(2);
  if (hours < 0 || hours > 23) return std::nullopt;
  reader.accept(':');
  const int minutes = reader.digits(2);
  if (minutes < 0 || minutes > 59) return std::nullopt;
  return (negative ? -1 : 1) * (hours * 60 + minutes);
}

/// The form of ES5 15.9.1.15. Nothing where the text has another form.
std::optional<double> parse_iso(std::string_view text) {
  Reader reader{text};
  double year = 0;
  if (reader.peek() == '+' || reader.peek() == '-') {
    const bool negative = reader.peek() == '-';
    ++reader.at;
    const int six = reader.digits(6);
    if (six < 0) return std::nullopt;
    year = negative ? -six : six;
  } else {
    const int four = reader.digits(4);
    if (four < 0) return std::nullopt;
    year = four;
  }
  int month = 1, day = 1;
  if (reader.accept('-')) {
    month = reader.digits(2);
    if (month < 0) return std::nullopt;
    if (reader.accept('-')) {
      day = reader.digits(2);
      if (day < 0) return std::nullopt;
    }
  }
  int hour = 0, minute = 0, second = 0, offset = 0;
  double millis = 0;
  if (reader.accept('T')) {
    hour = reader.digits(2);
    if (hour < 0 || !reader.accept(':')) return std::nullopt;
    minute = reader.digits(2);
    if (minute < 0) return std::nullopt;
    if (reader.accept(':')) {
      second = reader.digits(2);
      if (second < 0) return std::nullopt;
      if (reader.accept('.')) millis = reader.fraction();
    }
    if (reader.peek() == '+' || reader.peek() == '-') {
      const bool negative = reader.peek() == '-';
      ++reader.at;
      const auto minutes = offset_minutes(reader, negative);
      if (!minutes) return std::nullopt;
      offset = *minutes;
    } else {
      reader.accept('Z');
    }
  }
  if (!reader.done()) return std::nullopt;
  if (month < 1 || month > 12 || day < 1 || day > days_in_month(static_cast<std::int64_t>(year), month)) return nan_value;
  if (hour > 24 || minute > 59 || second > 59 || (hour == 24 && (minute > 0 || second > 0 || millis > 0))) return nan_value;
  return clip(utc_millis(year, month, day, hour, minute, second, millis) - offset * 60'000.0);
}

struct Word {
  std::string_view name;  ///< at least its first three letters must be there
  enum { month, weekday, zone, am_pm } kind;
  int value;
};
constexpr std::array<Word, 32> words = {
    {{"january", Word::month, 1},    {"february", Word::month, 2}, {"march", Word::month, 3},      {"april", Word::month, 4},
     {"may", Word::month, 5},        {"june", Word::month, 6},     {"july", Word::month, 7},       {"august", Word::month, 8},
     {"september", Word::month, 9},  {"october", Word::month, 10}, {"november", Word::month, 11},  {"december", Word::month, 12},
     {"sunday", Word::weekday, 0},   {"monday", Word::weekday, 0}, {"tuesday", Word::weekday, 0},  {"wednesday", Word::weekday, 0},
     {"thursday", Word::weekday, 0}, {"friday", Word::weekday, 0}, {"saturday", Word::weekday, 0}, {"am", Word::am_pm, 0},
     {"pm", Word::am_pm, 12},        {"z", Word::zone, 0},         {"gmt", Word::zone, 0},         {"ut", Word::zone, 0},
     {"utc", Word::zone, 0},         {"est", Word::zone, -300},    {"edt", Word::zone, -240},      {"cst", Word::zone, -360},
     {"cdt", Word::zone, -300},      {"mst", Word::zone, -420},    {"mdt", Word::zone, -360},      {"pst", Word::zone, -480}}};

const Word* find_word(std::string_view letters) {
  static constexpr Word pdt{"pdt", Word::zone, -420};
  const std::string name = lower(letters);
  if (name == pdt.name) return &pdt;
  for (const Word& word : words) {
    const bool long_name = word.kind == Word::month || word.kind == Word::weekday;
    if (name == word.name || (long_name && name.size() >= 3 && word.name.starts_with(name))) return &word;
  }
  return nullptr;
}

/// What a person may write: numbers in the order year-month-day, month/day/year or with the month's name, a time, a zone.
class FreeForm {
 public:
  explicit FreeForm(std::string_view text) : reader_{text} {}

  double parse(const TimeZone& zone) {
    while (!reader_.done()) {
      if (!step()) return nan_value;
    }
    if (count_ == 2 && month_ == 0) return nan_value;
    return finish(zone);
  }

 private:
  bool step() {
    const char c = reader_.peek();
    if (c == '(') return skip_comment();
    if (is_letter(c)) return word();
    if (is_digit(c)) return number();
    if ((c == '+' || c == '-') && hour_ >= 0 && is_digit(reader_.peek(1))) return offset();
    if (c == ' ' || c == ',' || c == '/' || c == '-' || c == '.' || c == '\t') {
      ++reader_.at;
      return true;
    }
    return false;
  }

  bool skip_comment() {
    const std::size_t end = reader_.text.find(')', reader_.at);
    if (end == std::string_view::npos) return false;
    reader_.at = end + 1;
    return true;
  }

  bool word() {
    const std::size_t start = reader_.at;
    while (is_letter(reader_.peek())) ++reader_.at;
    const std::string_view letters = reader_.text.substr(start, reader_.at - start);
    if ((letters == "T" || letters == "t") && count_ > 0 && hour_ < 0) return true;
    const Word* const found = find_word(letters);
    if (!found) return false;
    switch (found->kind) {
      case Word::month:
        if (month_ != 0) return false;
        month_ = found->value;
        break;
      case Word::zone: offset_ = found->value; break;
      case Word::am_pm:
        if (hour_ < 0 || hour_ > 12) return false;
        hour_ = hour_ % 12 + found->value;
        break;
      default: break;
    }
    // GMT+0900
    if (found->kind == Word::zone && (reader_.peek() == '+' || reader_.peek() == '-')) return offset();
    return true;
  }

  bool offset() {
    const bool negative = reader_.peek() == '-';
    ++reader_.at;
    std::size_t length = 0;
    double value = reader_.number(length);
    if (reader_.peek() == ':' && length <= 2) {
      ++reader_.at;
      const int minutes = reader_.digits(2);
      if (minutes < 0) return false;
      value = value * 100 + minutes;
    } else if (length <= 2) {
      value *= 100;
    }
    if (value >= 2400) return false;
    const int minutes = static_cast<int>(value) / 100 * 60 + static_cast<int>(value) % 100;
    offset_ = negative ? -minutes : minutes;
    return true;
  }

  bool number() {
    std::size_t length = 0;
    const double value = reader_.number(length);
    if (length > 6) return false;
    if (reader_.peek() == ':' && hour_ < 0) return time(value);
    if (count_ == 3) return false;
    numbers_[count_++] = value;
    return true;
  }

  bool time(double hour) {
    hour_ = static_cast<int>(hour);
    std::size_t length = 0;
    reader_.accept(':');
    minute_ = static_cast<int>(reader_.number(length));
    if (length == 0) return false;
    if (reader_.accept(':')) {
      second_ = static_cast<int>(reader_.number(length));
      if (length == 0) return false;
      if (reader_.peek() == '.' && is_digit(reader_.peek(1))) {
        ++reader_.at;
        millis_ = reader_.fraction();
      }
    }
    return hour_ < 25 && minute_ < 60 && second_ < 60;
  }

  double finish(const TimeZone& zone) const {
    double year = 0;
    int month = month_, day = 1;
    if (month_ != 0) {
      if (count_ == 0 || (count_ == 1 && numbers_[0] <= 31)) return nan_value;
      // With the name of the month the other two numbers are day and year; a number that can be a day comes first.
      const bool day_first = count_ > 1 && numbers_[0] >= 1 && numbers_[0] <= 31;
      year = count_ == 1 ? numbers_[0] : day_first ? numbers_[1] : numbers_[0];
      if (count_ > 1) day = static_cast<int>(day_first ? numbers_[0] : numbers_[1]);
    } else if (count_ == 3 && numbers_[0] >= 1 && numbers_[0] <= 31) {
      month = static_cast<int>(numbers_[0]);
      day = static_cast<int>(numbers_[1]);
      year = numbers_[2];
    } else if (count_ == 3) {
      year = numbers_[0];
      month = static_cast<int>(numbers_[1]);
      day = static_cast<int>(numbers_[2]);
    } else if (count_ == 1 && numbers_[0] > 31) {
      year = numbers_[0];
      month = 1;
    } else {
      return nan_value;
    }
    if (year >= 0 && year < 100) year += year >= 50 ? 1900 : 2000;
    if (month < 1 || month > 12 || day < 1 || day > 31) return nan_value;
    const double local = utc_millis(year, month, day, hour_ < 0 ? 0 : hour_, minute_, second_, millis_);
    return clip(offset_ ? local - *offset_ * 60'000.0 : local_to_utc(local, zone));
  }

  Reader reader_;
  std::array<double, 3> numbers_{};
  std::size_t count_ = 0;
  int month_ = 0, hour_ = -1, minute_ = 0, second_ = 0;
  double millis_ = 0;
  std::optional<int> offset_;
};

}  // namespace

double parse_date(std::string_view text, const TimeZone& zone) {
  text = trim(text);
  if (const auto iso = parse_iso(text)) return *iso;
  return FreeForm(text).parse(zone);
}

}  // namespace digdag::dig
