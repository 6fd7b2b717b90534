#include "server/http_server.h"

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <future>
#include <list>
#include <utility>

#include "base/fd.h"
#include "base/open_files.h"
#include "base/thread.h"
#include "server/asio.h"
#include "server/connection.h"
#include "server/connections.h"
#include "server/http_answer.h"
#include "server/http_service.h"
#include "server/listening_socket.h"

namespace digdag::server {

/// The loop, its thread, and the doors: what comes in is handed to the `HttpService`.
class HttpServer::Impl {
 public:
  Impl(Options options, Handler& handler, Log& log);
  ~Impl() { stop(); }

  void stop_listening();
  bool wait_for_requests(std::chrono::milliseconds most) { return service_.wait_for_requests(most); }
  void stop();

  Options options;

 private:
  struct Listener {
    ListenerKind kind;
    tcp::acceptor acceptor;
  };

  void info(std::string_view message) { log_.write(LogLevel::info, "main", "server", message); }
  void listen(Address& address, ListenerKind kind);
  awaitable<void> accept_all(Listener& listener);
  void take(Fd socket, ListenerKind kind, const std::string& peer);

  Log& log_;
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{loop_.get_executor()};
  std::list<Listener> listeners_;

  // Of the I/O thread.
  Connection::Received received_;
  Connections connections_;
  Clock::time_point last_complaint_{};

  HttpService service_;
  Thread thread_;
  bool listening_ = true;
};

HttpServer::Impl::Impl(Options chosen, Handler& handler, Log& log)
    : options(std::move(chosen)),
      log_(log),
      connections_(loop_, std::min({options.no_request_timeout, options.request_parse_timeout, options.io_idle_timeout})),
      service_(options, handler, log, loop_, connections_) {
  raise_open_files_limit();
  info("Starting server on " + address_text(options.api) + (options.admin ? ", " + address_text(*options.admin) : ""));
  listen(options.api, ListenerKind::api);
  if (options.admin) listen(*options.admin, ListenerKind::admin);
  for (Listener& listener : listeners_) asio::co_spawn(loop_, accept_all(listener), [](const std::exception_ptr&) {});
  thread_ = Thread("HTTP connections", [this] { loop_.run(); });
  info("Bound on " + address_text(options.api) + " (api)");
  if (options.admin) info("Bound on " + address_text(*options.admin) + " (admin)");
}

void HttpServer::Impl::listen(Address& address, ListenerKind kind) {
  Fd socket = listen_at(address);
  const tcp protocol = address.host.find(':') == std::string::npos ? tcp::v4() : tcp::v6();
  listeners_.push_back({kind, tcp::acceptor(loop_, protocol, socket.get())});
  socket.release();
}

awaitable<void> HttpServer::Impl::accept_all(Listener& listener) {
  while (listener.acceptor.is_open()) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    Fd socket(accept4(listener.acceptor.native_handle(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (socket) {
      const int yes = 1;
      setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      take(std::move(socket), listener.kind, host_text(address, size));
      continue;
    }
    const int problem = errno;
    if (problem == EINTR || problem == ECONNABORTED) continue;
    error_code error;
    if (problem == EAGAIN) {
      co_await listener.acceptor.async_wait(tcp::acceptor::wait_read, asio::redirect_error(asio::use_awaitable, error));
    } else if (listener.acceptor.is_open() && !connections_.close_an_idle_one()) {
      if (Clock::now() - last_complaint_ > std::chrono::minutes(1)) {
        last_complaint_ = Clock::now();
        log_.write(
            LogLevel::warn, "http", "server",
            "Cannot take new connections: " + std::string(std::strerror(problem)) + " (raise `ulimit -n`, or lower the number of clients)");
      }
      asio::steady_timer pause(loop_, std::chrono::milliseconds(100));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
    }
  }
}

void HttpServer::Impl::take(Fd socket, ListenerKind kind, const std::string& peer) {
  if (connections_.size() >= options.connections && !connections_.close_an_idle_one()) {
    const Response response = unavailable("Too many connections are busy; try again (server.http.max-connections allows more)");
    const std::string full = head_of({}, response, false, http_date(std::time(nullptr))) + response.body;
    ::send(socket.get(), full.data(), full.size(), MSG_NOSIGNAL);
    return;
  }
  const int family = [&] {
    int domain = AF_INET;
    socklen_t size = sizeof domain;
    getsockopt(socket.get(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
    return domain;
  }();
  tcp::socket opened(loop_);
  error_code error;
  opened.assign(family == AF_INET6 ? tcp::v6() : tcp::v4(), socket.get(), error);
  if (error) return;
  socket.release();
  const auto connection = std::make_shared<Connection>(std::move(opened), kind, peer, options.io_idle_timeout, received_);
  connections_.add(connection);
  asio::co_spawn(loop_, service_.serve(connection), [this, connection](const std::exception_ptr&) {
    connection->close();
    connections_.remove(*connection);
  });
}

void HttpServer::Impl::stop_listening() {
  listening_ = false;
  service_.drain();
  std::promise<void> closed;
  asio::post(loop_, [&] {
    error_code ignored;
    for (Listener& listener : listeners_) listener.acceptor.close(ignored);
    connections_.end_bodies();
    closed.set_value();
  });
  closed.get_future().wait();
}

void HttpServer::Impl::stop() {
  if (!thread_.running()) return;
  if (listening_) stop_listening();
  asio::post(loop_, [this] { connections_.close_all(); });
  service_.stop();
  keep_running_.reset();
  thread_.join();
}

HttpServer::HttpServer(Options options, Handler& handler, Log& log) : impl_(std::make_unique<Impl>(std::move(options), handler, log)) {}
HttpServer::~HttpServer() = default;
const HttpServer::Address& HttpServer::api_address() const { return impl_->options.api; }
const std::optional<HttpServer::Address>& HttpServer::admin_address() const { return impl_->options.admin; }
void HttpServer::stop_listening() { impl_->stop_listening(); }
bool HttpServer::wait_for_requests(std::chrono::milliseconds most) { return impl_->wait_for_requests(most); }
void HttpServer::stop() { impl_->stop(); }

}  // namespace digdag::server
