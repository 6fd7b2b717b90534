#include "server/authenticator.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/base64.h"
#include "base/text.h"

namespace digdag::server {
namespace {

/// Takes as long for every text of the same length.
bool same_secret(std::string_view given, std::string_view expected) {
  unsigned difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < given.size(); ++i)
    difference |= static_cast<unsigned char>(given[i]) ^ static_cast<unsigned char>(expected[i % expected.size()]);
  return difference == 0;
}

/// With or without padding.
std::optional<std::string> from_lenient_base64(std::string_view text) {
  for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  return from_base64(std::string(text) + std::string((4 - text.size() % 4) % 4, '='));
}

/// The credentials of `Basic …`; nothing where the header has another form.
std::optional<std::string> basic_credentials(std::string_view header) {
  constexpr std::string_view scheme = "basic ";
  if (lower(header.substr(0, scheme.size())) != scheme) return std::nullopt;
  std::optional<std::string> credentials = from_lenient_base64(trim(header.substr(scheme.size())));
  if (credentials && credentials->find(':') == std::string::npos) return std::nullopt;
  return credentials;
}

bool is_open_to_all(const Request& request) {
  static constexpr std::array open_paths{"/api/version", "/api/health", "/api/ready"};
  if (request.path == "/metrics" && request.listener == ListenerKind::admin) return true;
  return request.method == "OPTIONS" || request.method == "TRACE" ||
         std::find(open_paths.begin(), open_paths.end(), request.path) != open_paths.end();
}

bool is_loopback(const std::string& host) {
  in_addr v4{};
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  return host == "::1" || lower(host) == "localhost";
}

}  // namespace

Authenticator::Authenticator(const SystemConfig& config, Log& log) {
  const std::string type = config.get_or("server.authenticator.type", "basic");
  if (type != "basic")
    throw config_error("Configured authenticator name is not found: " + type).hint("the one there is: server.authenticator.type = basic");
  std::string prefix = "server.authenticator.basic.";
  if (config.get("basicauth.username")) {
    prefix = "basicauth.";
    log.write(LogLevel::warn, "main", "server", "basicauth.* is deprecated; use server.authenticator.basic.* instead");
  }
  const std::optional<std::string> user = config.get(prefix + "username");
  if (!user) return;
  const std::optional<std::string> password = config.get(prefix + "password");
  if (!password)
    throw config_error("Parameter '" + prefix + "password' is required but not set").hint("it belongs to " + prefix + "username");
  user_and_password_ = *user + ':' + *password;
}

std::optional<Response> Authenticator::authenticate(Request& request) const {
  if (!configured() || is_open_to_all(request)) return std::nullopt;
  const std::string* header = request.header("Authorization");
  if (header == nullptr) return error_response(401, "Missing Authorization header");
  const std::optional<std::string> credentials = basic_credentials(*header);
  if (!credentials) return error_response(401, "The Authorization header must be `Basic` and the base64 text of user:password");
  if (!same_secret(*credentials, user_and_password_)) return error_response(401, "unauthorized");
  request.identity = {.site_id = 0, .user = credentials->substr(0, credentials->find(':')), .admin = true};
  return std::nullopt;
}

void require_authentication(const SystemConfig& config, const Authenticator& authenticator, const std::vector<std::string>& hosts,
                            Log& log) {
  if (authenticator.configured()) return;
  const auto open = std::find_if_not(hosts.begin(), hosts.end(), is_loopback);
  if (open == hosts.end()) return;
  if (!config.boolean_or("server.allow-unauthenticated", false))
    throw config_error("The server would listen at " + *open + ", where others can reach it, and let everybody in")
        .hint(
            "set server.authenticator.basic.username and server.authenticator.basic.password, or server.allow-unauthenticated = true "
            "(--allow-unauthenticated) where something else decides who may come");
  log.write(LogLevel::warn, "main", "server", "Everybody who reaches " + *open + " may do everything (server.allow-unauthenticated)");
}

}  // namespace digdag::server
