#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
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

class CurlHandle;

/// Connections that stay open from one request to the next. Not thread-safe: for requests that follow each other.
class HttpConnections {
 public:
  HttpConnections();
  ~HttpConnections();
  /// For the next request; the one before is over.
  CurlHandle& handle(const char* needed_by);

 private:
  std::unique_ptr<CurlHandle> handle_;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  Headers headers;
  std::string body;
  bool has_body = false;
  std::string user_agent;
  bool names_accepted_types = true;          ///< sends `Accept: */*` where `headers` have none
  std::int64_t timeout_seconds = 30;         ///< for the whole request
  std::int64_t connect_timeout_seconds = 0;  ///< 0: only `timeout_seconds` counts
  std::int64_t idle_timeout_seconds = 0;     ///< given up where nothing comes or goes for so long; 0: never
  bool follow_redirects = true;
  int max_redirects = 8;
  bool insecure = false;  ///< accept any TLS certificate
  /// The proxy on the way to a URL; asked again at each redirect. Unset, or where it gives none: no proxy.
  std::function<std::optional<HttpProxy>(const std::string& url)> proxy_for;
  std::size_t most_response_bytes = 1 << 20;  ///< of the body are kept, the rest is read and dropped; `truncated` says so
  std::vector<std::string> allowed_hosts;     ///< names, or `*.example.org`; empty: all. Redirects are held to it as well
  std::vector<std::string> denied_cidrs;      ///< not connected to: `10.0.0.0/8`, `::1/128`. With a proxy, which looks names
                                              ///< up itself, only hosts that are written as addresses are held to it
  std::vector<std::string> private_headers;   ///< names that never go to another origin, besides those that hold credentials
  bool hidden_url = false;                    ///< errors show neither its host nor where redirects lead
  const char* needed_by = "http>";            ///< who cannot do without libcurl, where it is missing
  /// Is given the body of an answer with status 200 as it comes; then the response has none. Called by whoever called http_request.
  std::function<void(std::string_view piece)> receive;
  const std::atomic<bool>* stopped = nullptr;  ///< becomes true where the request shall be given up
  HttpConnections* connections = nullptr;      ///< to be used and left open; null: one of its own
};

struct HttpResponse {
  int status = 0;
  Headers headers;   ///< of the last response, names in lower case
  std::string body;  ///< content encodings undone
  bool truncated = false;
  std::uint64_t body_bytes = 0;  ///< of the whole body, also where it was truncated
  bool redirect_failed = false;  ///< too many redirects, or one without Location; `status` is the redirect's
  std::optional<std::string> header(std::string_view lower_case_name) const;
};

/// One HTTP request; blocks. libcurl is loaded at the first call (so that start-up does not pay for it). Redirects: 303, and
/// 301 and 302 of a POST, go on as GET without the body; to another origin without `Authorization`, `Proxy-Authorization`,
/// `Cookie` and `private_headers`.
/// Throws Error(kind "io") where no response came: what, which host, why; Error(kind "illegal argument") for a URL or host
/// that is not allowed. Thread-safe.
HttpResponse http_request(const HttpRequest& request);

/// The body as UTF-8, by the charset of its content type (default UTF-8). Error(kind "unsupported charset").
std::string body_text(const HttpResponse& response);
/// Bytes of that charset as UTF-8; malformed ones become U+FFFD.
std::string decode_text(std::string_view bytes, std::string_view charset);

/// The proxy that the environment names for a URL (spec/operators.md 1.12); a broken one is ignored with a warning text.
/// None for the hosts of `no_proxy`: names with all below them, addresses and ranges of them, `*` for all.
std::optional<HttpProxy> proxy_from_environment(std::string_view url, std::string* warning = nullptr);

}  // namespace digdag::client
