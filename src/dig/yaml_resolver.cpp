#include "dig/yaml_resolver.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/base64.h"
#include "base/text.h"
#include "base/time.h"
#include "dig/yaml_characters.h"

namespace digdag::dig {
namespace {

/// Reads along a text; each function says whether it could move.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : text_(text) {}

  bool end() const { return at_ == text_.size(); }
  char peek() const { return end() ? '\0' : text_[at_]; }
  bool take(char c) {
    if (end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool take_sign() { return take('+') || take('-'); }
  /// As many characters of the set as there are; how many.
  template <typename Set>
  std::size_t take_while(Set in_set) {
    const std::size_t start = at_;
    while (!end() && in_set(text_[at_])) ++at_;
    return at_ - start;
  }
  std::size_t take_digits() { return take_while(is_digit); }
  std::size_t take_digits_and_bars() {
    return take_while([](char c) { return is_digit(c) || c == '_'; });
  }

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

// [-+]?(0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)
bool is_integer(std::string_view text) {
  Cursor in(text);
  in.take_sign();
  if (!in.take('0')) {
    if (!is_digit(in.peek())) return false;
    in.take_digits_and_bars();
    return in.end();
  }
  if (in.end()) return true;
  if (in.take('b')) return in.take_while([](char c) { return c == '0' || c == '1' || c == '_'; }) > 0 && in.end();
  if (in.take('x')) {
    const auto hexadecimal = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '_'; };
    return in.take_while(hexadecimal) > 0 && in.end();
  }
  return in.take_while([](char c) { return (c >= '0' && c <= '7') || c == '_'; }) > 0 && in.end();
}

// (\.[0-9]+|[1-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?  behind an optional sign
bool is_decimal_float(Cursor in) {
  if (in.take('.')) {
    if (in.take_digits() == 0) return false;
  } else {
    if (!is_digit(in.peek()) || in.peek() == '0') return false;
    in.take_digits_and_bars();
    if (in.take('.')) in.take_digits_and_bars();
  }
  if (in.take('e') || in.take('E')) {
    in.take_sign();
    if (in.take_digits() == 0) return false;
  }
  return in.end();
}

// [0-9][0-9_]*(:[0-5]?[0-9])+  behind an optional sign; then `fraction` decides what must follow
bool is_sexagesimal(Cursor in, bool fraction) {
  if (!is_digit(in.peek())) return false;
  in.take_digits_and_bars();
  bool parts = false;
  while (in.take(':')) {
    const char first = in.peek();
    const std::size_t digits = in.take_digits();
    if (digits == 0 || digits > 2 || (digits == 2 && first > '5')) return false;
    parts = true;
  }
  if (!parts) return false;
  if (!fraction) return in.end();
  if (!in.take('.')) return false;
  in.take_digits_and_bars();
  return in.end();
}

bool is_float(std::string_view text) {
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return true;
  Cursor in(text);
  in.take_sign();
  const std::string_view unsigned_text = text.substr(text.starts_with('+') || text.starts_with('-') ? 1 : 0);
  if (unsigned_text == ".inf" || unsigned_text == ".Inf" || unsigned_text == ".INF") return true;
  return is_decimal_float(in) || is_sexagesimal(in, true);
}

std::string without_bars(std::string_view text) {
  std::string plain;
  plain.reserve(text.size());
  for (const char c : text) {
    if (c != '_') plain += c;
  }
  return plain;
}

/// Takes the sign off the front; true for minus.
bool take_sign(std::string_view& text) {
  const bool minus = text.starts_with('-');
  if (minus || text.starts_with('+')) text.remove_prefix(1);
  return minus;
}

/// Decimal digits of a number in another base; blocks of nine decimal digits are multiplied up.
std::string to_decimal(std::string_view digits, unsigned base) {
  constexpr std::uint64_t block = 1'000'000'000;
  std::vector<std::uint32_t> blocks{0};
  for (const char c : digits) {
    std::uint64_t carry = static_cast<std::uint64_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    for (std::uint32_t& part : blocks) {
      const std::uint64_t sum = std::uint64_t{part} * base + carry;
      part = static_cast<std::uint32_t>(sum % block);
      carry = sum / block;
    }
    if (carry != 0) blocks.push_back(static_cast<std::uint32_t>(carry));
  }
  std::string text = std::to_string(blocks.back());
  for (auto part = blocks.rbegin() + 1; part != blocks.rend(); ++part) {
    const std::string nine = std::to_string(*part);
    text.append(9 - nine.size(), '0').append(nine);
  }
  return text;
}

constexpr std::size_t most_digits = 10'000;  // of a binary, octal or hexadecimal number: the conversion is quadratic

std::optional<Value> decimal_integer(bool minus, std::string_view digits) {
  if (digits.empty()) return std::nullopt;
  for (const char c : digits) {
    if (!is_digit(c)) return std::nullopt;
  }
  const std::size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  digits.remove_prefix(first);
  return Value::integer_of(minus && digits != "0" ? '-' + std::string(digits) : std::string(digits));
}

std::optional<Value> based_integer(bool minus, std::string_view digits, unsigned base) {
  if (digits.empty() || digits.size() > most_digits) return std::nullopt;
  for (const char c : digits) {
    const unsigned digit = is_digit(c) ? static_cast<unsigned>(c - '0') : static_cast<unsigned>((c | 0x20) - 'a') + 10;
    if (digit >= base) return std::nullopt;
  }
  std::uint64_t small = 0;
  const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), small, static_cast<int>(base));
  if (failure == std::errc() && small <= INT64_MAX)
    return Value(minus ? -static_cast<std::int64_t>(small) : static_cast<std::int64_t>(small));
  return decimal_integer(minus, to_decimal(digits, base));
}

/// `1:30` of `!!int 1:30`.
std::optional<Value> sexagesimal_integer(bool minus, std::string_view text) {
  std::int64_t sum = 0;
  for (const std::string& part : split(text, ':')) {
    const auto digits = decimal_integer(false, part);
    if (!digits || !digits->is_integer() || digits->as_integer() > INT32_MAX || sum > INT32_MAX) return std::nullopt;
    sum = sum * 60 + digits->as_integer();
  }
  return Value(minus ? -sum : sum);
}

std::optional<Value> integer_value(std::string_view text) {
  const std::string plain = without_bars(text);
  std::string_view digits = plain;
  const bool minus = take_sign(digits);
  if (digits == "0") return Value(0);
  if (digits.starts_with("0b")) return based_integer(minus, digits.substr(2), 2);
  if (digits.starts_with("0x")) return based_integer(minus, digits.substr(2), 16);
  if (digits.starts_with('0')) return based_integer(minus, digits.substr(1), 8);
  if (digits.find(':') != std::string_view::npos) return sexagesimal_integer(minus, digits);
  return decimal_integer(minus, digits);
}

std::optional<double> parse_double(std::string_view text) {
  if (text.empty() || (!is_digit(text[0]) && text[0] != '.')) return std::nullopt;
  double number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (end != text.data() + text.size()) return std::nullopt;
  if (failure == std::errc::result_out_of_range) {
    // Too large or too small: the sign of the exponent tells which.
    const std::size_t exponent = text.find_first_of("eE");
    const bool small = exponent != std::string_view::npos ? text.substr(exponent + 1).starts_with('-') : text[0] == '.' || text[0] == '0';
    return small ? 0.0 : HUGE_VAL;
  }
  if (failure != std::errc()) return std::nullopt;
  return number;
}

Value number_value(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "Infinity" : "-Infinity";
  return number;
}

std::optional<Value> float_value(std::string_view text) {
  const std::string plain = lower(without_bars(text));
  std::string_view digits = plain;
  const bool minus = take_sign(digits);
  const double sign = minus ? -1 : 1;
  if (digits == ".inf") return number_value(sign * HUGE_VAL);
  if (digits == ".nan") return "NaN";
  if (digits.find(':') == std::string_view::npos) {
    const std::optional<double> number = parse_double(digits);
    return number ? std::optional(number_value(sign * *number)) : std::nullopt;
  }
  const std::vector<std::string> parts = split(digits, ':');
  double sum = 0;
  double base = 1;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part, base *= 60) {
    const std::optional<double> number = parse_double(*part);
    if (!number) return std::nullopt;
    sum += *number * base;
  }
  return number_value(sign * sum);
}

