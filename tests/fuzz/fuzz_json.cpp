// Any text is either refused with an error or becomes a value that is the same after being written and read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

using namespace digdag;

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}

void check(const Value& value) {
  const std::string written = to_json(value);
  require(is_valid_utf8(written));
  const Value again = parse_json(written);
  require(to_json(again) == written);
  require(to_json(parse_json_prefix(written + " x")) == written);
  require(to_yaml(value, 2).ends_with('\n'));
  require(is_valid_utf8(java_text(value)));
  Value merged = value;
  merge(merged, again);
  merge_default(merged, value);
  require(merged == again);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check(parse_json(text));
  } catch (const Error& error) {
    require(error.kind() == "parser" && is_valid_utf8(error.report()));
  }
  try {
    parse_json_prefix(text);
  } catch (const Error&) {
  }
  return 0;
}
