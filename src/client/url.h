#pragma once

#include <string>
#include <string_view>

namespace digdag::client {

/// The parts of an http or https URL that rules look at.
struct Url {
  std::string scheme;  ///< in lower case
  std::string user_info;
  std::string host;  ///< in lower case, without the brackets of IPv6
  int port = 0;      ///< that of the scheme where none is written
  std::string rest;  ///< path, query and fragment as they are
};

/// Error(kind "illegal argument") as java.net.URI says it: `Illegal character in path at index 3: not a uri`; also where
/// the scheme is neither http nor https.
Url parse_url(std::string_view text);

/// Without user and password.
std::string without_user_info(std::string_view url);

/// Bytes beyond ASCII percent-encoded, after the host.
std::string ascii_url(std::string_view url);

}  // namespace digdag::client