Value boolean_value(std::string_view text) {
  const std::string word = lower(text);
  if (word == "yes" || word == "true" || word == "on") return true;
  if (word == "no" || word == "false" || word == "off") return false;
  return {};
}

/// The canonical base64 text of what `text` encodes, blanks ignored.
std::optional<Value> binary_value(std::string_view text) {
  std::string packed;
  for (const char c : text) {
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') packed += c;
  }
  const auto bytes = from_base64(packed);
  if (!bytes) return std::nullopt;
  return Value(base64(*bytes));  // the bits that the padding cuts off do not count
}

/// `2016-01-01`, `2016-01-01 10:00:00.5 +9`, …: milliseconds since the epoch.
std::optional<Value> timestamp_value(std::string_view text) {
  std::string_view rest = text;
  const auto number = [&](std::size_t least, std::size_t most) -> std::optional<int> {
    std::size_t digits = 0;
    while (digits < rest.size() && digits < most && is_digit(rest[digits])) ++digits;
    if (digits < least) return std::nullopt;
    int n = 0;
    std::from_chars(rest.data(), rest.data() + digits, n);
    rest.remove_prefix(digits);
    return n;
  };
  const auto take = [&](char c) { return rest.starts_with(c) ? (rest.remove_prefix(1), true) : false; };
  const auto blanks = [&] {
    const std::size_t before = rest.size();
    while (take(' ') || take('\t')) continue;
    return rest.size() != before;
  };
  const auto year = number(4, 4);
  if (!year || !take('-')) return std::nullopt;
  const auto month = number(1, 2);
  if (!month || !take('-')) return std::nullopt;
  const auto day = number(1, 2);
  if (!day || *month < 1 || *month > 12 || *day < 1 || *day > 31) return std::nullopt;
  LocalTime local{.year = *year, .month = *month, .day = 1};
  local = plus_days(local, *day - 1);  // the original's calendar is lenient: February 30 is March 1 or 2
  std::int64_t millis = 0;
  std::int64_t offset_minutes = 0;
  if (!rest.empty()) {
    if (!take('T') && !take('t') && !blanks()) return std::nullopt;
    const auto hour = number(1, 2);
    if (!hour || !take(':')) return std::nullopt;
    const auto minute = number(2, 2);
    if (!minute || !take(':')) return std::nullopt;
    const auto second = number(2, 2);
    if (!second) return std::nullopt;
    millis = ((*hour * 60 + *minute) * 60 + *second) * std::int64_t{1000};
    if (take('.')) {
      std::int64_t weight = 100;
      while (!rest.empty() && is_digit(rest[0])) {
        millis += (rest[0] - '0') * weight;
        weight /= 10;
        rest.remove_prefix(1);
      }
    }
    blanks();
    if (!take('Z') && !rest.empty()) {
      const bool west = rest.starts_with('-');
      if (!take('+') && !take('-')) return std::nullopt;
      const auto hours = number(1, 2);
      if (!hours) return std::nullopt;
      offset_minutes = std::int64_t{*hours} * 60;
      if (take(':')) offset_minutes += number(2, 2).value_or(0);
      if (west) offset_minutes = -offset_minutes;
    }
    if (!rest.empty()) return std::nullopt;
  }
  return Value(TimeZone().instant(local).millis + millis - offset_minutes * 60'000);
}

}  // namespace

