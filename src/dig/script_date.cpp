#include "dig/script_date.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <limits>

#include "dig/script_state.h"

namespace digdag::dig {
namespace {

constexpr double day_millis = 86'400'000;
constexpr double most_millis = 8.64e15;
const double nan_value = std::numeric_limits<double>::quiet_NaN();

// ---- time values -------------------------------------------------------------------------------------------------------

double time_clip(double millis) {
  if (!std::isfinite(millis) || std::fabs(millis) > most_millis) return nan_value;
  return std::trunc(millis) + 0.0;
}

/// Days since the epoch of the first of a month; `month` may be outside of 0…11.
double days_of_month(double year, double month) {
  year += std::floor(month / 12);
  const double in_year = month - 12 * std::floor(month / 12);
  // Years begin in March, so that the leap day is the last.
  const double y = in_year < 2 ? year - 1 : year;
  const double era = std::floor(y / 400);
  const double year_of_era = y - era * 400;
  const double march_month = in_year < 2 ? in_year + 10 : in_year - 2;
  const double day_of_year = std::floor((153 * march_month + 2) / 5);
  return era * 146'097 + year_of_era * 365 + std::floor(year_of_era / 4) - std::floor(year_of_era / 100) + day_of_year - 719'468;
}

struct Fields {
  // year, month (0…11), day, hours, minutes, seconds, milliseconds
  std::array<double, 7> at{1970, 0, 1, 0, 0, 0, 0};
  double weekday = 4;
};

double millis_of(const Fields& fields) {
  for (const double field : fields.at) {
    if (!std::isfinite(field)) return nan_value;
  }
  std::array<double, 7> f{};
  for (std::size_t i = 0; i < f.size(); ++i) f[i] = std::trunc(fields.at[i]);
  return (days_of_month(f[0], f[1]) + f[2] - 1) * day_millis + f[3] * 3'600'000 + f[4] * 60'000 + f[5] * 1000 + f[6];
}

Fields fields_of(double millis) {
  Fields fields;
  const double days = std::floor(millis / day_millis);
  double rest = millis - days * day_millis;
  fields.weekday = days + 4 - 7 * std::floor((days + 4) / 7);
  double year = 1970 + std::floor(days / 365.2425);
  while (days_of_month(year + 1, 0) <= days) ++year;
  while (days_of_month(year, 0) > days) --year;
  double month = 11;
  while (days_of_month(year, month) > days) --month;
  fields.at = {year, month, days - days_of_month(year, month) + 1, 0, 0, 0, 0};
  for (const auto& [place, unit] : {std::pair<std::size_t, double>{3, 3'600'000}, {4, 60'000}, {5, 1000}, {6, 1}}) {
    fields.at[place] = std::floor(rest / unit);
    rest -= fields.at[place] * unit;
  }
  return fields;
}

// ---- native functions --------------------------------------------------------------------------------------------------

/// The time value of the Date that `this` is; TypeError where it is none.
double this_time(duk_context* js) {
  duk_push_global_stash(js);
  duk_get_prop_string(js, -1, "getTime");
  duk_push_this(js);
  duk_call_method(js, 0);
  const double millis = duk_get_number(js, -1);
  duk_pop_2(js);
  return millis;
}

const TimeZone& zone_of(duk_context* js) { return ScriptEngine::State::of(js).zone; }

double this_local(duk_context* js) {
  const double millis = this_time(js);
  return std::isnan(millis) ? millis : millis + offset_millis(millis, zone_of(js));
}

double clock_now(duk_context* js) {
  ScriptEngine::State::of(js).pure = false;
  return std::floor(duk_get_now(js));
}

enum Part : int {
  year_part,
  month_part,
  date_part,
  hours_part,
  minutes_part,
  seconds_part,
  millis_part,
  day_part,
  short_year_part,
  offset_part
};

duk_ret_t get_part(duk_context* js) {
  const int part = duk_get_current_magic(js);
  if (part == offset_part) {
    const double millis = this_time(js);
    duk_push_number(js, std::isnan(millis) ? millis : 0.0 - offset_millis(millis, zone_of(js)) / 60'000);
    return 1;
  }
  const double local = this_local(js);
  if (std::isnan(local)) {
    duk_push_nan(js);
    return 1;
  }
  const Fields fields = fields_of(local);
  duk_push_number(js, part == day_part          ? fields.weekday
                      : part == short_year_part ? fields.at[0] - 1900
                                                : fields.at[static_cast<std::size_t>(part)]);
  return 1;
}

double full_year(double year) {
  const double whole = std::trunc(year);
  return whole >= 0 && whole <= 99 ? 1900 + whole : year;
}

/// setHours(h, m, s, ms) and its like: the first argument sets the part of the magic number, further ones the parts after it,
/// as far as they are of the same family (date or time of day).
duk_ret_t set_part(duk_context* js) {
  const int magic = duk_get_current_magic(js);
  const auto first = static_cast<std::size_t>(magic == short_year_part ? static_cast<int>(year_part) : magic);
  const std::size_t most = magic == short_year_part ? 1 : first <= date_part ? date_part + 1 - first : millis_part + 1 - first;
  double local = this_local(js);
  if (std::isnan(local) && first == year_part) local = 0;
  Fields fields = std::isnan(local) ? Fields{} : fields_of(local);
  const auto given = static_cast<std::size_t>(duk_get_top(js));
  for (std::size_t i = 0; i < most && (i < given || i == 0); ++i) {
    const double value = i < given ? duk_to_number(js, static_cast<duk_idx_t>(i)) : nan_value;
    fields.at[first + i] = magic == short_year_part ? full_year(value) : value;
  }
  const double millis = std::isnan(local) ? nan_value : time_clip(local_to_utc(millis_of(fields), zone_of(js)));
  duk_push_this(js);
  duk_push_string(js, "setTime");
  duk_push_number(js, millis);
  duk_call_prop(js, -3, 1);
  return 1;
}

enum Form : int { whole_form, date_form, time_form, utc_form, iso_date_form };

std::string print_date(double millis, Form form, const TimeZone& zone) {
  if (std::isnan(millis)) return "Invalid Date";
  static constexpr const char* days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const double offset = form == utc_form ? 0 : offset_millis(millis, zone);
  const Fields fields = fields_of(millis + offset);
  const auto whole = [&](std::size_t i) { return static_cast<int>(fields.at[i]); };
  const char* const day = days[static_cast<int>(fields.weekday)];
  const char* const month = months[whole(1)];
  char text[128];
  if (form == utc_form) {
    std::snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", day, whole(2), month, whole(0), whole(3), whole(4), whole(5));
    return text;
  }
  if (form == iso_date_form) {
    std::snprintf(text, sizeof text, "%04d-%02d-%02d", whole(0), whole(1) + 1, whole(2));
    return text;
  }
  std::string out;
  if (form != time_form) {
    std::snprintf(text, sizeof text, "%s %s %02d %04d", day, month, whole(2), whole(0));
    out = text;
  }
  if (form == date_form) return out;
  const int minutes = static_cast<int>(std::fabs(offset) / 60'000);
  std::snprintf(text, sizeof text, "%s%02d:%02d:%02d GMT%c%02d%02d", out.empty() ? "" : " ", whole(3), whole(4), whole(5),
                offset < 0 ? '-' : '+', minutes / 60, minutes % 60);
  return out + text + " (" + zone_text(millis, zone) + ")";
}

duk_ret_t print_this(duk_context* js) {
  push_text(js, print_date(this_time(js), static_cast<Form>(duk_get_current_magic(js)), zone_of(js)));
  return 1;
}

double time_of_arguments(duk_context* js, duk_idx_t count) {
  if (count == 0) return clock_now(js);
  if (count == 1) {
    duk_push_global_stash(js);
    duk_get_prop_string(js, -1, "Date");
    const bool is_date = duk_instanceof(js, 0, -1) != 0;
    duk_pop_2(js);
    if (is_date) {
      duk_push_string(js, "getTime");
      duk_call_prop(js, 0, 0);
      return duk_to_number(js, -1);
    }
    duk_to_primitive(js, 0, DUK_HINT_NONE);
    if (duk_is_string(js, 0)) return parse_date(text_at(js, 0), zone_of(js));
    return time_clip(duk_to_number(js, 0));
  }
  Fields fields;
  for (duk_idx_t i = 0; i < count && i < 7; ++i) {
    const double value = duk_to_number(js, i);
    fields.at[static_cast<std::size_t>(i)] = i == 0 ? full_year(value) : value;
  }
  return time_clip(local_to_utc(millis_of(fields), zone_of(js)));
}

duk_ret_t construct(duk_context* js) {
  const duk_idx_t count = duk_get_top(js);
  if (!duk_is_constructor_call(js)) {
    push_text(js, print_date(clock_now(js), whole_form, zone_of(js)));
    return 1;
  }
  const double millis = time_of_arguments(js, count);
  duk_push_global_stash(js);
  duk_get_prop_string(js, -1, "Date");
  duk_push_number(js, millis);
  duk_new(js, 1);
  return 1;
}

duk_ret_t date_now(duk_context* js) {
  duk_push_number(js, clock_now(js));
  return 1;
}

duk_ret_t date_parse(duk_context* js) {
  duk_to_string(js, 0);
  duk_push_number(js, parse_date(text_at(js, 0), zone_of(js)));
  return 1;
}

void define(duk_context* js, const char* name, duk_c_function function, int magic = 0, duk_idx_t arguments = DUK_VARARGS) {
  duk_push_string(js, name);
  duk_push_c_function(js, function, arguments);
  duk_set_magic(js, -1, magic);
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
}

struct Named {
  const char* name;
  int magic;
};
constexpr Named getters[] = {{"getFullYear", year_part},        {"getMonth", month_part},     {"getDate", date_part},
                             {"getHours", hours_part},          {"getMinutes", minutes_part}, {"getSeconds", seconds_part},
                             {"getMilliseconds", millis_part},  {"getDay", day_part},         {"getYear", short_year_part},
                             {"getTimezoneOffset", offset_part}};
constexpr Named setters[] = {{"setFullYear", year_part},       {"setMonth", month_part},     {"setDate", date_part},
                             {"setHours", hours_part},         {"setMinutes", minutes_part}, {"setSeconds", seconds_part},
                             {"setMilliseconds", millis_part}, {"setYear", short_year_part}};
constexpr Named printers[] = {{"toString", whole_form},
                              {"toDateString", date_form},
                              {"toTimeString", time_form},
                              {"toLocaleString", whole_form},
                              {"toLocaleDateString", iso_date_form},
                              {"toLocaleTimeString", time_form},
                              {"toUTCString", utc_form},
                              {"toGMTString", utc_form}};

}  // namespace

double offset_millis(double utc_millis, const TimeZone& zone) {
  return 1000.0 * zone.offset_at(Instant{static_cast<std::int64_t>(std::floor(utc_millis))});
}

double local_to_utc(double local_millis, const TimeZone& zone) {
  if (!std::isfinite(local_millis) || std::fabs(local_millis) > most_millis + 2 * day_millis) return nan_value;
  // The offsets a day earlier and a day later are those before and after a change, if one is near. The smaller one gives the
  // later instant: the second of two, and of none the one that lies past the gap.
  const double before = offset_millis(local_millis - day_millis, zone);
  const double after = offset_millis(local_millis + day_millis, zone);
  const double with_before = local_millis - before, with_after = local_millis - after;
  const bool before_fits = offset_millis(with_before, zone) == before;
  const bool after_fits = offset_millis(with_after, zone) == after;
  if (before_fits && after_fits) return std::fmax(with_before, with_after);
  if (after_fits) return with_after;
  return with_before;  // it fits, or the time was skipped and moves forward
}

std::string zone_text(double utc_millis, const TimeZone& zone) {
  const std::string& id = zone.id();
  // The abbreviations of a region stand in the time zone database, which libc reads (ScriptEngine::use_zone).
  if (id.find('/') == std::string::npos) return id;
  const auto seconds = static_cast<std::time_t>(std::floor(utc_millis / 1000));
  std::tm local{};
  if (!localtime_r(&seconds, &local) || !local.tm_zone) return id;
  return local.tm_zone;
}

void install_date(duk_context* js) {
  duk_push_global_stash(js);          // [stash]
  duk_get_global_string(js, "Date");  // [stash Date]
  duk_dup_top(js);
  duk_put_prop_string(js, -3, "Date");
  duk_get_prop_string(js, -1, "prototype");  // [stash Date prototype]
  duk_get_prop_string(js, -1, "getTime");
  duk_put_prop_string(js, -4, "getTime");
  for (const Named& getter : getters) define(js, getter.name, get_part, getter.magic, 0);
  for (const Named& setter : setters) define(js, setter.name, set_part, setter.magic);
  for (const Named& printer : printers) define(js, printer.name, print_this, printer.magic, 0);
  define(js, "constructor", construct, 0, DUK_VARARGS);

  duk_get_prop_string(js, -1, "constructor");  // [stash Date prototype constructor]
  duk_push_string(js, "prototype");
  duk_dup(js, -3);
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_CLEAR_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_CLEAR_CONFIGURABLE);
  duk_push_string(js, "name");
  duk_push_string(js, "Date");
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE);
  duk_push_string(js, "UTC");
  duk_get_prop_string(js, -4, "UTC");
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
  define(js, "now", date_now, 0, 0);
  define(js, "parse", date_parse, 0, 1);
  duk_push_global_object(js);
  duk_push_string(js, "Date");
  duk_dup(js, -3);
  duk_def_prop(js, -3, DUK_DEFPROP_HAVE_VALUE | DUK_DEFPROP_SET_WRITABLE | DUK_DEFPROP_CLEAR_ENUMERABLE | DUK_DEFPROP_SET_CONFIGURABLE);
  duk_pop_n(js, 5);
}

}  // namespace digdag::dig
