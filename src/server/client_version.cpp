#include "server/client_version.h"

#include <charconv>

#include "base/text.h"

namespace digdag::server {

std::optional<ClientVersion> ClientVersion::parse(std::string_view text) {
  ClientVersion version;
  const std::size_t dash = text.find('-');
  if (dash != std::string_view::npos) {
    version.qualifier_ = text.substr(dash + 1);
    text = text.substr(0, dash);
  }
  for (const std::string& part : split(text, '.')) {
    std::uint64_t number = 0;
    const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (part.empty() || failure != std::errc() || end != part.data() + part.size()) return std::nullopt;
    version.numbers_.push_back(number);
  }
  while (!version.numbers_.empty() && version.numbers_.back() == 0) version.numbers_.pop_back();
  return version;
}

std::weak_ordering operator<=>(const ClientVersion& a, const ClientVersion& b) {
  if (const auto order = a.numbers_ <=> b.numbers_; std::is_neq(order)) return order;
  if (a.qualifier_ && b.qualifier_) return *a.qualifier_ <=> *b.qualifier_;
  return b.qualifier_.has_value() <=> a.qualifier_.has_value();
}

}  // namespace digdag::server
