#pragma once

#include <string>
#include <string_view>

namespace digdag::client {

/// Standard alphabet, padded.
std::string base64(std::string_view bytes);

}  // namespace digdag::client
