#include "dig/java_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::dig {
namespace {

[[noreturn]] void fail(const std::string& what) { throw Error("illegal argument", what); }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// `%[index$][flags][width][.precision]conversion`
struct Specifier {
  std::string text;
  int index = 0;  ///< from 1; 0 = the next one, -1 = the last one again
  bool left = false, plus = false, blank = false, zero = false, group = false, parentheses = false, alternate = false;
  int width = -1;
  int precision = -1;
  char conversion = 0;
};

int number(std::string_view text, std::size_t& at) {
  int n = 0;
  while (at < text.size() && is_digit(text[at])) {
    n = n * 10 + (text[at++] - '0');
    if (n > 1'000'000) fail("a width or precision of a format is too big");
  }
  return n;
}

/// Reads what follows a `%` at `at`; leaves `at` behind it.
Specifier parse_specifier(std::string_view pattern, std::size_t& at) {
  Specifier spec;
  const std::size_t start = at++;
  const std::size_t back = at;
  if (at < pattern.size() && is_digit(pattern[at]) && pattern[at] != '0') {
    spec.index = number(pattern, at);
    if (at < pattern.size() && pattern[at] == '$') {
      ++at;
    } else {
      spec.index = 0;
      at = back;
    }
  }
  for (; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c == '<')
      spec.index = -1;
    else if (c == '-')
      spec.left = true;
    else if (c == '+')
      spec.plus = true;
    else if (c == ' ')
      spec.blank = true;
    else if (c == '0')
      spec.zero = true;
    else if (c == ',')
      spec.group = true;
    else if (c == '(')
      spec.parentheses = true;
    else if (c == '#')
      spec.alternate = true;
    else
      break;
  }
  if (at < pattern.size() && is_digit(pattern[at])) spec.width = number(pattern, at);
  if (at + 1 < pattern.size() && pattern[at] == '.' && is_digit(pattern[at + 1])) {
    ++at;
    spec.precision = number(pattern, at);
  }
  if (at >= pattern.size()) fail("UnknownFormatConversionException: Conversion = '%'");
  spec.conversion = pattern[at++];
  spec.text = std::string(pattern.substr(start, at - start));
  if ((spec.left || spec.zero) && spec.width < 0 && spec.conversion != 'n') fail("MissingFormatWidthException: " + spec.text);
  if ((spec.left && spec.zero) || (spec.plus && spec.blank)) fail("IllegalFormatFlagsException: " + spec.text);
  return spec;
}

std::string pad(std::string text, const Specifier& spec) {
  const std::size_t length = utf16_length(text);
  if (spec.width < 0 || length >= static_cast<std::size_t>(spec.width)) return text;
  const std::string blanks(static_cast<std::size_t>(spec.width) - length, ' ');
  return spec.left ? text + blanks : blanks + text;
}

std::string grouped(const std::string& digits) {
  const std::size_t point = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string out = digits;
  for (std::size_t i = point; i > 3; i -= 3) out.insert(i - 3, 1, ',');
  return out;
}

/// Sign, separators, zeros and width around the digits of a decimal number.
std::string decorate(bool negative, std::string digits, const Specifier& spec) {
  if (spec.group) digits = grouped(digits);
  const std::string before = negative ? (spec.parentheses ? "(" : "-") : spec.plus ? "+" : spec.blank ? " " : "";
  const std::string after = negative && spec.parentheses ? ")" : "";
  if (spec.zero) {
    const std::size_t length = before.size() + digits.size() + after.size();
    if (length < static_cast<std::size_t>(spec.width)) digits.insert(0, static_cast<std::size_t>(spec.width) - length, '0');
  }
  return pad(before + digits + after, spec);
}

bool is_whole(const Value& value) {
  if (value.is_integer()) return true;
  return value.is_numeric() && std::trunc(value.as_number()) == value.as_number() && std::fabs(value.as_number()) < 9.2e18;
}

std::string bad_conversion(const Specifier& spec, const Value& value) {
  const char* const type = value.is_string() ? "java.lang.String" : value.is_boolean() ? "java.lang.Boolean" : "java.lang.Double";
  return std::string("IllegalFormatConversionException: ") + spec.conversion + " != " + type;
}

/// The shortest decimal digits of a double and where their point is: 0.d1d2… times ten to the power of `point`.
struct Decimal {
  std::string digits;
  int point = 0;
};

Decimal decimal_of(double d) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  const std::string text(buffer, end);
  const std::size_t e = text.find('e');
  Decimal decimal;
  for (const char c : text.substr(0, e)) {
    if (is_digit(c)) decimal.digits += c;
  }
  decimal.point = std::stoi(text.substr(e + 1)) + 1;
  if (d == 0) decimal = {"0", 1};
  return decimal;
}

