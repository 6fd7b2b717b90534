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

/// IPv4 where it was mapped into IPv6.
std::string unmapped(const std::string& bytes) {
  const std::string prefix = std::string(10, '\0') + "\xff\xff";
  return bytes.size() == 16 && bytes.starts_with(prefix) ? bytes.substr(12) : bytes;
}

std::string bytes_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) return {reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in&>(address).sin_addr), 4};
  if (address.sa_family != AF_INET6) return {};
  return unmapped({reinterpret_cast<const char*>(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr), 16});
}

std::string bytes_of_host(std::string host) {
  while (host.ends_with('.')) host.pop_back();
  in_addr loose{};
  if (const std::string bytes = bytes_of(host.substr(0, host.find('%'))); !bytes.empty()) return unmapped(bytes);
  return inet_aton(host.c_str(), &loose) != 0 ? std::string(reinterpret_cast<const char*>(&loose), 4) : std::string();
}

/// The loopback address of the unspecified one; empty for others.
std::string loopback_of(const std::string& bytes) {
  if (bytes.size() == 4 && bytes[0] == '\0') return {'\x7f', '\0', '\0', '\x01'};  // all of 0.0.0.0/8 is "this host"
  if (bytes == std::string(16, '\0')) return std::string(15, '\0') + '\x01';
  return {};
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
  return contains_bytes(bytes) || contains_bytes(loopback_of(bytes));
}

bool AddressRanges::contains(const std::string& host) const {
  const std::string bytes = bytes_of_host(host);
  return contains_bytes(bytes) || contains_bytes(loopback_of(bytes));
}

bool AddressRanges::contains_bytes(const std::string& bytes) const {
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
