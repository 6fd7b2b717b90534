#pragma once

#include <atomic>
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
  std::int64_t timeout_seconds = 30;  ///< for the whole request
  bool follow_redirects = true;
  int max_redirects = 8;
  bool insecure = false;                       ///< accept any TLS certificate
  std::optional<HttpProxy> proxy;              ///< else none (the caller reads the environment)
  std::size_t most_response_bytes = 1 << 20;   ///< of the body are kept, the rest is read and dropped; `truncated` says so
  std::vector<std::string> allowed_hosts;      ///< names, or `*.example.org`; empty: all. Redirects are held to it as well
  std::vector<std::string> denied_cidrs;       ///< addresses that are not connected to: `10.0.0.0/8`, `::1/128` (not with a proxy)
  const std::atomic<bool>* stopped = nullptr;  ///< becomes true where the request shall be given up
};

struct HttpResponse {
  int status = 0;
  Headers headers;   ///< of the last response, names in lower case
  std::string body;  ///< content encodings undone
  bool truncated = false;
  std::uint64_t body_bytes = 0;  ///< of the whole body, also where it was truncated
  std::string effective_url;
  bool redirect_failed = false;  ///< too many redirects, or one without Location; `status` is the redirect's
  std::optional<std::string> header(std::string_view lower_case_name) const;
};

/// One HTTP request; blocks. libcurl is loaded at the first call (so that start-up does not pay for it). Redirects: 303, and
/// 301 and 302 of a POST, go on as GET without the body; to another host without `Authorization` and `Cookie`.
/// Throws Error(kind "io") where no response came: what, which host, why; Error(kind "illegal argument") for a URL or host
/// that is not allowed. Thread-safe.
HttpResponse http_request(const HttpRequest& request);

/// The body as UTF-8, by the charset of its content type (default UTF-8). Error(kind "unsupported charset").
std::string body_text(const HttpResponse& response);
/// Bytes of that charset as UTF-8; malformed ones become U+FFFD.
std::string decode_text(std::string_view bytes, std::string_view charset);
/// The `charset` of a content type; nothing where it has none.
std::optional<std::string> charset_of(std::string_view content_type);

/// The proxy that the environment names for a URL (spec/operators.md 1.12); a broken one is ignored with a warning text.
std::optional<HttpProxy> proxy_from_environment(std::string_view url, std::string* warning = nullptr);

}  // namespace digdag::client
