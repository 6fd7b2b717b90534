// Doubles as Java and as JavaScript print them.
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/json.h"

namespace digdag {
namespace {

/// A positive finite number as 0.DIGITS x 10^point; digits without trailing zeros.
struct Decimal {
  std::string digits;
  int point;
};

/// The decimal with the fewest digits that is read back as `d`; of `at_least` digits (1 or 2) the nearest.
Decimal shortest_decimal(double d, int at_least) {
  char text[40];
  const char* end = std::to_chars(text, text + sizeof text, d, std::chars_format::scientific).ptr;
  if (at_least == 2 && text[1] == 'e') end = std::to_chars(text, text + sizeof text, d, std::chars_format::scientific, 1).ptr;
  const std::string_view scientific(text, static_cast<std::size_t>(end - text));
  const std::size_t e = scientific.find('e');
  Decimal decimal{std::string(1, scientific[0]), 1 + std::atoi(std::string(scientific.substr(e + 1)).c_str())};
  if (e > 2) decimal.digits += scientific.substr(2, e - 2);
  while (decimal.digits.size() > 1 && decimal.digits.back() == '0') decimal.digits.pop_back();
  return decimal;
}

/// `DIGITS` with a point after `point` digits, filled up with zeros on either side.
std::string positional(const Decimal& decimal) {
  const int size = static_cast<int>(decimal.digits.size());
  if (decimal.point <= 0) return "0." + std::string(static_cast<std::size_t>(-decimal.point), '0') + decimal.digits;
  if (decimal.point >= size) return decimal.digits + std::string(static_cast<std::size_t>(decimal.point - size), '0');
  return decimal.digits.substr(0, static_cast<std::size_t>(decimal.point)) + "." +
         decimal.digits.substr(static_cast<std::size_t>(decimal.point));
}

}  // namespace

std::string java_double(double d) {
  if (std::isnan(d)) return "NaN";
  const std::string sign = std::signbit(d) ? "-" : "";
  d = std::fabs(d);
  if (std::isinf(d)) return sign + "Infinity";
  if (d == 0) return sign + "0.0";
  const Decimal decimal = shortest_decimal(d, 2);
  if (d >= 1e-3 && d < 1e7) {
    const bool whole = decimal.point >= static_cast<int>(decimal.digits.size());
    return sign + positional(decimal) + (whole ? ".0" : "");
  }
  const std::string fraction = decimal.digits.size() > 1 ? decimal.digits.substr(1) : "0";
  return sign + decimal.digits[0] + "." + fraction + "E" + std::to_string(decimal.point - 1);
}

std::string js_number(double d) {
  if (!std::isfinite(d)) return "null";
  if (d == 0) return "0";
  const std::string sign = d < 0 ? "-" : "";
  const Decimal decimal = shortest_decimal(std::fabs(d), 1);
  if (decimal.point > -6 && decimal.point <= 21) return sign + positional(decimal);
  const int exponent = decimal.point - 1;
  const std::string fraction = decimal.digits.size() > 1 ? "." + decimal.digits.substr(1) : "";
  return sign + decimal.digits[0] + fraction + "e" + (exponent < 0 ? "-" : "+") + std::to_string(std::abs(exponent));
}

}  // namespace digdag
