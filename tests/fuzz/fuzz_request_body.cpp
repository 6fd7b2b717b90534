// Bodies of the REST API: whatever somebody sends is a value or an HttpError(400).
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
#include "server/body.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using digdag::server::Body;
  using digdag::server::HttpError;
  digdag::Value value;
  try {
    value = digdag::parse_json({reinterpret_cast<const char*>(data), size});
  } catch (const digdag::Error&) {
    return 0;
  }
  if (!value.is_object()) return 0;
  const Body body(value);
  const auto try_to = [](auto read) {
    try {
      read();
    } catch (const HttpError& error) {
      if (error.status() != 400) __builtin_trap();
    }
  };
  for (const auto& member : value.as_object()) {
    const std::string_view name = member.key;
    if (!body.has(name)) continue;
    try_to([&] { body.id(name); });
    try_to([&] { body.text(name); });
    try_to([&] { body.flag(name); });
    try_to([&] { body.instant(name); });
    try_to([&] { body.object(name); });
    try_to([&] { body.optional_int(name); });
    try_to([&] { body.optional_time(name); });
  }
  return 0;
}
