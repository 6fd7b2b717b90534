// What a client sends as a target, a query or an encoded body is decoded within its limits and leads to an answer, whatever it is.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/text.h"
#include "server/content_coding.h"
#include "server/router.h"

using namespace digdag;
using namespace digdag::server;

namespace {
void require(bool holds) {
  if (!holds) std::abort();
}

const Router& routes() {
  static const Router router = [] {
    Router made;
    const auto add = [&](std::string method, std::string pattern, Consumes consumes) {
      made.add({.method = std::move(method), .pattern = std::move(pattern), .handler = {}, .action = "any", .consumes = consumes});
    };
    add("GET", "/api/projects", Consumes::anything);
    add("PUT", "/api/projects", Consumes::gzip);
    add("GET", "/api/projects/{id:int}/workflows/{name}", Consumes::anything);
    add("POST", "/api/attempts/{id:long}/kill", Consumes::json);
    return made;
  }();
  return router;
}

/// What the decoders give back, or refuse with an error of their own.
template <typename Call>
void refusing(Call call) {
  try {
    call();
  } catch (const HttpError& error) {
    require(error.status() == 400 || error.status() == 404);
  } catch (const Error& error) {
    require(status_of(error) == 400);
  }
}

void ask(std::string_view target, std::string_view header) {
  for (const std::string_view method : {"GET", "PUT", "POST", "OPTIONS"}) {
    Request request;
    request.method = method;
    request.headers = {{"Content-Type", std::string(header)}, {"Accept", std::string(header)}};
    if (!set_target(request, target)) return;
    const Router::Found found = routes().find(request);
    require((found.route == nullptr) == found.answer.has_value());
    for (const auto& [name, value] : request.parameters) {
      require(is_valid_utf8(value));
      refusing([&] { request.parameter(name); });
      if (found.route != nullptr && name == "id") request.number(name);
    }
    for (const std::string_view name : {"name", "count", ""}) {
      refusing([&] { request.query.text(name); });
      refusing([&] { request.query.int32(name); });
      refusing([&] { request.query.int64(name); });
      for (const std::string& value : request.query.all(name)) require(is_valid_utf8(value));
    }
  }
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(bytes.find('\n'), bytes.size());
  ask(bytes.substr(0, end), bytes.substr(std::min(end + 1, bytes.size())));
  preferred_coding(bytes);
  for (const Coding coding : {Coding::gzip, Coding::deflate}) {
    refusing([&] {
      const std::optional<std::string> body = decode(bytes, coding, 10'000);
      require(!body || body->size() <= 10'000);
    });
    const std::string encoded = encode(bytes, coding);
    require(decode(encoded, coding, size) == bytes);
  }
  refusing([&] {
    Request request;
    request.body = bytes;
    require(request.json_object().is_object());
  });
  return 0;
}
