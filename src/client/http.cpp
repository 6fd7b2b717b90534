#include "client/http.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "client/address_rules.h"
#include "client/curl.h"
#include "client/url.h"

namespace digdag::client {
namespace {

using Clock = std::chrono::steady_clock;

std::string host_and_port(const Url& url) {
  return (url.host.find(':') == std::string::npos ? url.host : '[' + url.host + ']') + ':' + std::to_string(url.port);
}

bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || (c != 0 && std::strchr("!#$%&'*+-.^_`|~", c) != nullptr);
  });
}

/// Nothing that a person writes may end a header early and begin another one.
void check_header(const std::string& name, const std::string& value) {
  if (!is_token(name)) throw Error("illegal argument", "Illegal header name: '" + name + "'");
  if (value.find_first_of(std::string("\r\n\0", 3)) != std::string::npos)
    throw Error("illegal argument", "Illegal line end in header '" + name + "'");
}

bool is_redirect(int status) { return status == 301 || status == 302 || status == 303 || status == 307 || status == 308; }

Url parsed(const HttpRequest& request, const std::string& url) {
  try {
    return parse_url(url);
  } catch (const Error&) {
    if (!request.hidden_url) throw;
    throw Error("illegal argument", "The request leads to what is no http URL");
  }
}

/// One request and its answer, without redirects.
class Exchange {
 public:
  /// `url`: of this step; the rest comes from `request`, as far as redirects have not changed it.
  Exchange(const HttpRequest& request, const AddressRanges& denied, const std::string& url)
      : request_(request),
        denied_(denied),
        url_(parsed(request, url)),
        library_(curl(request.needed_by)),
        handle_(request.connections ? request.connections->handle(request.needed_by) : own_handle_.emplace(library_)) {
    if (request.proxy_for) proxy_ = request.proxy_for(url);
    if (!is_allowed_host(url_.host, request.allowed_hosts))
      throw Error("illegal argument", "Host is not allowed: " + shown_host()).hint("the server's configuration names the allowed ones");
    if (proxy_ && denied.contains(url_.host)) throw denied_address();
    handle_.set(CURLOPT_URL, ascii_url(url));
    set_message();
    set_connection();
    set_callbacks();
  }

  HttpResponse perform(Clock::time_point deadline) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    handle_.set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, left)));
    const CURLcode code = library_.easy_perform(handle_.get());
    if (code != CURLE_OK) throw failure(code);
    long status = 0;
    library_.easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
    response_.status = static_cast<int>(status);
    return std::move(response_);
  }

  /// Where a redirect leads; nothing where the answer was none or names no place.
  std::optional<std::string> redirect_url() const {
    char* url = nullptr;
    library_.easy_getinfo(handle_.get(), CURLINFO_REDIRECT_URL, &url);
    return url != nullptr ? std::optional<std::string>(url) : std::nullopt;
  }

 private:
  void set_message() {
    if (!is_token(request_.method)) throw Error("illegal argument", "Illegal HTTP method: '" + request_.method + "'");
    const bool sends_length = request_.has_body || request_.method == "POST" || request_.method == "PUT" || request_.method == "PATCH";
    if (sends_length) {
      handle_.set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
      handle_.set(CURLOPT_POSTFIELDS, request_.body.data());
    }
    if (request_.method == "HEAD")
      handle_.set(CURLOPT_NOBODY, 1L);
    else
      handle_.set(CURLOPT_CUSTOMREQUEST, request_.method);
    if (!request_.user_agent.empty()) handle_.set(CURLOPT_USERAGENT, request_.user_agent);
    handle_.set(CURLOPT_ACCEPT_ENCODING, "gzip");
    handle_.set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));

    std::vector<std::string> lines{"Expect:"};
    bool has_type = false;
    for (const auto& [name, value] : request_.headers) {
      check_header(name, value);
      has_type = has_type || lower(name) == "content-type";
      lines.push_back(value.empty() ? name + ';' : name + ": " + value);
    }
    if (!has_type) lines.emplace_back("Content-Type:");  // else libcurl would name one itself
    if (!request_.names_accepted_types) lines.emplace_back("Accept:");
    handle_.set(CURLOPT_HTTPHEADER, lines);
  }

  void set_connection() {
    handle_.set(CURLOPT_NOSIGNAL, 1L);
    handle_.set(CURLOPT_PROTOCOLS_STR, "http,https");
    handle_.set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    handle_.set(CURLOPT_ERRORBUFFER, error_);
    if (request_.connect_timeout_seconds > 0) handle_.set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(request_.connect_timeout_seconds));
    if (request_.idle_timeout_seconds > 0) {
      handle_.set(CURLOPT_LOW_SPEED_LIMIT, 1L);
      handle_.set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(request_.idle_timeout_seconds));
    }
    if (request_.insecure) {
      handle_.set(CURLOPT_SSL_VERIFYPEER, 0L);
      handle_.set(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    handle_.set(CURLOPT_NOPROXY, "");  // who gives the proxy has looked at the variable no_proxy
    if (!proxy_) {
      handle_.set(CURLOPT_PROXY, "");
      return;
    }
    const HttpProxy& proxy = *proxy_;
    const Url place{.scheme = {}, .user_info = {}, .host = proxy.host, .port = proxy.port, .rest = {}};
    handle_.set(CURLOPT_PROXY, (proxy.tls ? "https://" : "http://") + host_and_port(place));
    if (!proxy.user.empty()) {
      handle_.set(CURLOPT_PROXYUSERNAME, proxy.user);
      handle_.set(CURLOPT_PROXYPASSWORD, proxy.password);
    }
  }

  void set_callbacks() {
    handle_.set(CURLOPT_WRITEFUNCTION, on_body);
    handle_.set(CURLOPT_WRITEDATA, this);
    handle_.set(CURLOPT_HEADERFUNCTION, on_header);
    handle_.set(CURLOPT_HEADERDATA, this);
    handle_.stop_when(request_.stopped);
    if (!denied_.empty() && !proxy_) {
      handle_.set(CURLOPT_OPENSOCKETFUNCTION, on_socket);
      handle_.set(CURLOPT_OPENSOCKETDATA, this);
    }
  }

  static std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    auto& response = exchange.response_;
    const std::size_t length = size * count;
    if (exchange.request_.receive && exchange.is_success()) {
      exchange.request_.receive({bytes, length});
      return length;
    }
    const std::size_t kept = std::min(length, static_cast<Exchange*>(self)->request_.most_response_bytes - response.body.size());
    response.body.append(bytes, kept);
    response.body_bytes += length;
    response.truncated = response.truncated || kept < length;
    return length;
  }

  bool is_success() const {
    long status = 0;
    library_.easy_getinfo(handle_.get(), CURLINFO_RESPONSE_CODE, &status);
    return status == 200;
  }

  static std::size_t on_header(char* bytes, std::size_t size, std::size_t count, void* self) {
    auto& headers = static_cast<Exchange*>(self)->response_.headers;
    const std::string_view line(bytes, size * count);
    if (line.starts_with("HTTP/")) headers.clear();  // an earlier answer (100 Continue) is over
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos && !line.starts_with("HTTP/"))
      headers.emplace_back(lower(trim(line.substr(0, colon))), std::string(trim(line.substr(colon + 1))));
    return line.size();
  }

  static curl_socket_t on_socket(void* self, curlsocktype, curl_sockaddr* address) {
    auto& exchange = *static_cast<Exchange*>(self);
    exchange.met_denied_ = exchange.denied_.contains(address->addr);
    if (exchange.met_denied_) return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  }

  Error failure(CURLcode code) const {
    const std::string place = request_.hidden_url ? shown_host() : host_and_port(url_);
    if (met_denied_) return denied_address();
    if (code == CURLE_ABORTED_BY_CALLBACK) return Error("io", "Request to " + place + " was stopped");
    if (code == CURLE_OPERATION_TIMEDOUT && request_.idle_timeout_seconds == 0)
      return Error("io", "No complete response from " + place + " within " + std::to_string(request_.timeout_seconds) + " s");
    long system_error = 0;
    library_.easy_getinfo(handle_.get(), CURLINFO_OS_ERRNO, &system_error);
    if (code == CURLE_COULDNT_CONNECT && system_error != 0)
      return Error("io", std::string(std::strerror(static_cast<int>(system_error))) + ": " + place);
    const bool tells_more = error_[0] != '\0' && !request_.hidden_url;  // libcurl's own words name the host
    return Error("io", (tells_more ? std::string(error_) : library_.easy_strerror(code)) + " (" + place + ')');
  }

  std::string shown_host() const { return request_.hidden_url ? "***" : url_.host; }
  Error denied_address() const { return Error("illegal argument", "The address of " + shown_host() + " is not allowed"); }

  const HttpRequest& request_;
  const AddressRanges& denied_;
  const Url url_;
  std::optional<HttpProxy> proxy_;
  const Curl& library_;
  std::optional<CurlHandle> own_handle_;
  CurlHandle& handle_;
  HttpResponse response_;
  bool met_denied_ = false;
  char error_[CURL_ERROR_SIZE] = "";
};

