#include "client/url.h"

#include <cctype>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "base/text.h"

namespace digdag::client {
namespace {

bool is_hex(char c) { return std::isxdigit(static_cast<unsigned char>(c)) != 0; }

/// The first byte that may not stand in a URI; nothing where all may.
std::optional<std::size_t> illegal_byte(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool escape = c == '%' && i + 2 < text.size() && is_hex(text[i + 1]) && is_hex(text[i + 2]);
    if ((c == '%' && !escape) || (c >= 0 && c <= ' ') || c == 0x7f || std::string_view("\"<>\\^`{|}").find(c) != std::string_view::npos)
      return i;
  }
  return std::nullopt;
}

std::string_view part_at(std::string_view text, std::size_t index) {
  const std::size_t query = text.find('?');
  const std::size_t fragment = text.find('#');
  if (fragment < index) return "fragment";
  if (query < index) return "query";
  const std::size_t authority = text.find("://");
  if (authority != std::string_view::npos && index > authority && text.find('/', authority + 3) > index) return "authority";
  return "path";
}

Error illegal(std::string message) { return Error("illegal argument", std::move(message)); }

int port_of(std::string_view text, int otherwise, std::string_view url) {
  if (text.empty()) return otherwise;
  int port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535)
    throw illegal("Illegal port '" + std::string(text) + "' in " + without_user_info(url));
  return port;
}

/// Where user, host and port begin and end; `begin` is 0 where there are none.
struct Authority {
  std::size_t begin = 0, end = 0;
};

Authority authority_of(std::string_view url) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) return {};
  return {colon + 3, std::min(url.find_first_of("/?#", colon + 3), url.size())};
}

}  // namespace

Url parse_url(std::string_view text) {
  if (const auto index = illegal_byte(text))
    throw illegal("Illegal character in " + std::string(part_at(text, *index)) + " at index " + std::to_string(*index) + ": " +
                  without_user_info(text));
  const Authority place = authority_of(text);
  Url url;
  url.scheme = place.begin == 0 ? "" : lower(text.substr(0, place.begin - 3));
  if (url.scheme != "http" && url.scheme != "https") throw illegal("URI must start with http:// or https://: " + without_user_info(text));
  std::string_view authority = text.substr(place.begin, place.end - place.begin);
  url.rest = text.substr(place.end);
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    url.user_info = authority.substr(0, at);
    authority.remove_prefix(at + 1);
  }
  const std::size_t bracket = authority.starts_with('[') ? authority.find(']') : std::string_view::npos;
  const std::size_t colon = authority.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view host = authority.substr(0, colon);
  url.host = lower(bracket == std::string_view::npos ? host : host.substr(1, bracket - 1));
  url.port =
      port_of(colon == std::string_view::npos ? std::string_view() : authority.substr(colon + 1), url.scheme == "https" ? 443 : 80, text);
  // An escape in a name is an address for some (`127%2e0.0.1`), and none for others.
  if (url.host.empty() || (bracket == std::string_view::npos && url.host.find('%') != std::string::npos))
    throw illegal("URI has no host: " + without_user_info(text));
  return url;
}

std::string without_user_info(std::string_view url) {
  const Authority place = authority_of(url);
  const std::size_t at = url.substr(0, place.end).rfind('@');
  if (place.begin == 0 || at == std::string_view::npos || at < place.begin) return std::string(url);
  return std::string(url.substr(0, place.begin)) + std::string(url.substr(at + 1));
}

std::string ascii_url(std::string_view url) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  const std::size_t rest = authority_of(url).end;  // a host is not encoded: it may be an international name
  std::string ascii(url.substr(0, rest));
  for (const char c : url.substr(rest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80) {
      ascii += c;
    } else {
      ascii += '%';
      ascii += digits[byte >> 4];
      ascii += digits[byte & 15];
    }
  }
  return ascii;
}

}  // namespace digdag::client
