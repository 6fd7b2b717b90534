#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace digdag::server {

/// `0.10.5.1`, `0.10.0-SNAPSHOT`, as versions of clients are compared (spec/rest-api.md 4): number by number, missing ones count as 0,
/// one with a qualifier is older than the same without, two qualifiers are compared as texts.
class ClientVersion {
 public:
  static std::optional<ClientVersion> parse(std::string_view text);
  friend std::weak_ordering operator<=>(const ClientVersion& a, const ClientVersion& b);

 private:
  std::vector<std::uint64_t> numbers_;  ///< without zeros at the end
  std::optional<std::string> qualifier_;
};

}  // namespace digdag::server