/// Changes the request as its redirect wants it.
void redirect(HttpRequest& request, const std::string& from, const std::string& to, int status) {
  const bool as_get = status == 303 ? request.method != "HEAD" : (status == 301 || status == 302) && request.method == "POST";
  if (as_get) {
    request.method = "GET";
    request.has_body = false;
    request.body.clear();
    std::erase_if(request.headers, [](const auto& header) { return lower(header.first) == "content-type"; });
  }
  const Url before = parse_url(from), after = parsed(request, to);
  if (before.scheme == after.scheme && before.host == after.host && before.port == after.port) return;
  std::erase_if(request.headers, [&](const auto& header) {
    const std::string name = lower(header.first);
    const auto is_name = [&](const std::string& other) { return lower(other) == name; };
    return name == "authorization" || name == "proxy-authorization" || name == "cookie" ||
           std::any_of(request.private_headers.begin(), request.private_headers.end(), is_name);
  });
}

}  // namespace

std::optional<std::string> HttpResponse::header(std::string_view lower_case_name) const {
  for (const auto& [name, value] : headers)
    if (name == lower_case_name) return value;
  return std::nullopt;
}

HttpConnections::HttpConnections() = default;
HttpConnections::~HttpConnections() = default;

CurlHandle& HttpConnections::handle(const char* needed_by) {
  if (handle_)
    handle_->reset();
  else
    handle_ = std::make_unique<CurlHandle>(curl(needed_by));
  return *handle_;
}

HttpResponse http_request(const HttpRequest& wanted) {
  HttpRequest request = wanted;
  const AddressRanges denied(request.denied_cidrs);
  const auto deadline = Clock::now() + std::chrono::seconds(std::clamp<std::int64_t>(request.timeout_seconds, 1, 10'000'000));
  std::string url = request.url;
  for (int redirects = 0;; ++redirects) {
    Exchange exchange(request, denied, url);
    HttpResponse response = exchange.perform(deadline);
    if (!request.follow_redirects || !is_redirect(response.status)) return response;
    const auto next = exchange.redirect_url();
    if (!next || redirects >= request.max_redirects) {
      response.redirect_failed = true;
      return response;
    }
    redirect(request, url, *next, response.status);
    url = *next;
  }
}

}  // namespace digdag::client