/// Keeps `count` digits; half is rounded up.
void round_digits(Decimal& decimal, int count) {
  if (count < 0) {
    decimal = {"0", 1};
    return;
  }
  const auto keep = static_cast<std::size_t>(count);
  if (decimal.digits.size() <= keep) return;
  const bool up = decimal.digits[keep] >= '5';
  decimal.digits.resize(keep);
  if (up) {
    std::size_t i = keep;
    while (i > 0 && decimal.digits[i - 1] == '9') decimal.digits[--i] = '0';
    if (i > 0) {
      ++decimal.digits[i - 1];
    } else {
      decimal.digits.insert(0, 1, '1');
      ++decimal.point;
    }
  }
  if (decimal.digits.empty()) decimal = {"0", 1};
}

std::string fixed(Decimal decimal, int precision) {
  round_digits(decimal, decimal.point + precision);
  std::string whole, fraction;
  for (int i = 0; i < std::max(decimal.point, 1); ++i) {
    const int place = i - std::max(decimal.point, 1) + decimal.point;
    whole += place >= 0 && static_cast<std::size_t>(place) < decimal.digits.size() ? decimal.digits[static_cast<std::size_t>(place)] : '0';
  }
  for (int i = 0; i < precision; ++i) {
    const int place = decimal.point + i;
    fraction +=
        place >= 0 && static_cast<std::size_t>(place) < decimal.digits.size() ? decimal.digits[static_cast<std::size_t>(place)] : '0';
  }
  return precision > 0 ? whole + "." + fraction : whole;
}

std::string scientific(Decimal decimal, int precision, bool zero) {
  round_digits(decimal, precision + 1);
  decimal.digits.resize(static_cast<std::size_t>(precision) + 1, '0');
  const int exponent = zero ? 0 : decimal.point - 1;
  std::string out = decimal.digits.substr(0, 1);
  if (precision > 0) out += "." + decimal.digits.substr(1);
  const std::string digits = std::to_string(std::abs(exponent));
  return out + "e" + (exponent < 0 ? "-" : "+") + (digits.size() < 2 ? "0" : "") + digits;
}

std::string floating(const Specifier& spec, const Value& value) {
  if (!value.is_numeric()) fail(bad_conversion(spec, value));
  if (spec.alternate) fail("the flag # is not supported in " + spec.text);
  const double d = value.as_number();
  if (!std::isfinite(d)) {
    Specifier plain = spec;
    plain.zero = plain.group = false;
    return decorate(d < 0, std::isnan(d) ? "NaN" : "Infinity", plain);
  }
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  const bool negative = std::signbit(d);
  const Decimal decimal = decimal_of(std::fabs(d));
  switch (spec.conversion) {
    case 'f': return decorate(negative, fixed(decimal, precision), spec);
    case 'e':
    case 'E': return decorate(negative, scientific(decimal, precision, d == 0), spec);
    default: {
      const int significant = precision == 0 ? 1 : precision;
      Decimal rounded = decimal;
      round_digits(rounded, significant);
      const bool plain = d == 0 || (rounded.point > -4 && rounded.point <= significant);
      return decorate(
          negative,
          plain ? fixed(decimal, d == 0 ? significant - 1 : significant - rounded.point) : scientific(decimal, significant - 1, false),
          spec);
    }
  }
}

std::string integer(const Specifier& spec, const Value& value) {
  if (!is_whole(value)) fail(bad_conversion(spec, value));
  const auto n = value.is_integer() ? value.as_integer() : static_cast<std::int64_t>(value.as_number());
  if (spec.precision >= 0) fail("IllegalFormatPrecisionException: " + std::to_string(spec.precision));
  if (spec.conversion == 'd') {
    const std::string digits = std::to_string(n);
    return decorate(n < 0, n < 0 ? digits.substr(1) : digits, spec);
  }
  // Negative ones as Java's Integer or Long shows its bits.
  const bool fits_int = n >= INT32_MIN && n <= INT32_MAX;
  const std::uint64_t bits = fits_int && n < 0 ? static_cast<std::uint32_t>(n) : static_cast<std::uint64_t>(n);
  char buffer[32];
  const int base = spec.conversion == 'o' ? 8 : 16;
  std::string digits(buffer, std::to_chars(buffer, buffer + sizeof buffer, bits, base).ptr);
  const std::string prefix = spec.alternate ? (base == 8 ? "0" : "0x") : "";
  if (spec.zero && prefix.size() + digits.size() < static_cast<std::size_t>(spec.width)) {
    digits.insert(0, static_cast<std::size_t>(spec.width) - prefix.size() - digits.size(), '0');
  }
  return pad(prefix + digits, spec);
}

