#include "store/crypto.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <memory>
#include <new>
#include <stdexcept>

#include "base/error.h"
#include "base/library.h"

namespace digdag::store {
namespace {

struct LibCrypto {
  LibCrypto() {
    const Library library("libcrypto.so.3", "the server needs", "libssl3");
    library.find(digest, "EVP_Digest");
    library.find(md5, "EVP_md5");
    library.find(random, "RAND_bytes");
    library.find(new_context, "EVP_CIPHER_CTX_new");
    library.find(free_context, "EVP_CIPHER_CTX_free");
    library.find(control, "EVP_CIPHER_CTX_ctrl");
    library.find(aes_128_gcm, "EVP_aes_128_gcm");
    library.find(aes_256_gcm, "EVP_aes_256_gcm");
    library.find(encrypt_init, "EVP_EncryptInit_ex");
    library.find(encrypt_update, "EVP_EncryptUpdate");
    library.find(encrypt_final, "EVP_EncryptFinal_ex");
    library.find(decrypt_init, "EVP_DecryptInit_ex");
    library.find(decrypt_update, "EVP_DecryptUpdate");
    library.find(decrypt_final, "EVP_DecryptFinal_ex");
  }

  decltype(&EVP_Digest) digest;
  decltype(&EVP_md5) md5;
  decltype(&RAND_bytes) random;
  decltype(&EVP_CIPHER_CTX_new) new_context;
  decltype(&EVP_CIPHER_CTX_free) free_context;
  decltype(&EVP_CIPHER_CTX_ctrl) control;
  decltype(&EVP_aes_128_gcm) aes_128_gcm;
  decltype(&EVP_aes_256_gcm) aes_256_gcm;
  decltype(&EVP_EncryptInit_ex) encrypt_init;
  decltype(&EVP_EncryptUpdate) encrypt_update;
  decltype(&EVP_EncryptFinal_ex) encrypt_final;
  decltype(&EVP_DecryptInit_ex) decrypt_init;
  decltype(&EVP_DecryptUpdate) decrypt_update;
  decltype(&EVP_DecryptFinal_ex) decrypt_final;
};

const LibCrypto& crypto() {
  static const LibCrypto library;
  return library;
}

constexpr int tag_bytes = 16;

void check(int code) {
  if (code != 1) throw Error("io", "libcrypto.so.3 refuses what is asked of it; is this a restricted (FIPS) installation?");
}

const unsigned char* bytes_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

class Context {
 public:
  Context() : context_(crypto().new_context(), crypto().free_context) {
    if (!context_) throw std::bad_alloc();
  }
  EVP_CIPHER_CTX* get() const { return context_.get(); }

 private:
  std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context_;
};

const EVP_CIPHER* cipher_for(std::string_view key) {
  if (key.size() != 16 && key.size() != 32) throw std::logic_error("a key of AES has 16 or 32 bytes here");
  return key.size() == 16 ? crypto().aes_128_gcm() : crypto().aes_256_gcm();
}

}  // namespace

std::string md5(std::string_view bytes) {
  std::string digest(16, '\0');
  check(crypto().digest(bytes.data(), bytes.size(), bytes_of(digest), nullptr, crypto().md5(), nullptr));
  return digest;
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  check(crypto().random(bytes_of(bytes), static_cast<int>(count)));
  return bytes;
}

Sealed aes_gcm_seal(std::string_view key, std::string_view nonce, std::string_view text) {
  const Context context;
  check(crypto().encrypt_init(context.get(), cipher_for(key), nullptr, bytes_of(key), bytes_of(nonce)));
  Sealed sealed{.bytes = std::string(text.size(), '\0'), .tag = std::string(tag_bytes, '\0')};
  int length = 0;
  check(crypto().encrypt_update(context.get(), bytes_of(sealed.bytes), &length, bytes_of(text), static_cast<int>(text.size())));
  unsigned char nothing[tag_bytes];
  check(crypto().encrypt_final(context.get(), nothing, &length));
  check(crypto().control(context.get(), EVP_CTRL_GCM_GET_TAG, tag_bytes, sealed.tag.data()));
  return sealed;
}

std::optional<std::string> aes_gcm_open(std::string_view key, std::string_view nonce, std::string_view bytes, std::string_view tag) {
  const Context context;
  check(crypto().decrypt_init(context.get(), cipher_for(key), nullptr, bytes_of(key), bytes_of(nonce)));
  std::string text(bytes.size(), '\0'), expected(tag);
  int length = 0;
  check(crypto().decrypt_update(context.get(), bytes_of(text), &length, bytes_of(bytes), static_cast<int>(bytes.size())));
  check(crypto().control(context.get(), EVP_CTRL_GCM_SET_TAG, tag_bytes, expected.data()));
  unsigned char nothing[tag_bytes];
  if (crypto().decrypt_final(context.get(), nothing, &length) != 1) return std::nullopt;
  return text;
}

}  // namespace digdag::store
