#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/value.h"
#include "client/http.h"

namespace digdag::client {

/// The base of a server's URLs, `http://host:port/prefix` without `/` at its end, from `http://HOST[:PORT][/PREFIX]`, `https://…` or
/// bare `HOST[:PORT][/PREFIX]` (spec/cli.md 7.2, decisions.md C-36). Error `Endpoint must start with http:// or https://: ftp://x`.
std::string parse_endpoint(std::string_view text);

struct RestSettings {
  std::string endpoint;                                 ///< of `parse_endpoint`
  Headers headers;                                      ///< of every request to the server, never sent to another host
  bool insecure = false;                                ///< accept any TLS certificate
  std::function<void(const std::string& text)> warned;  ///< is told what is wrong with the proxy of the environment
};

/// The server has refused a request. The message begins with `Resource not found: `, `Request conflicted: `, `Invalid option: ` or
/// `Status code N: `, then comes what the server answered (spec/cli.md 4, decisions.md C-34); the cause names the request.
class RestError : public Error {
 public:
  RestError(int status, std::string body, const std::string& request);
  int status() const { return status_; }
  /// As the server sent it.
  const std::string& body() const { return body_; }

 private:
  int status_;
  std::string body_;
};

/// The REST API of a server, over connections that stay open (spec/rest-api.md 1, 2, 15; spec/cli.md 7.3).
///
/// What only reads is tried up to 10 times, with growing waits of 1 s in all, where the server cannot be reached or answers 5xx,
/// 408 or 429; what changes something is sent once. A connection is waited for 30 s, an answer 300 s. All throw RestError,
/// Error `cannot reach URL (reason)` or Error where the answer is no JSON. Not thread-safe.
class RestClient {
 public:
  using Query = std::vector<std::pair<std::string, std::string>>;

  explicit RestClient(RestSettings settings) : settings_(std::move(settings)) {}

  const std::string& endpoint() const { return settings_.endpoint; }
  /// What `get` asks for, as the causes of errors name it: `GET http://…`.
  std::string question(std::string_view path, const Query& query) const;

  // `path`: `/api/…`, each part of it made with `path_part` where it is not known to be harmless.
  Value get(std::string_view path, const Query& query = {});
  Value post(std::string_view path, const Value& body);
  Value put(std::string_view path, const Value& body);
  struct Pushed {
    Value project;
    std::string missed_sessions;  ///< how many start at once (spec/decisions.md S-18); empty: none, or the server does not say
  };
  Pushed put_archive(std::string_view path, const Query& query, std::string bytes);
  Value remove(std::string_view path);
  /// The bytes behind a path; redirects are followed, to other hosts without our headers.
  std::string download(std::string_view path, const Query& query = {});
  /// The lines behind a path as they come, without their ends, until the server ends the answer; asked for once. `seconds` is the longest
  /// it may take: Error where that is over, or the connection breaks. An unfinished last line is dropped. What `line` throws ends it.
  void lines(std::string_view path, const Query& query, std::int64_t seconds, const std::function<void(std::string_view line)>& line);
  /// The bytes behind a URL that the server named, asked for without our headers.
  std::string download_directly(const std::string& url);

 private:
  std::string url_of(std::string_view path, const Query& query) const;
  HttpRequest request(std::string method, std::string url) const;
  HttpResponse send(const HttpRequest& request);
  HttpResponse send_repeatedly(const HttpRequest& request);
  Value send_json(std::string method, std::string_view path, const Value& body);

  RestSettings settings_;
  HttpConnections connections_;
};

/// A text as one part of a path.
std::string path_part(std::string_view text);

}  // namespace digdag::client
