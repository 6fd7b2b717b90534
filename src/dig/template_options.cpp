#include "dig/template_options.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "base/config.h"
#include "base/error.h"
#include "base/text.h"

namespace digdag::dig {

TemplateOptions template_options(const SystemConfig& system) {
  TemplateOptions options;
  const std::string engine = system.get_or("eval.js-engine-type", "");
  options.extended_syntax = system.boolean_or("eval.extended-syntax", true) && engine != "nashorn";
  if (const auto timeout = system.get("eval.timeout"); timeout && !is_blank(*timeout)) {
    const auto seconds = parse_duration(*timeout);
    if (!seconds || *seconds < 1) throw config_error("eval.timeout must be a duration such as 10s: " + *timeout);
    constexpr std::int64_t endless = std::int64_t{30} * 24 * 60 * 60;  // deadlines of many evaluations are still times of a clock
    options.timeout_millis = std::min(*seconds, endless) * 1000;
  }
  options.memory_bytes = system.integer_or("eval.memory", options.memory_bytes);
  if (options.memory_bytes < (1 << 20) || options.memory_bytes > (std::int64_t{1} << 40))
    throw config_error("eval.memory must be bytes from 1048576 (1 MiB) to 1099511627776 (1 TiB): " + std::to_string(options.memory_bytes));
  const std::string stored = system.get_or("eval.stored-params", "code");
  if (stored == "all")
    options.stored_params = TemplateOptions::StoredParams::all;
  else if (stored == "none")
    options.stored_params = TemplateOptions::StoredParams::none;
  else if (stored != "code")
    throw config_error("eval.stored-params must be code, all or none: " + stored);
  return options;
}

}  // namespace digdag::dig
