#include <cstdlib>
#include <initializer_list>

#include "base/error.h"
#include "base/text.h"
#include "client/http.h"
#include "client/url.h"

namespace digdag::client {
namespace {

/// The first of these variables that is not blank.
std::optional<std::string> first_set(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    const char* value = std::getenv(name);
    if (value != nullptr && !is_blank(value)) return std::string(trim(value));
  }
  return std::nullopt;
}

}  // namespace

std::optional<HttpProxy> proxy_from_environment(std::string_view url, std::string* warning) {
  const bool https = lower(url.substr(0, 8)) == "https://";
  const auto text = https ? first_set({"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"}) : first_set({"http_proxy", "HTTP_PROXY"});
  if (!text) return std::nullopt;
  try {
    const Url proxy = parse_url(*text);
    const std::size_t colon = proxy.user_info.find(':');
    return HttpProxy{.host = proxy.host,
                     .port = proxy.port,
                     .tls = proxy.scheme == "https",
                     .user = percent_decode(proxy.user_info.substr(0, colon)),
                     .password = colon == std::string::npos ? "" : percent_decode(proxy.user_info.substr(colon + 1))};
  } catch (const Error& error) {
    if (warning != nullptr) *warning = "The proxy of the environment is ignored: " + error.message();
    return std::nullopt;
  }
}

}  // namespace digdag::client
