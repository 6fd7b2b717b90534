#include "schedule/cron_field.h"

#include <limits>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/text.h"

namespace digdag::schedule {

namespace {

std::string quoted(std::string_view text) { return '"' + std::string(text) + '"'; }

/// Where a value was not understood: why.
struct ValueProblem {
  std::string why;
};

int parse_value(const CronField& field, std::string_view text) {
  const std::string word = lower(text);
  if (field.has_last_day && word == "l") return CronField::last_day_value;
  const auto number = parse_java_int(text);
  if (number && *number >= field.least && *number <= field.most) return field.modulo != 0 ? *number % field.modulo : *number;
  for (std::size_t i = 0; i < field.aliases.size(); ++i) {
    if (word == field.aliases[i]) return field.first_alias + static_cast<int>(i);
  }
  const std::string why = !field.aliases.empty() ? "invalid alias " + quoted(text)
                          : number               ? "value out of range"
                                                 : "invalid integer value";
  throw ValueProblem{"invalid range, invalid value " + quoted(text) + ", " + why};
}

/// `*`, `v` or `v-w`, as the list of its values: one that goes down wraps around.
std::vector<int> parse_range(const CronField& field, std::string_view text) {
  std::vector<int> values;
  const auto add = [&](int from, int to) {
    for (int value = from; value <= to; ++value) values.push_back(value);
  };
  if (text == "*") {
    add(field.least, field.most);
    return values;
  }
  const auto ends = tokens(text, "-");
  if (ends.empty() || ends.size() > 2) throw ValueProblem{"invalid range, syntax error"};
  const int first = parse_value(field, ends[0]);
  const int second = ends.size() == 2 ? parse_value(field, ends[1]) : first;
  if (first <= second) {
    add(first, second);
  } else {
    add(first, field.most);
    add(field.least, second);
  }
  return values;
}

int parse_step(std::string_view text) {
  const auto step = parse_java_int(text);
  if (!step) throw ValueProblem{"invalid divisor " + quoted(text)};
  if (*step < 1) throw ValueProblem{"non positive divisor " + quoted(std::to_string(*step))};
  return *step;
}

std::uint64_t parse_element(const CronField& field, std::string_view text) {
  const auto parts = tokens(text, "/");
  if (parts.empty() || parts.size() > 2) throw ValueProblem{"syntax error"};
  const auto values = parse_range(field, parts[0]);
  const auto step = static_cast<std::size_t>(parts.size() == 2 ? parse_step(parts[1]) : 1);
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < values.size(); i += step) bits |= std::uint64_t{1} << static_cast<unsigned>(values[i]);
  return bits;
}

}  // namespace

const std::vector<CronField>& cron_fields() {
  static const std::vector<CronField> fields = {
      {.name = "minutes", .least = 0, .most = 59, .aliases = {}},
      {.name = "hours", .least = 0, .most = 23, .aliases = {}},
      {.name = "days of month", .least = 1, .most = 31, .aliases = {}, .has_last_day = true},
      {.name = "months",
       .least = 1,
       .most = 12,
       .aliases = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
       .first_alias = 1},
      {.name = "days of week", .least = 0, .most = 7, .aliases = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, .modulo = 7},
  };
  return fields;
}

std::uint64_t parse_cron_field(const CronField& field, std::string_view text) {
  std::uint64_t bits = 0;
  bool any = false;
  for (const std::string_view element : tokens(text, ",")) {
    try {
      bits |= parse_element(field, element);
      any = true;
    } catch (const ValueProblem& problem) {
      throw config_error("invalid field " + quoted(text) + ", invalid element " + quoted(element) + ", " + problem.why);
    }
  }
  if (!any) throw config_error("invalid field " + quoted(text));
  return bits;
}

std::vector<std::string_view> tokens(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> found;
  for (std::size_t at = 0; (at = text.find_first_not_of(separators, at)) != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(separators, at), text.size());
    found.push_back(text.substr(at, end - at));
    at = end;
  }
  return found;
}

}  // namespace digdag::schedule
