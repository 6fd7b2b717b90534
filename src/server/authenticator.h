#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "server/http.h"

namespace digdag::server {

/// Finds out who asks: by basic authentication with one user, or not at all where none is configured (spec/server.md 6; decisions.md
/// V-11). Immutable, hence thread-safe.
class Authenticator {
 public:
  /// `server.authenticator.*`, and its old names `basicauth.*` with a WARN. Error(config) for another type, or a user without a password.
  Authenticator(const SystemConfig& config, Log& log);

  /// Whether anybody must say who they are.
  bool configured() const { return !user_and_password_.empty(); }
  /// Sets the identity of a request below /api, or gives the answer 401. OPTIONS, TRACE and the paths of the version and of health
  /// checks are open to everybody.
  std::optional<Response> authenticate(Request& request) const;

 private:
  std::string user_and_password_;  ///< empty: everybody may ask
};

/// A server that others can reach must know who asks, or be told that it need not (spec/decisions.md V-10): Error(config) with the two
/// ways out; a WARN where `server.allow-unauthenticated` is the one taken. `hosts`: what the server binds.
void require_authentication(const SystemConfig& config, const Authenticator& authenticator, const std::vector<std::string>& hosts,
                            Log& log);

}  // namespace digdag::server
