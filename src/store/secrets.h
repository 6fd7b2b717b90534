#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/database.h"
#include "store/secret_cipher.h"

namespace digdag::store {

/// The secrets of the projects of one site, encrypted at rest (spec/server.md 16). Lives in a transaction. What is decrypted is never
/// shown; errors do not hold it.
class Secrets {
 public:
  /// What the API sets, and what an authenticator gives at a push; the first one wins.
  static constexpr std::string_view project_scope = "project", default_scope = "project-default";

  /// `cipher`: nullptr where secrets are disabled; then `put` and `find` are Error(config) where they would need it.
  Secrets(Transaction& transaction, const SecretCipher* cipher, std::int64_t site_id)
      : transaction_(transaction), cipher_(cipher), site_id_(site_id) {}

  /// The keys that one scope holds, sorted.
  std::vector<std::string> keys(std::int64_t project_id, std::string_view scope = project_scope);
  /// Sets or replaces. Key and value must be ones (`is_secret_key`, `is_secret_value`).
  void put(std::int64_t project_id, std::string_view key, std::string_view value, std::string_view scope = project_scope);
  /// One that is not there is none to be removed.
  void remove(std::int64_t project_id, std::string_view key, std::string_view scope = project_scope);
  /// What a task of the project gets. Throws what SecretCipher::decrypt throws.
  std::optional<std::string> find(std::int64_t project_id, std::string_view key);

 private:
  const SecretCipher& cipher() const;

  Transaction& transaction_;
  const SecretCipher* const cipher_;
  const std::int64_t site_id_;
};

/// What a task of a project of any site gets: Secrets::find.
std::optional<std::string> secret_of_project(Transaction& transaction, const SecretCipher* cipher, std::int64_t project_id,
                                             std::string_view key);

/// A step of `digdag secrets --rotate`: encrypts those of the next 100 secrets after `after_id` anew, of all sites, that an earlier key
/// has encrypted.
struct Rotation {
  std::int64_t last_id = 0;  ///< of the step; where to go on
  std::int64_t rotated = 0;
  bool done = false;
};
Rotation rotate_secrets(Transaction& transaction, const SecretCipher& cipher, std::int64_t after_id);

}  // namespace digdag::store
