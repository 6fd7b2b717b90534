#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/log.h"
#include "server/asio.h"
#include "server/connections.h"
#include "server/http.h"
#include "server/http_server.h"
#include "server/request_parser.h"
#include "server/worker_pool.h"

namespace digdag::server {

/// Serves connections: reads a request, has it answered by the handler on a worker thread, sends the answer, and again, until one of the
/// two ends wants no more.
///
/// Reading and sending belong to the I/O thread, the end to the thread that ends the server.
class HttpService {
 public:
  /// All must outlive it.
  HttpService(const HttpServer::Options& options, Handler& handler, Log& log, asio::io_context& loop, Connections& connections);

  /// One of `connections`, to its end.
  awaitable<void> serve(std::shared_ptr<Connection> connection);

  /// From now on requests are answered 503, and each answer is the last of its connection.
  void drain() { draining_ = true; }
  /// False where requests still run after that time.
  bool wait_for_requests(std::chrono::milliseconds most);
  /// Waits for handlers that run; requests that wait for a worker are answered 503.
  void stop();

 private:
  /// A request on its way through here, and its answer.
  struct Turn;
  class Running;
  class HeldMemory;
  /// What becomes of a connection.
  enum class Next : std::uint8_t { request, leave, drop };

  awaitable<Next> serve_request(Connection& connection);
  awaitable<Next> read_head(Connection& connection, RequestParser& parser);
  Admission admit(Turn& turn);
  awaitable<bool> take_body(Turn& turn, Admission& admission);
  awaitable<std::optional<Response>> read_body(Turn& turn, const BodyLimit& limit);
  awaitable<void> ask_handler(Turn& turn, const BodyLimit& limit);
  void handle(Turn& turn, const BodyLimit& limit);
  awaitable<bool> send_answer(Turn& turn);
  awaitable<Next> send_refusal(Connection& connection, Response response);
  std::string_view date();

  const HttpServer::Options& options_;
  Handler& handler_;
  Log& log_;
  asio::io_context& loop_;
  Connections& connections_;
  std::atomic<bool> draining_ = false, stopping_ = false;

  // Of the I/O thread.
  std::uint64_t body_bytes_ = 0;  ///< of all bodies that are being received
  std::time_t date_of_ = 0;
  std::string date_;

  std::mutex running_mutex_;
  std::condition_variable none_runs_;
  std::size_t running_ = 0;

  WorkerPool workers_;
};

}  // namespace digdag::server
