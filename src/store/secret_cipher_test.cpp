#include "store/secret_cipher.h"

#include <gmock/gmock.h>

#include "base/base64.h"
#include "base/error.h"
#include "base/file.h"
#include "base/temporary_directory_for_test.h"

namespace digdag::store {
namespace {

constexpr const char* setting = "digdag.secret-encryption-key";
const std::string their_key = "dGFrZW92ZXIta2V5LTAxNg==";

SecretCipher cipher(const std::string& key, const std::string& previous = "") {
  SystemConfig system;
  system.set(setting, key);
  if (!previous.empty()) system.set(std::string(setting) + ".previous", previous);
  return *SecretCipher::of(system);
}

std::string fault(const SystemConfig& system) {
  try {
    SecretCipher::of(system);
  } catch (const Error& error) {
    return error.message_with_kind();
  }
  return "";
}

template <typename Step>
std::string message_of(Step step) {
  try {
    step();
  } catch (const Error& error) {
    return error.message();
  }
  return "";
}

// server 23.31
TEST(SecretCipher, ReadsWhatTheOriginalHasWritten) {
  const SecretCipher theirs = cipher(their_key);
  EXPECT_EQ(theirs.engine(), "aesgcm");
  const auto read = [&](const char* stored) { return theirs.decrypt("k", "aesgcm", stored).value; };
  EXPECT_EQ(read("YWVzZ2NtAAAAAgAAAAEH0QMpW2gNLSIwHs6UCq7rxDcoyRas4ldOb0Wxxq0B08eLZ58wE+At/O0+gQ=="), "hunter-zwei");
  EXPECT_EQ(read("YWVzZ2NtAAAAAgAAAAGvlZy1wJyUJjX6MTd48XVu3isKieJBpQsAKDjIk/ty/Y48wj2nksJ+ByjFBg=="), "t0ken é");
  EXPECT_EQ(read("YWVzZ2NtAAAAAgAAAAHM63HfKbOVCgFZsDGc+1o+OauQJ5BbFqdwc64DxrHtrCvCQjeFMGfUGyLIIQ=="), "");
}

// server 23.32
TEST(SecretCipher, ReadsTheFirstVersionOfTheFormatAsWell) {
  auto bytes = *from_base64("YWVzZ2NtAAAAAgAAAAEH0QMpW2gNLSIwHs6UCq7rxDcoyRas4ldOb0Wxxq0B08eLZ58wE+At/O0+gQ==");
  bytes[9] = 1;
  EXPECT_EQ(cipher(their_key).decrypt("k", "aesgcm", base64(bytes)).value, "hunter-zwei");
  bytes[9] = 3;
  EXPECT_EQ(message_of([&] { cipher(their_key).decrypt("k", "aesgcm", base64(bytes)); }), "Secret 'k' is damaged");
}

TEST(SecretCipher, WritesWhatItReads) {
  for (const std::string& key : {their_key, base64(std::string(32, 'x'))}) {
    const SecretCipher ours = cipher(key);
    for (const std::string& value :
         {std::string(), std::string("é"), std::string(12, 'a'), std::string(13, 'a'), std::string(16384, 'b')}) {
      const std::string stored = ours.encrypt(value);
      const auto bytes = *from_base64(stored);
      EXPECT_EQ(bytes.substr(0, 14), std::string("aesgcm\0\0\0\2\0\0\0\1", 14));
      EXPECT_EQ((bytes.size() - 14 - 12 - 16) % 16, 0u);
      EXPECT_NE(ours.encrypt(value), stored) << "a nonce was used twice";
      EXPECT_EQ(ours.decrypt("k", ours.engine(), stored).value, value);
    }
  }
}

TEST(SecretCipher, AnotherKeyAnotherEngineAndDamageAreToldApart) {
  const SecretCipher ours = cipher(their_key), other = cipher(base64(std::string(16, 'x')));
  const std::string stored = other.encrypt("value");
  EXPECT_EQ(message_of([&] { ours.decrypt("db.password", "aesgcm", stored); }),
            "Secret 'db.password' was encrypted with another key: add that key to digdag.secret-encryption-key.previous, or set the secret "
            "again");
  EXPECT_THAT(message_of([&] { other.decrypt("k", "aesgcm256", stored); }),
              testing::StartsWith("Secret 'k' was encrypted with another key"));
  EXPECT_EQ(message_of([&] { other.decrypt("k", "aesgcm", stored.substr(0, 20)); }), "Secret 'k' is damaged");
  EXPECT_EQ(message_of([&] { other.decrypt("k", "aesgcm", "no base64"); }), "Secret 'k' is damaged");
}

TEST(SecretCipher, EarlierKeysAreForReading) {
  const std::string old_key = base64(std::string(16, 'o')), older_key = base64(std::string(32, 'p'));
  const std::string old = cipher(old_key).encrypt("a"), older = cipher(older_key).encrypt("b");
  const SecretCipher now = cipher(their_key, older_key + "," + old_key);
  EXPECT_EQ(now.decrypt("k", "aesgcm", old).value, "a");
  EXPECT_FALSE(now.decrypt("k", "aesgcm", old).with_current_key);
  EXPECT_EQ(now.decrypt("k", "aesgcm256", older).value, "b");
  EXPECT_TRUE(now.decrypt("k", "aesgcm", now.encrypt("c")).with_current_key);
}

TEST(SecretCipher, TheKeyMayStandInAFile) {
  const TemporaryDirectory directory;
  write_new_file(directory / "key", their_key + "\n", 0600);
  SystemConfig system;
  system.set(std::string(setting) + "-file", (directory / "key").string());
  EXPECT_EQ(SecretCipher::of(system)->engine(), "aesgcm");
  system.set(setting, their_key);
  EXPECT_EQ(fault(system), "digdag.secret-encryption-key and digdag.secret-encryption-key-file are both set: one of them must go (config)");
}

// server 23.30
TEST(SecretCipher, AKeyThatIsNoneStopsTheStartAndIsNotShown) {
  EXPECT_FALSE(SecretCipher::of(SystemConfig()));
  for (const char* key : {"", "c2hvcnQ=", "no base64!", "dGFrZW92ZXIta2V5LTAxNg"}) {
    SystemConfig system;
    system.set(setting, key);
    EXPECT_EQ(fault(system),
              "digdag.secret-encryption-key must be base64 of 16 bytes (AES-128, as the original) or of 32 bytes (AES-256) (config)");
  }
}

// rest-api 18.102
TEST(SecretCipher, KeysAndValuesHaveRules) {
  for (const char* key : {"a", "db.password", "aws.key-id", "a_b9.C"}) EXPECT_TRUE(is_secret_key(key)) << key;
  for (const char* key : {"", ".", "a.", "9x", "a-", "a..b", "a b", "a.9", "é", "*"}) EXPECT_FALSE(is_secret_key(key)) << key;
  EXPECT_TRUE(is_secret_key(std::string(255, 'a')));
  EXPECT_FALSE(is_secret_key(std::string(256, 'a')));
  EXPECT_TRUE(is_secret_value(std::string(16384, 'a')));
  EXPECT_FALSE(is_secret_value(std::string(16385, 'a')));
  EXPECT_FALSE(is_secret_value("\xff"));
}

}  // namespace
}  // namespace digdag::store
