#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace digdag::client {

using Headers = std::vector<std::pair<std::string, std::string>>;

struct HttpProxy {
  std::string host;
  int port = 0;
  bool tls = false;
  std::string user, password;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::string body;
  bool has_body = false;
  std::string user_agent;
  std::int64_t timeout_seconds = 30;       ///< for the whole request
  bool follow_redirects = true;
  int max_redirects = 8;
  bool insecure = false;                   ///< accept any TLS certificate
  std::optional<HttpProxy> proxy;          ///< else none (the caller reads the environment)
  std::size_t most_response_bytes = 1 << 20;   ///< reading stops there; `truncated` says so
};

struct HttpResponse {
  int status = 0;
  Headers headers;                         ///< of the last response, names in lower case
  std::string body;                        ///< content encodings undone
  bool truncated = false;
  std::string effective_url;
  bool redirect_failed = false;            ///< too many redirects, or one without Location; `status` is the redirect's
  std::optional<std::string> header(std::string_view lower_case_name) const;
};

/// One HTTP request; blocks. libcurl is loaded at the first call (so that start-up does not pay for it).
/// Throws Error(kind "io") where no response came: what, which host, why. Thread-safe.
HttpResponse http_request(const HttpRequest& request);

/// The proxy that the environment names for a URL (spec/operators.md 1.12); a broken one is ignored with a warning text.
std::optional<HttpProxy> proxy_from_environment(std::string_view url, std::string* warning = nullptr);

}  // namespace digdag::client
