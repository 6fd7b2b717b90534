// Any bytes are either refused with an error or become keys and values that are text and can be used as parameters.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/properties.h"
#include "base/text.h"

using namespace digdag;

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}

void check(const std::vector<std::pair<std::string, std::string>>& entries) {
  SystemConfig config;
  Value params = Value::object();
  for (const auto& [key, value] : entries) {
    require(is_valid_utf8(key) && is_valid_utf8(value));
    config.set(key, value);
    require(config.get(key) == value);
    try {
      config.integer_or(key, 0);
    } catch (const Error& error) {
      require(is_valid_utf8(error.report()));
    }
    try {
      set_nested(params, key, value);
    } catch (const Error&) {  // a conflict of keys
    }
  }
  require(is_valid_utf8(to_json(params)));
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const bool latin1 : {true, false}) {
    try {
      check(parse_properties(text, latin1));
    } catch (const Error& error) {
      require(error.kind() == "illegal argument");
    }
  }
  return 0;
}
