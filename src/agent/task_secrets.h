#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/value.h"
#include "operators/operator.h"

namespace digdag::agent {

/// The secrets of one run: looks them up through the mounts of `_secrets` and replaces those that were read in whatever
/// the task shows (spec/operators.md 1.6, spec/decisions.md V-33). Thread-safe.
class TaskSecrets {
 public:
  /// `source`: all secrets of the project; may be empty. `masks`: log-server.mask-secrets; else all is shown as it is.
  TaskSecrets(operators::SecretLookup source, Value mounts, bool masks);

  /// Error(illegal argument) `Illegal key: '…'`; Error(config) `Illegal value in _secrets: …`.
  std::optional<std::string> find(std::string_view key);
  /// Without the mounts.
  std::optional<std::string> find_unmounted(std::string_view key);
  /// Whether a mount says `true`, a grant of older releases that means nothing any more.
  bool has_grants() const;

  /// Treats a text that was made from secrets as one.
  void hide(std::string_view text);

  /// A complete text with the secrets replaced.
  std::string mask(std::string_view text) const;
  /// A piece of a stream: what can be shown of it now.
  std::string mask_piece(std::string_view piece);
  std::string mask_rest();

 private:
  std::string mounted(std::string_view key) const;
  void hide_value(std::string_view key, std::string_view value);

  const operators::SecretLookup source_;
  const Value mounts_;
  const bool masks_;
  mutable std::mutex mutex_;
  SecretMask mask_;
};

}  // namespace digdag::agent
