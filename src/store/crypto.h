#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

/// What is needed of libcrypto, looked up when it is first needed. All throw Error(kind "io") where the library is missing.
namespace digdag::store {

/// 16 bytes.
std::string md5(std::string_view bytes);
/// Bytes that nobody can guess.
std::string random_bytes(std::size_t count);

struct Sealed {
  std::string bytes, tag;  ///< the tag has 16 bytes
};
/// AES-GCM; `key` has 16 or 32 bytes, `nonce` 12.
Sealed aes_gcm_seal(std::string_view key, std::string_view nonce, std::string_view text);
/// Nothing where the tag does not fit: another key, or other bytes.
std::optional<std::string> aes_gcm_open(std::string_view key, std::string_view nonce, std::string_view bytes, std::string_view tag);

}  // namespace digdag::store
