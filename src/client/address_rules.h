#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

namespace digdag::client {

/// Whether a host (in lower case) is one of these names, or below one of the form `*.example.org`. An empty list allows all.
bool is_allowed_host(std::string_view host, const std::vector<std::string>& allowed);

/// Address ranges such as `10.0.0.0/8` and `fc00::/7`; an address alone is a range of one.
class AddressRanges {
 public:
  /// Error(config) where one is no range.
  explicit AddressRanges(const std::vector<std::string>& cidrs);
  /// IPv4 addresses that are mapped into IPv6 count as IPv4. The unspecified address, `0.0.0.0` or `::`, leads to this
  /// machine: it counts as the loopback address, too.
  bool contains(const sockaddr& address) const;
  /// Whether a host is written as an address, in any form that network functions take (`127.1`, `0x7f000001`), and is one of
  /// these; a name never is.
  bool contains(const std::string& host) const;
  bool empty() const { return ranges_.empty(); }

 private:
  struct Range {
    std::string bytes;  ///< 4 or 16
    unsigned bits;
  };
  bool contains_bytes(const std::string& bytes) const;

  std::vector<Range> ranges_;
};

}  // namespace digdag::client
