#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace digdag::dig {

/// Milliseconds since the epoch of a local time, by decisions L-31: a time that a change skips moves forward, of a time that
/// comes twice the second is meant. Both counts are doubles as JavaScript's time values; NaN stays NaN.
double local_to_utc(double local_millis, const TimeZone& zone);
/// Milliseconds east of UTC at an instant.
double offset_millis(double utc_millis, const TimeZone& zone);

/// `Date.parse` (spec/language.md 8.5): the ISO form of ES5 (UTC where it names no zone), else what a person may write, in any
/// order that makes sense (`Mar 13 2016 10:00`, `2016/03/13`, `13 March 2016 10:00 GMT+0900`, `2016-03-13 10:00:00`), local
/// where it names no zone. NaN where it is no date.
double parse_date(std::string_view text, const TimeZone& zone);

/// `PDT`, `+09:00`: what stands in parentheses in Date's toString.
std::string zone_text(double utc_millis, const TimeZone& zone);

}  // namespace digdag::dig
