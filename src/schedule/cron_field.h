#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace digdag::schedule {

/// One of the five fields of a cron pattern: its range, its names and how it is called in messages.
struct CronField {
  std::string_view name;  ///< `minutes`, `days of week`
  int least, most;
  std::vector<std::string_view> aliases;  ///< for the values from `first_alias` on
  int first_alias = 0;
  bool has_last_day = false;  ///< `L` is `last_day_value`
  int modulo = 0;             ///< weekdays: 7 is Sunday too

  static constexpr int last_day_value = 32;
};

/// The five fields in their order.
const std::vector<CronField>& cron_fields();

/// The values that a field's text matches, as bits. Throws Error(config): the part of the original's message from
/// `invalid field` on.
std::uint64_t parse_cron_field(const CronField& field, std::string_view text);

/// The non-empty parts of a text between any of these characters, as the original's tokenizer finds them.
std::vector<std::string_view> tokens(std::string_view text, std::string_view separators);

}  // namespace digdag::schedule
