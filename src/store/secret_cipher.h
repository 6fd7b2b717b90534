#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/properties.h"

namespace digdag::store {

/// Encrypts the secrets of projects as the original does (spec/server.md 16, spec/decisions.md V-15): AES-GCM under
/// `digdag.secret-encryption-key`; earlier keys (`….previous`) are for reading alone. Thread-safe.
class SecretCipher {
 public:
  /// Nothing where no key is set: secrets are disabled. Error(config) for a key that is not base64 of 16 or 32 bytes, a key file that
  /// cannot be read, or both a key and a file; Error(io) where libcrypto is missing.
  static std::optional<SecretCipher> of(const SystemConfig& system);

  /// The value of the column `engine`: `aesgcm`, or `aesgcm256` for 32 bytes, which the original cannot read (the server warns).
  std::string_view engine() const;
  std::string encrypt(std::string_view value) const;

  struct Decrypted {
    std::string value;
    bool with_current_key = true;  ///< else `digdag secrets --rotate` has work
  };
  /// Error(kind "secret not readable") `Secret 'k' was encrypted with another key`, or `… is damaged`. Never holds the value.
  Decrypted decrypt(std::string_view key, std::string_view engine, std::string_view stored) const;

 private:
  explicit SecretCipher(std::vector<std::string> keys) : keys_(std::move(keys)) {}

  std::vector<std::string> keys_;  ///< of 16 or 32 bytes; the first one is the current one
};

/// What a secret may be called: dotted parts of letters, digits, `_`, `-`, each from a letter to a letter or digit; 255 bytes at most.
bool is_secret_key(std::string_view key);
constexpr std::size_t most_secret_value_bytes = 16384;
/// UTF-8 of so many bytes at most.
bool is_secret_value(std::string_view value);

}  // namespace digdag::store