ScalarType resolve_plain(std::string_view text) {
  if (text.empty()) return ScalarType::null;
  switch (text[0]) {
    case 't': return text == "true" ? ScalarType::boolean : ScalarType::string;
    case 'T': return text == "True" ? ScalarType::boolean : ScalarType::string;
    case 'f': return text == "false" ? ScalarType::boolean : ScalarType::string;
    case 'F': return text == "False" ? ScalarType::boolean : ScalarType::string;
    case 'n': return text == "null" ? ScalarType::null : ScalarType::string;
    case 'N': return text == "Null" || text == "NULL" ? ScalarType::null : ScalarType::string;
    case '~': return text.size() == 1 ? ScalarType::null : ScalarType::string;
    case '<': return text == "<<" ? ScalarType::merge : ScalarType::string;
    case '-':
    case '+':
    case '.': break;
    default:
      if (!is_digit(text[0])) return ScalarType::string;
  }
  if (is_integer(text)) return ScalarType::integer;
  return is_float(text) ? ScalarType::number : ScalarType::string;
}

std::optional<Value> plain_value(std::string_view text) {
  switch (resolve_plain(text)) {
    case ScalarType::null: return Value();
    case ScalarType::boolean: return Value(text == "true" || text == "True");
    case ScalarType::integer: return integer_value(text);
    case ScalarType::number: return float_value(text);
    case ScalarType::string:
    case ScalarType::merge: break;
  }
  return Value(text);
}

std::optional<Value> tagged_value(std::string_view tag, std::string_view text) {
  if (tag == "str" || tag == "merge") return Value(text);
  if (tag == "null") return Value();
  if (tag == "bool") return boolean_value(text);
  if (tag == "int") return integer_value(text);
  if (tag == "float") return float_value(text);
  if (tag == "binary") return binary_value(text);
  if (tag == "timestamp") return timestamp_value(text);
  return std::nullopt;
}

std::string_view doubtful_scalar(std::string_view text) {
  std::string_view digits = text;
  take_sign(digits);
  if (digits.size() < 2 || !is_digit(digits[0])) return {};
  const ScalarType type = resolve_plain(text);
  if (type == ScalarType::integer) {
    return digits[0] == '0' && digits[1] != 'x' && digits[1] != 'b' ? std::string_view("W-octal") : std::string_view();
  }
  if (type == ScalarType::number)
    return digits.find(':') != std::string_view::npos ? std::string_view("W-sexagesimal") : std::string_view();
  if (type != ScalarType::string || digits[0] != '0') return {};
  Cursor in(digits);
  in.take_digits_and_bars();
  const bool point = in.take('.');
  if (point) in.take_digits_and_bars();
  bool exponent = false;
  if (in.take('e') || in.take('E')) {
    in.take_sign();
    exponent = in.take_digits() > 0;
  }
  return in.end() && (point || exponent) ? std::string_view("W-number-string") : std::string_view();
}

}  // namespace digdag::dig
