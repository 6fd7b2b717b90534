#include "store/secrets.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "store/projects.h"
#include "store/schema_for_test.h"

namespace digdag::store {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* first_key = "YWJjZGVmZ2hpamtsbW5vcA==";
constexpr const char* second_key = "MDEyMzQ1Njc4OWFiY2RlZg==";

SecretCipher cipher_of(const char* key, const char* previous = nullptr) {
  SystemConfig config;
  config.set("digdag.secret-encryption-key", key);
  if (previous != nullptr) config.set("digdag.secret-encryption-key.previous", previous);
  return SecretCipher::of(config).value();
}

class SecretsOf : public DatabaseWithSchema {
 protected:
  void SetUp() override {
    DatabaseWithSchema::SetUp();
    project_ = write([](Transaction& transaction) { return Projects(transaction, 0).put_and_lock("orders").id; });
  }
  template <typename Ask>
  auto ask(const SecretCipher* cipher, Ask question, std::int64_t site_id = 0) {
    return write([&](Transaction& transaction) {
      Secrets secrets(transaction, cipher, site_id);
      return question(secrets);
    });
  }
  std::optional<std::string> find(const SecretCipher& cipher, const std::string& key) {
    return ask(&cipher, [&](Secrets& secrets) { return secrets.find(project_, key); });
  }

  const SecretCipher cipher_ = cipher_of(first_key);
  std::int64_t project_ = 0;
};

// rest-api 18.102, server 16
TEST_P(SecretsOf, ASecretIsStoredEncryptedReplacedAndRemoved) {
  ask(&cipher_, [&](Secrets& secrets) { secrets.put(project_, "db.password", "hunter2"); });
  ask(&cipher_, [&](Secrets& secrets) { secrets.put(project_, "aws.key-id", "日本"); });
  EXPECT_EQ(find(cipher_, "db.password"), "hunter2");
  EXPECT_EQ(find(cipher_, "aws.key-id"), "日本");
  EXPECT_THAT(ask(&cipher_, [&](Secrets& secrets) { return secrets.keys(project_); }), ElementsAre("aws.key-id", "db.password"));
  const std::string stored =
      write([](Transaction& transaction) { return transaction.query("select value from secrets order by id").front().text(0); });
  EXPECT_THAT(stored, Not(HasSubstr("hunter2")));
  ask(&cipher_, [&](Secrets& secrets) { secrets.put(project_, "db.password", "other"); });
  EXPECT_EQ(find(cipher_, "db.password"), "other");
  ask(&cipher_, [&](Secrets& secrets) { secrets.remove(project_, "db.password"); });
  ask(&cipher_, [&](Secrets& secrets) { secrets.remove(project_, "never.set"); });
  EXPECT_EQ(find(cipher_, "db.password"), std::nullopt);
  EXPECT_THAT(ask(
                  &cipher_, [&](Secrets& secrets) { return secrets.keys(project_); }, 7),
              IsEmpty())
      << "of another site";
}

// execution 32.87, server 16
TEST_P(SecretsOf, WhatTheProjectSetsWinsOverItsDefaults) {
  ask(&cipher_, [&](Secrets& secrets) { secrets.put(project_, "k", "default", Secrets::default_scope); });
  EXPECT_EQ(find(cipher_, "k"), "default");
  ask(&cipher_, [&](Secrets& secrets) { secrets.put(project_, "k", "own"); });
  EXPECT_EQ(find(cipher_, "k"), "own");
  EXPECT_THAT(ask(&cipher_, [&](Secrets& secrets) { return secrets.keys(project_, Secrets::default_scope); }), ElementsAre("k"));
}

// decisions R-07
TEST_P(SecretsOf, WithoutAKeySecretsAreDisabled) {
  EXPECT_THAT([&] { ask(nullptr, [&](Secrets& secrets) { secrets.put(project_, "k", "v"); }); },
              testing::ThrowsMessage<Error>(HasSubstr("Secrets are disabled: digdag.secret-encryption-key is not set")));
  EXPECT_EQ(ask(nullptr, [&](Secrets& secrets) { return secrets.find(project_, "k"); }), std::nullopt);
}

// decisions V-15, V-16
TEST_P(SecretsOf, AnotherKeyReadsThemOnceTheyAreRotated) {
  ask(&cipher_, [&](Secrets& secrets) {
    for (int i = 0; i < 150; ++i) secrets.put(project_, "k" + std::to_string(i), "v" + std::to_string(i));
  });
  const SecretCipher second = cipher_of(second_key), both = cipher_of(second_key, first_key);
  EXPECT_THAT([&] { find(second, "k7"); }, testing::ThrowsMessage<Error>(HasSubstr("encrypted with another key")));
  EXPECT_EQ(find(both, "k7"), "v7");
  const auto rotate = [&](std::int64_t after) {
    return write([&](Transaction& transaction) { return rotate_secrets(transaction, both, after); });
  };
  const Rotation first_step = rotate(0);
  EXPECT_EQ(first_step.rotated, 100);
  EXPECT_FALSE(first_step.done);
  const Rotation last_step = rotate(first_step.last_id);
  EXPECT_EQ(last_step.rotated, 50);
  EXPECT_TRUE(last_step.done);
  EXPECT_EQ(rotate(0).rotated, 0);
  EXPECT_EQ(find(second, "k7"), "v7");
  EXPECT_EQ(find(second, "k149"), "v149");
}

DIGDAG_FOR_EVERY_DATABASE(SecretsOf);

}  // namespace
}  // namespace digdag::store
