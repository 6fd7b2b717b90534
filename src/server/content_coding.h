#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace digdag::server {

enum class Coding : std::uint8_t { identity, gzip, deflate };

/// The coding an answer is given for this `Accept-Encoding`: gzip before deflate where the asker does not say otherwise.
Coding preferred_coding(std::string_view accept_encoding);
/// `gzip`, `deflate`.
std::string_view coding_name(Coding coding);

/// Deflate is the bare stream without zlib's frame, as the original sends it.
std::string encode(std::string_view bytes, Coding coding);

/// The bytes before they were encoded (deflate with and without zlib's frame). Nothing where they would be more than `most`.
/// Error(kind "illegal argument") where it is no such encoding.
std::optional<std::string> decode(std::string_view bytes, Coding coding, std::uint64_t most);

}  // namespace digdag::server
