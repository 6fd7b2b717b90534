#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "base/time.h"
#include "server/http.h"

namespace digdag::server {

/// A request and its answer, as the access log tells of them.
struct Exchange {
  Request request;  ///< without its body
  int status = 0;
  Headers answer_headers;
  std::uint64_t bytes_sent = 0;  ///< of the body, as sent
  std::chrono::microseconds duration{0};
  Instant finished;
};

/// HTTP/1.1 in clear text at one address or two (spec/server.md 5): one thread moves all bytes, so that slow and idle clients cost no
/// thread and little memory; handlers run on worker threads.
///
/// Serves from its construction on. Thread-safe, but the steps of the shutdown belong to one thread.
class HttpServer {
 public:
  struct Address {
    std::string host;
    int port = 0;  ///< 0: any free one
  };
  struct Options {
    Address api{"127.0.0.1", 65432};
    std::optional<Address> admin;
    std::size_t worker_threads = 16;
    std::size_t waiting_requests = 1000;                            ///< so many wait for a worker; the next are answered 503
    std::chrono::milliseconds no_request_timeout{60'000};           ///< between requests
    std::chrono::milliseconds request_parse_timeout{30'000};        ///< for request line and headers
    std::chrono::milliseconds io_idle_timeout{300'000};             ///< without a byte of a body or of an answer
    std::size_t connections = 20'000;                               ///< beyond, the longest idle one is closed
    std::uint64_t body_bytes_in_memory = std::uint64_t{256} << 20;  ///< of all bodies that are being received
    std::function<void(Exchange)> on_finished;                      ///< called on the I/O thread; must not block

    /// `server.bind`, `server.port`, `server.admin.*`, `server.http.*`. Error(config).
    static Options of(const SystemConfig& config);
  };

  /// Binds and logs `Bound on HOST:PORT (api)`. Error(config) where an address cannot be bound. `handler` and `log` must outlive it.
  HttpServer(Options options, Handler& handler, Log& log);
  /// Shuts down without waiting for requests that run, but for the handlers that do.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  /// With the real ports.
  const Address& api_address() const;
  const std::optional<Address>& admin_address() const;

  // The end, in this order (spec/server.md 20).
  /// No new connections; new requests on open ones are answered 503; streams are closed.
  void stop_listening();
  /// False where requests still run after that time.
  bool wait_for_requests(std::chrono::milliseconds most = std::chrono::seconds(30));
  /// Closes all connections. Waits for handlers that still run: end first what they may wait for.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// `127.0.0.1:65432`, `[::1]:65432`.
std::string address_text(const HttpServer::Address& address);

}  // namespace digdag::server