std::string text_of(const Value& value) {
  switch (value.kind()) {
    case Kind::null: return "null";
    case Kind::boolean: return value.as_boolean() ? "true" : "false";
    case Kind::string: return value.as_string();
    default:
      return is_whole(value) && std::fabs(value.as_number()) <= 9007199254740992.0
                 ? std::to_string(static_cast<std::int64_t>(value.as_number()))
                 : java_double(value.as_number());
  }
}

std::string general(const Specifier& spec, std::string text) {
  if (spec.precision >= 0) text = first_utf16_units(text, static_cast<std::size_t>(spec.precision));
  return pad(std::move(text), spec);
}

std::string upper(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return text;
}

std::string character(const Specifier& spec, const Value& value) {
  if (value.is_string() && utf16_length(value.as_string()) == 1) return pad(value.as_string(), spec);
  if (!is_whole(value)) fail(bad_conversion(spec, value));
  const double point = value.as_number();
  if (point < 0 || point > 0x10ffff) fail("IllegalFormatCodePointException: Code point = " + text_of(value));
  const auto p = static_cast<unsigned>(point);
  std::string utf8;
  if (p < 0x80) {
    utf8 += static_cast<char>(p);
  } else if (p < 0x800) {
    utf8 += static_cast<char>(0xc0 | (p >> 6));
    utf8 += static_cast<char>(0x80 | (p & 0x3f));
  } else {
    if (p >= 0x10000) utf8 += static_cast<char>(0xf0 | (p >> 18));
    utf8 += static_cast<char>(p >= 0x10000 ? 0x80 | ((p >> 12) & 0x3f) : 0xe0 | (p >> 12));
    utf8 += static_cast<char>(0x80 | ((p >> 6) & 0x3f));
    utf8 += static_cast<char>(0x80 | (p & 0x3f));
  }
  return pad(to_valid_utf8(utf8), spec);
}

std::int32_t hash_code(const Value& value) {
  if (value.is_boolean()) return value.as_boolean() ? 1231 : 1237;
  if (is_whole(value) && std::fabs(value.as_number()) < 2147483648.0) return static_cast<std::int32_t>(value.as_number());
  if (!value.is_string()) fail("%h of this value is not supported");
  std::uint32_t hash = 0;
  for (const char c : value.as_string()) {
    if (static_cast<unsigned char>(c) >= 0x80) fail("%h of a text beyond ASCII is not supported");
    hash = hash * 31 + static_cast<unsigned char>(c);
  }
  return static_cast<std::int32_t>(hash);
}

std::string convert(const Specifier& spec, const Value& value) {
  switch (spec.conversion) {
    case 's':
    case 'S': return general(spec, text_of(value));
    case 'b':
    case 'B': return general(spec, value.is_null() || (value.is_boolean() && !value.as_boolean()) ? "false" : "true");
    default: break;
  }
  if (value.is_null()) return general(spec, "null");
  switch (spec.conversion) {
    case 'd':
    case 'x':
    case 'X':
    case 'o': return integer(spec, value);
    case 'f':
    case 'e':
    case 'E':
    case 'g':
    case 'G': return floating(spec, value);
    case 'c':
    case 'C': return character(spec, value);
    case 'h':
    case 'H': {
      char buffer[16];
      const auto end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<std::uint32_t>(hash_code(value)), 16).ptr;
      return general(spec, std::string(buffer, end));
    }
    case 't':
    case 'T': fail("the format %t (dates) is not supported; use moment");
    default: fail(std::string("UnknownFormatConversionException: Conversion = '") + spec.conversion + "'");
  }
}

}  // namespace

std::string java_format(std::string_view pattern, const std::vector<Value>& arguments) {
  std::string out;
  std::size_t ordinary = 0, last = 0;
  for (std::size_t at = 0; at < pattern.size();) {
    if (pattern[at] != '%') {
      out += pattern[at++];
      continue;
    }
    const Specifier spec = parse_specifier(pattern, at);
    if (spec.conversion == 'n' || spec.conversion == '%') {
      out += spec.conversion == 'n' ? "\n" : pad("%", spec);
      continue;
    }
    const std::size_t which = spec.index > 0 ? static_cast<std::size_t>(spec.index) : spec.index < 0 ? last : ++ordinary;
    if (which == 0 || which > arguments.size()) fail("MissingFormatArgumentException: Format specifier '" + spec.text + "'");
    last = which;
    const std::string text = convert(spec, arguments[which - 1]);
    const bool uppercase = spec.conversion >= 'A' && spec.conversion <= 'Z';
    out += uppercase ? upper(text) : text;
  }
  return out;
}

}  // namespace digdag::dig
