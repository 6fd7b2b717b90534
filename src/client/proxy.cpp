#include <cstdlib>
#include <initializer_list>

#include "base/error.h"
#include "base/text.h"
#include "client/address_rules.h"
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

/// Whether `no_proxy` names this host (in lower case), as curl reads it: entries between commas and blanks; a leading dot
/// changes nothing.
bool goes_directly(std::string_view host, const std::string& no_proxy) {
  if (host.ends_with('.')) host.remove_suffix(1);
  for (const std::string& word : split(replace_all(lower(no_proxy), " ", ","), ',')) {
    std::string_view entry = trim(word);
    if (entry == "*") return true;
    if (entry.starts_with('.')) entry.remove_prefix(1);
    if (entry.ends_with('.')) entry.remove_suffix(1);
    if (entry.starts_with('[') && entry.ends_with(']')) entry = entry.substr(1, entry.size() - 2);
    if (entry.empty()) continue;
    if (host == entry || host.ends_with('.' + std::string(entry))) return true;
    try {
      if (entry.find('/') != std::string_view::npos && AddressRanges({std::string(entry)}).contains(std::string(host))) return true;
    } catch (const Error&) {
      // No range of addresses, and no host either.
    }
  }
  return false;
}

}  // namespace

std::optional<HttpProxy> proxy_from_environment(std::string_view url, std::string* warning) {
  const bool https = lower(url.substr(0, 8)) == "https://";
  const auto text = https ? first_set({"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"}) : first_set({"http_proxy", "HTTP_PROXY"});
  if (!text) return std::nullopt;
  if (const auto no_proxy = first_set({"no_proxy", "NO_PROXY"}); no_proxy && goes_directly(parse_url(url).host, *no_proxy))
    return std::nullopt;
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
