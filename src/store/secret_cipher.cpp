#include "store/secret_cipher.h"

#include <algorithm>
#include <cstdint>

#include "base/base64.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "store/crypto.h"

namespace digdag::store {
namespace {

constexpr std::string_view magic = "aesgcm";
constexpr std::uint32_t written_version = 2, term = 1;
constexpr std::size_t nonce_bytes = 12, tag_bytes = 16, block_bytes = 16;
constexpr std::size_t header_bytes = magic.size() + 4 + 4 + nonce_bytes;
constexpr std::size_t most_key_bytes = 255;

std::string big_endian(std::uint32_t number) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[static_cast<std::size_t>(i)] = static_cast<char>(number >> (24 - 8 * i));
  return bytes;
}

std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t number = 0;
  for (int i = 0; i < 4; ++i) number = number << 8 | static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)]);
  return number;
}

/// The text is never shown: it is a secret.
std::string key_of(std::string_view text, const std::string& setting) {
  auto key = from_base64(trim(text));
  if (!key || (key->size() != 16 && key->size() != 32))
    throw config_error(setting + " must be base64 of 16 bytes (AES-128, as the original) or of 32 bytes (AES-256)")
        .hint("make one with: head -c 16 /dev/urandom | base64");
  return std::move(*key);
}

std::string_view engine_of(std::string_view key) { return key.size() == 16 ? "aesgcm" : "aesgcm256"; }

struct Record {
  std::string_view nonce, bytes, tag;
};

Error damaged(std::string_view key) {
  return Error("secret not readable", "Secret '" + std::string(key) + "' is damaged").hint("set it again");
}

Record record_of(std::string_view key, std::string_view stored) {
  const bool whole = stored.size() >= header_bytes + tag_bytes && stored.starts_with(magic);
  if (!whole) throw damaged(key);
  const std::uint32_t version = big_endian(stored.substr(magic.size()));
  if (version != 1 && version != written_version) throw damaged(key);
  const std::string_view sealed = stored.substr(header_bytes);
  return {.nonce = stored.substr(header_bytes - nonce_bytes, nonce_bytes),
          .bytes = sealed.substr(0, sealed.size() - tag_bytes),
          .tag = sealed.substr(sealed.size() - tag_bytes)};
}

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_letter_or_digit(char c) { return is_letter(c) || (c >= '0' && c <= '9'); }

}  // namespace

std::optional<SecretCipher> SecretCipher::of(const SystemConfig& system) {
  auto text = system.get("digdag.secret-encryption-key");
  if (const auto file = system.get("digdag.secret-encryption-key-file")) {
    if (text) throw config_error("digdag.secret-encryption-key and digdag.secret-encryption-key-file are both set: one of them must go");
    try {
      text = read_regular_file(*file, 4096);
    } catch (const Error& error) {
      throw config_error("digdag.secret-encryption-key-file cannot be read").because(error).hint("the file holds the key alone");
    }
  }
  if (!text) return std::nullopt;
  std::vector<std::string> keys{key_of(*text, "digdag.secret-encryption-key")};
  for (const std::string& previous : system.list("digdag.secret-encryption-key.previous"))
    keys.push_back(key_of(previous, "digdag.secret-encryption-key.previous"));
  SecretCipher cipher(std::move(keys));
  cipher.encrypt("");  // a library that is missing shows at the start
  return cipher;
}

std::string_view SecretCipher::engine() const { return engine_of(keys_.front()); }

std::string SecretCipher::encrypt(std::string_view value) const {
  std::string record = big_endian(static_cast<std::uint32_t>(value.size())) + std::string(value);
  record.resize((record.size() + block_bytes - 1) / block_bytes * block_bytes);
  const std::string nonce = random_bytes(nonce_bytes);
  const Sealed sealed = aes_gcm_seal(keys_.front(), nonce, record);
  return base64(std::string(magic) + big_endian(written_version) + big_endian(term) + nonce + sealed.bytes + sealed.tag);
}

SecretCipher::Decrypted SecretCipher::decrypt(std::string_view key, std::string_view engine, std::string_view stored) const {
  const auto bytes = from_base64(stored);
  if (!bytes) throw damaged(key);
  const Record record = record_of(key, *bytes);
  for (const std::string& with : keys_) {
    if (engine_of(with) != engine) continue;
    const auto text = aes_gcm_open(with, record.nonce, record.bytes, record.tag);
    if (!text) continue;
    if (text->size() < 4 || big_endian(*text) > text->size() - 4) throw damaged(key);
    return {.value = text->substr(4, big_endian(*text)), .with_current_key = &with == &keys_.front()};
  }
  throw Error("secret not readable",
              "Secret '" + std::string(key) +
                  "' was encrypted with another key: add that key to digdag.secret-encryption-key.previous, or set the secret again");
}

bool is_secret_key(std::string_view key) {
  if (key.size() > most_key_bytes) return false;
  const std::vector<std::string> parts = split(key, '.');
  return std::all_of(parts.begin(), parts.end(), [](const std::string& part) {
    return !part.empty() && is_letter(part.front()) && is_letter_or_digit(part.back()) &&
           std::all_of(part.begin(), part.end(), [](char c) { return is_letter_or_digit(c) || c == '_' || c == '-'; });
  });
}

bool is_secret_value(std::string_view value) { return value.size() <= most_secret_value_bytes && is_valid_utf8(value); }

}  // namespace digdag::store
