#include "client/address_rules.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>

#include "base/error.h"
#include "base/text.h"

namespace digdag::client {
namespace {

/// The bytes of a numeric address; empty where the text is none.
std::string bytes_of(const std::string& text) {
  char bytes[16];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) return {bytes, 4};
  if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) return {bytes, 16};
  return {};
}

std::string bytes_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) return {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr), 4};
  if (address.sa_family != AF_INET6) return {};
  const std::string bytes(reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr), 16);
  const std::string mapped = std::string(10, '\0') + "\xff\xff";
  return bytes.starts_with(mapped) ? bytes.substr(12) : bytes;
}

}  // namespace

bool is_allowed_host(std::string_view host, const std::vector<std::string>& allowed) {
  for (const std::string& entry : allowed) {
    const std::string pattern = lower(entry);
    if (host == pattern || (pattern.starts_with("*.") && host.ends_with(pattern.substr(1)))) return true;
  }
  return allowed.empty();
}

AddressRanges::AddressRanges(const std::vector<std::string>& cidrs) {
  for (const std::string& cidr : cidrs) {
    const std::size_t slash = cidr.find('/');
    Range range{bytes_of(cidr.substr(0, slash)), 0};
    range.bits = static_cast<unsigned>(range.bytes.size() * 8);
    bool good = !range.bytes.empty();
    if (slash != std::string::npos) {
      const char* end = cidr.data() + cidr.size();
      const auto [stop, error] = std::from_chars(cidr.data() + slash + 1, end, range.bits);
      good = good && error == std::errc() && stop == end && range.bits <= range.bytes.size() * 8;
    }
    if (!good) throw config_error("Not an address range: " + cidr).hint("write it as 10.0.0.0/8 or fc00::/7");
    ranges_.push_back(std::move(range));
  }
}

bool AddressRanges::contains(const sockaddr& address) const {
  const std::string bytes = bytes_of(address);
  for (const Range& range : ranges_) {
    if (range.bytes.size() != bytes.size()) continue;
    const unsigned whole = range.bits / 8, rest = range.bits % 8;
    if (bytes.compare(0, whole, range.bytes, 0, whole) != 0) continue;
    if (rest == 0 || ((static_cast<unsigned char>(bytes[whole]) ^ static_cast<unsigned char>(range.bytes[whole])) >> (8 - rest)) == 0)
      return true;
  }
  return false;
}

}  // namespace digdag::client
