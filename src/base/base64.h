#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace digdag {

/// Standard alphabet, padded.
std::string base64(std::string_view bytes);
/// Nothing where the text is none: another character, padding that is missing or not at the end.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace digdag
