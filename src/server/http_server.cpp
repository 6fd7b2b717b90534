#include "server/http_server.h"

// g++ 12 takes the frames of Asio's coroutines for memory that somebody else allocated.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#ifdef __SANITIZE_THREAD__
#define BOOST_ASIO_DISABLE_FENCED_BLOCK  // the sanitizer does not know fences
#endif

#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/parser.hpp>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <future>
#include <list>
#include <mutex>
#include <utility>

#include "base/fd.h"
#include "base/open_files.h"
#include "base/text.h"
#include "base/thread.h"
#include "server/http_answer.h"
#include "server/listening_socket.h"
#include "server/worker_pool.h"

namespace digdag::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::awaitable;
using asio::ip::tcp;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

constexpr std::size_t most_head_bytes = 64 << 10;
constexpr std::uint64_t most_skipped_body_bytes = 64 << 10;  // larger ones cost the connection where the request is refused
constexpr std::chrono::seconds most_time_to_leave{10};
constexpr auto never = Clock::time_point::max();

// --- what Beast parses ---------------------------------------------------------------------------------------------------------

/// A body that grows as bytes come, up to a limit that is known only when the head has been read.
struct LimitedBody {
  struct value_type {
    std::string bytes;
    std::uint64_t most = 0;
    bool kept = true;
    std::uint64_t size = 0;
  };
  class reader {
   public:
    template <bool is_request, class Fields>
    reader(http::header<is_request, Fields>&, value_type& body) : body_(body) {}
    void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }
    template <class Buffers>
    std::size_t put(const Buffers& buffers, error_code& error) {
      std::size_t taken = 0;
      for (auto buffer = asio::buffer_sequence_begin(buffers); buffer != asio::buffer_sequence_end(buffers); ++buffer) {
        const asio::const_buffer bytes = *buffer;
        if (body_.size + bytes.size() > body_.most) {
          error = http::error::body_limit;
          return taken;
        }
        if (body_.kept) body_.bytes.append(static_cast<const char*>(bytes.data()), bytes.size());
        body_.size += bytes.size();
        taken += bytes.size();
      }
      error = {};
      return taken;
    }
    void finish(error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};
using Parser = http::request_parser<LimitedBody>;

Request request_of(const Parser& parser, ListenerKind listener, const std::string& peer) {
  const auto& message = parser.get();
  Request request;
  request.method = std::string_view(message.method_string().data(), message.method_string().size());
  request.protocol = "HTTP/" + std::to_string(message.version() / 10) + '.' + std::to_string(message.version() % 10);
  for (const auto& field : message)
    request.headers.add({field.name_string().data(), field.name_string().size()}, {field.value().data(), field.value().size()});
  if (const auto length = parser.content_length()) request.content_length = *length;
  request.listener = listener;
  request.peer = peer;
  return request;
}

// --- streams -------------------------------------------------------------------------------------------------------------------

/// What a stream's writer and its connection share. It may outlive the server.
struct StreamState {
  explicit StreamState(asio::io_context& of) : loop(of) {}

  std::mutex mutex;
  std::string pending;
  std::size_t unsent = 0;
  bool finished = false;  // nothing more is taken
  bool closed = false;    // nothing more is sent, and `loop` is not touched
  std::function<void()> when_ready;
  asio::io_context& loop;
  asio::steady_timer* sleeping = nullptr;  // of the I/O thread

  /// Under the lock.
  void wake(const std::shared_ptr<StreamState>& self) {
    if (closed) return;
    asio::post(loop, [self] {
      if (self->sleeping != nullptr) self->sleeping->cancel();
    });
  }

  // From the I/O thread, both tell the writer.
  /// Nobody reads any more.
  void close() {
    end([this] { closed = finished = true; });
  }
  /// What was written is still sent, and nothing else.
  void end_politely() {
    end([this] { finished = true; });
  }

 private:
  template <typename Change>
  void end(Change change) {
    std::function<void()> call;
    {
      const std::lock_guard lock(mutex);
      if (!finished) call = std::move(when_ready);
      change();
    }
    if (sleeping != nullptr) sleeping->cancel();
    if (call) call();
  }
};

class StreamEnd : public BodyStream {
 public:
  explicit StreamEnd(std::shared_ptr<StreamState> state) : state_(std::move(state)) {}
  ~StreamEnd() override { finish(); }

  bool write(std::string bytes) override {
    const std::lock_guard lock(state_->mutex);
    if (state_->finished) return false;
    state_->unsent += bytes.size();
    state_->pending += bytes;
    state_->wake(state_);
    return true;
  }
  void finish() override {
    const std::lock_guard lock(state_->mutex);
    if (!std::exchange(state_->finished, true)) state_->wake(state_);
  }
  std::size_t unsent() const override {
    const std::lock_guard lock(state_->mutex);
    return state_->unsent;
  }
  void when_ready(std::function<void()> call) override {
    {
      const std::lock_guard lock(state_->mutex);
      if (!state_->finished) {
        state_->when_ready = std::move(call);
        return;
      }
    }
    call();
  }
  bool closed() const override {
    const std::lock_guard lock(state_->mutex);
    return state_->finished;
  }

 private:
  std::shared_ptr<StreamState> state_;
};

/// Assigning an empty text would keep the memory.
void release(std::string& text) { std::string().swap(text); }

/// How answering is going, shared by a connection and a worker.
struct Answer {
  Response response;
  std::shared_ptr<StreamState> stream;
  bool keep_alive = true;
};

}  // namespace

// --- the server ----------------------------------------------------------------------------------------------------------------

class HttpServer::Impl {
 public:
  Impl(Options options, Handler& handler, Log& log);
  ~Impl() { stop(); }

  void stop_listening();
  bool wait_for_requests(std::chrono::milliseconds most);
  void stop();

  Options options;

 private:
  struct Connection;
  class Running;
  class HeldMemory;
  using Connections = std::list<std::shared_ptr<Connection>>;
  struct Listener {
    ListenerKind kind;
    tcp::acceptor acceptor;
  };

  void info(std::string_view message) { log_.write(LogLevel::info, "main", "server", message); }
  void listen(Address& address, ListenerKind kind);

  awaitable<void> accept_all(Listener& listener);
  void take(Fd socket, ListenerKind kind, const std::string& peer);
  bool close_an_idle_connection();

  awaitable<void> serve(std::shared_ptr<Connection> connection);
  /// What becomes of a connection after a request.
  enum class Next : std::uint8_t { request, leave, drop };
  awaitable<Next> serve_request(Connection& connection);
  awaitable<Next> read_head(Connection& connection, Parser& parser);
  awaitable<std::optional<Response>> read_body(Connection& connection, Parser& parser, const BodyLimit& limit, HeldMemory& memory);
  awaitable<bool> receive(Connection& connection, Clock::time_point deadline);
  awaitable<bool> send(Connection& connection, std::string_view head, std::string_view body);
  awaitable<Next> send_refusal(Connection& connection, Response response);
  awaitable<bool> send_stream(Connection& connection, StreamState& stream, bool chunked, std::uint64_t& bytes);
  awaitable<void> take_leave(Connection& connection);
  awaitable<void> ask_handler(Request& request, const BodyLimit& limit, Answer& answer);
  void handle(Request& request, const BodyLimit& limit, Answer& answer);
  void watch_reader(const std::shared_ptr<Connection>& connection);

  awaitable<void> close_what_is_late();
  std::string_view date();

  Handler& handler_;
  Log& log_;
  asio::io_context loop_{1};
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{loop_.get_executor()};
  std::list<Listener> listeners_;
  WorkerPool workers_;
  std::atomic<bool> draining_ = false, stopping_ = false;

  // Of the I/O thread.
  Connections idle_, busy_;  // idle ones in the order in which they became so
  asio::steady_timer sweep_{loop_};
  bool sweeping_ = false;
  std::array<char, 64 << 10> received_;
  std::uint64_t body_bytes_ = 0;
  std::time_t date_of_ = 0;
  std::string date_;
  Clock::time_point last_complaint_{};

  std::mutex running_mutex_;
  std::condition_variable none_runs_;
  std::size_t running_ = 0;

  Thread thread_;
};

/// Counts a request while it runs.
class HttpServer::Impl::Running {
 public:
  explicit Running(Impl& impl) : impl_(impl) {
    const std::lock_guard lock(impl_.running_mutex_);
    ++impl_.running_;
  }
  ~Running() {
    const std::lock_guard lock(impl_.running_mutex_);
    if (--impl_.running_ == 0) impl_.none_runs_.notify_all();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  Impl& impl_;
};

/// The part of a request in what all bodies together may hold.
class HttpServer::Impl::HeldMemory {
 public:
  explicit HeldMemory(Impl& impl) : impl_(impl) {}
  ~HeldMemory() { hold(0); }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  void hold(std::uint64_t bytes) {
    impl_.body_bytes_ += bytes - held_;
    held_ = bytes;
  }

 private:
  Impl& impl_;
  std::uint64_t held_ = 0;
};

struct HttpServer::Impl::Connection : std::enable_shared_from_this<Connection> {
  Connection(tcp::socket opened, ListenerKind listener_kind, std::string peer_address)
      : socket(std::move(opened)), kind(listener_kind), peer(std::move(peer_address)) {}

  tcp::socket socket;
  const ListenerKind kind;
  const std::string peer;
  std::string unparsed;  // came, and was not parsed yet
  Clock::time_point deadline = never;
  std::shared_ptr<StreamState> stream;
  Connections::iterator place;
  bool idle = true;

  void close() {
    error_code ignored;
    socket.close(ignored);
    if (stream) stream->close();
  }
};

HttpServer::Impl::Impl(Options chosen, Handler& handler, Log& log)
    : options(std::move(chosen)), handler_(handler), log_(log), workers_(options.worker_threads, options.waiting_requests) {
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

// --- connections ---------------------------------------------------------------------------------------------------------------

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
    } else if (listener.acceptor.is_open() && !close_an_idle_connection()) {
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

bool HttpServer::Impl::close_an_idle_connection() {
  if (idle_.empty()) return false;
  const std::shared_ptr<Connection> oldest = idle_.front();
  busy_.splice(busy_.end(), idle_, oldest->place);
  oldest->idle = false;
  oldest->close();
  return true;
}

void HttpServer::Impl::take(Fd socket, ListenerKind kind, const std::string& peer) {
  if (idle_.size() + busy_.size() >= options.connections && !close_an_idle_connection()) {
    constexpr std::string_view full =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Type: application/json\r\nContent-Length: "
        "45\r\n\r\n"
        R"({"message":"Too many connections","status":503})";
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
  auto connection = std::make_shared<Connection>(std::move(opened), kind, peer);
  connection->place = idle_.insert(idle_.end(), connection);
  asio::co_spawn(loop_, serve(connection), [this, connection](const std::exception_ptr&) {
    connection->close();
    (connection->idle ? idle_ : busy_).erase(connection->place);
  });
  if (!std::exchange(sweeping_, true)) asio::co_spawn(loop_, close_what_is_late(), [](const std::exception_ptr&) {});
}

awaitable<void> HttpServer::Impl::close_what_is_late() {
  using std::chrono::milliseconds;
  const auto shortest = std::min({options.no_request_timeout, options.request_parse_timeout, options.io_idle_timeout});
  const milliseconds period = std::clamp<milliseconds>(shortest / 4, milliseconds(5), milliseconds(1000));
  while (!stopping_ && !(idle_.empty() && busy_.empty())) {
    const Clock::time_point now = Clock::now();
    for (const Connections* connections : {&idle_, &busy_})
      for (const std::shared_ptr<Connection>& connection : *connections)
        if (connection->deadline < now) connection->close();
    error_code error;
    sweep_.expires_after(period);
    co_await sweep_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
  sweeping_ = false;
}

awaitable<void> HttpServer::Impl::serve(std::shared_ptr<Connection> connection) {
  for (;;) {
    connection->deadline = Clock::now() + options.no_request_timeout;
    while (connection->unparsed.find_first_not_of("\r\n") == std::string::npos) {
      release(connection->unparsed);
      const bool more = co_await receive(*connection, connection->deadline);
      if (!more) co_return;
    }
    busy_.splice(busy_.end(), idle_, connection->place);
    connection->idle = false;
    const Next next = co_await serve_request(*connection);
    if (next == Next::leave) co_await take_leave(*connection);
    if (next != Next::request) co_return;
    if (connection->unparsed.empty()) release(connection->unparsed);
    idle_.splice(idle_.end(), busy_, connection->place);
    connection->idle = true;
  }
}

awaitable<bool> HttpServer::Impl::receive(Connection& connection, Clock::time_point deadline) {
  connection.deadline = deadline;
  while (connection.socket.is_open()) {
    const ssize_t count = ::recv(connection.socket.native_handle(), received_.data(), received_.size(), MSG_DONTWAIT);
    if (count > 0) {
      connection.unparsed.append(received_.data(), static_cast<std::size_t>(count));
      co_return true;
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) co_return false;
    error_code error;
    co_await connection.socket.async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return false;
  }
  co_return false;
}

awaitable<bool> HttpServer::Impl::send(Connection& connection, std::string_view head, std::string_view body) {
  std::array<iovec, 2> parts{{{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}}};
  while (connection.socket.is_open()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t count = ::sendmsg(connection.socket.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      std::size_t sent = static_cast<std::size_t>(count);
      for (iovec& part : parts) {
        const std::size_t of_it = std::min(sent, part.iov_len);
        part.iov_base = static_cast<char*>(part.iov_base) + of_it;
        part.iov_len -= of_it;
        sent -= of_it;
      }
      if (parts[0].iov_len + parts[1].iov_len == 0) co_return true;
      continue;
    }
    if (errno != EAGAIN && errno != EINTR) co_return false;
    connection.deadline = Clock::now() + options.io_idle_timeout;
    error_code error;
    co_await connection.socket.async_wait(tcp::socket::wait_write, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return false;
  }
  co_return false;
}

/// Says why the connection ends, to whom may still be sending.
awaitable<HttpServer::Impl::Next> HttpServer::Impl::send_refusal(Connection& connection, Response response) {
  Answer answer{std::move(response), nullptr, false};
  const std::string head = head_of({}, answer.response, answer.keep_alive, date());
  const bool sent = co_await send(connection, head, answer.response.body);
  co_return sent ? Next::leave : Next::drop;
}

/// Closing while bytes still come would make the other end lose the answer.
awaitable<void> HttpServer::Impl::take_leave(Connection& connection) {
  ::shutdown(connection.socket.native_handle(), SHUT_WR);
  const Clock::time_point end = Clock::now() + std::min<Clock::duration>(most_time_to_leave, options.io_idle_timeout);
  for (bool more = true; more;) {
    connection.unparsed.clear();
    more = co_await receive(connection, end);
  }
}

// --- requests ------------------------------------------------------------------------------------------------------------------

/// `request` where it has come.
awaitable<HttpServer::Impl::Next> HttpServer::Impl::read_head(Connection& connection, Parser& parser) {
  const Clock::time_point deadline = Clock::now() + options.request_parse_timeout;
  connection.unparsed.erase(0, connection.unparsed.find_first_not_of("\r\n"));
  for (;;) {
    error_code error;
    const std::size_t parsed = parser.put(asio::buffer(connection.unparsed), error);
    connection.unparsed.erase(0, parsed);
    if (parser.is_header_done()) co_return Next::request;
    if (error == http::error::header_limit)
      co_return co_await send_refusal(connection, error_response(431, "The request line and headers exceed the limit of 65536 bytes"));
    if (error && error != http::error::need_more)
      co_return co_await send_refusal(connection, error_response(400, "Malformed HTTP request: " + error.message()));
    const bool more = co_await receive(connection, deadline);
    if (!more) co_return Next::drop;
  }
}

/// The refusal where the body is too large; `parser.is_done()` where all of it came.
awaitable<std::optional<Response>> HttpServer::Impl::read_body(Connection& connection, Parser& parser, const BodyLimit& limit,
                                                               HeldMemory& memory) {
  parser.eager(true);
  for (;;) {
    error_code error;
    if (!connection.unparsed.empty()) {
      const std::size_t parsed = parser.put(asio::buffer(connection.unparsed), error);
      connection.unparsed.erase(0, parsed);
      if (connection.unparsed.empty()) release(connection.unparsed);
    }
    if (error == http::error::body_limit) co_return too_large(limit);
    if (error && error != http::error::need_more) co_return error_response(400, "Malformed request body: " + error.message());
    memory.hold(parser.get().body().bytes.size());
    if (body_bytes_ > options.body_bytes_in_memory) co_return unavailable("Too much is being uploaded at the same time; try again");
    if (parser.is_done()) co_return std::nullopt;
    const bool more = co_await receive(connection, Clock::now() + options.io_idle_timeout);
    if (!more) co_return std::nullopt;
  }
}

awaitable<HttpServer::Impl::Next> HttpServer::Impl::serve_request(Connection& connection) {
  Parser parser;
  parser.header_limit(most_head_bytes);
  parser.body_limit(boost::none);
  const Next head_read = co_await read_head(connection, parser);
  if (head_read != Next::request) co_return head_read;
  const Clock::time_point begin = Clock::now();
  Request request = request_of(parser, connection.kind, connection.peer);
  const auto target = parser.get().target();
  if (!set_target(request, {target.data(), target.size()}))
    co_return co_await send_refusal(connection, error_response(400, "Malformed HTTP request: its target is no path"));

  const Running running(*this);

  Answer answer;
  answer.keep_alive = parser.keep_alive();
  Admission admission;
  const bool is_trace = request.method == "TRACE";
  if (is_trace) {
    admission.refusal = trace_of(request);
  } else if (draining_) {
    admission.refusal = unavailable("The server is shutting down");
    answer.keep_alive = false;
  } else {
    admission = handler_.admit(request);
  }

  // The body: read, skipped or left alone.
  HeldMemory memory(*this);
  const bool asks_first = lower(request.headers.joined("Expect")) == "100-continue" && connection.unparsed.empty();
  if (!admission.refusal && request.content_length.value_or(0) > admission.limit.bytes) admission.refusal = too_large(admission.limit);
  if (!parser.is_done()) {
    auto& body = parser.get().body();
    body.kept = !admission.refusal;
    body.most = body.kept ? admission.limit.bytes : most_skipped_body_bytes;
    const bool read = body.kept || (!asks_first && request.content_length && *request.content_length <= most_skipped_body_bytes);
    if (read) {
      if (asks_first) {
        const bool told = co_await send(connection, "HTTP/1.1 100 Continue\r\n\r\n", {});
        if (!told) co_return Next::drop;
      }
      std::optional<Response> refusal = co_await read_body(connection, parser, admission.limit, memory);
      if (refusal)
        admission.refusal = std::move(refusal);
      else if (!parser.is_done())
        co_return Next::drop;
    }
    if (!parser.is_done()) answer.keep_alive = false;
    request.raw_body_bytes = body.size;
    request.body = std::move(body.bytes);
  }

  if (admission.refusal)
    answer.response = *std::move(admission.refusal);
  else {
    connection.deadline = never;
    co_await ask_handler(request, admission.limit, answer);
  }
  release(request.body);
  memory.hold(0);

  // The answer.
  const bool chunked = request.protocol == "HTTP/1.1";
  if (draining_ || (answer.stream && !chunked)) answer.keep_alive = false;
  if (!is_trace) handler_.add_headers(request, answer.response);
  const std::string head = head_of(request, answer.response, answer.keep_alive, date());
  const bool with_body = request.method != "HEAD" && has_body(answer.response.status);
  bool sent = co_await send(connection, head, with_body ? std::string_view(answer.response.body) : std::string_view());
  std::uint64_t bytes = with_body ? answer.response.body.size() : 0;
  if (answer.stream) {
    connection.stream = answer.stream;
    if (sent) {
      sent = co_await send_stream(connection, *answer.stream, chunked, bytes);
    }
    answer.stream->close();
    connection.stream = nullptr;
  }
  if (options.on_finished) {
    const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    options.on_finished({std::move(request), answer.response.status, std::move(answer.response.headers), bytes, duration, now()});
  }
  co_return !sent ? Next::drop : answer.keep_alive ? Next::request : Next::leave;
}

awaitable<void> HttpServer::Impl::ask_handler(Request& request, const BodyLimit& limit, Answer& answer) {
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [&](auto done) {
        const auto shared = std::make_shared<decltype(done)>(std::move(done));
        const auto go_on = [this, shared] { asio::post(loop_, [shared] { std::move (*shared)(); }); };
        const bool taken = workers_.submit([this, &request, &limit, &answer, go_on] {
          handle(request, limit, answer);
          go_on();
        });
        if (taken) return;
        answer.response = unavailable("Too many requests are waiting; try again");
        go_on();
      },
      asio::use_awaitable);
}

/// On a worker thread.
void HttpServer::Impl::handle(Request& request, const BodyLimit& limit, Answer& answer) {
  try {
    if (stopping_) {
      answer.response = unavailable("The server is shutting down");
      return;
    }
    std::optional<Response> refusal = undo_content_encoding(request, limit);
    answer.response = refusal ? *std::move(refusal) : handler_.answer(request);
    if (!answer.response.stream) {
      compress(answer.response, request);
    } else if (request.method != "HEAD") {
      answer.stream = std::make_shared<StreamState>(loop_);
      answer.response.stream(std::make_shared<StreamEnd>(answer.stream));
    }
  } catch (const std::exception& error) {
    log_.write(LogLevel::error, "http", "server", request.method + ' ' + request.path + " failed: " + error.what());
    answer.stream = nullptr;
    answer.response = error_response(500, "Internal error");
  }
}

/// False where the stream was cut off. Counts the bytes.
awaitable<bool> HttpServer::Impl::send_stream(Connection& connection, StreamState& stream, bool chunked, std::uint64_t& bytes) {
  asio::steady_timer sleeping(loop_, never);
  stream.sleeping = &sleeping;
  struct Awake {
    ~Awake() {
      stream.sleeping = nullptr;
      error_code ignored;
      socket.cancel(ignored);  // the watch
    }
    StreamState& stream;
    tcp::socket& socket;
  } awake{stream, connection.socket};
  watch_reader(connection.shared_from_this());
  if (draining_) stream.end_politely();
  for (;;) {
    std::string part;
    bool finished = false;
    {
      const std::lock_guard lock(stream.mutex);
      if (stream.closed) co_return false;
      part.swap(stream.pending);
      finished = stream.finished;
    }
    if (part.empty()) {
      if (finished && !chunked) co_return true;
      if (finished) co_return co_await send(connection, "0\r\n\r\n", {});
      connection.deadline = never;
      error_code error;
      co_await sleeping.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    const std::size_t size = part.size();
    std::string head;
    if (chunked) {
      std::array<char, 24> text;
      head.assign(text.data(), static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%zx\r\n", size)));
      part += "\r\n";
    }
    const bool sent = co_await send(connection, head, part);
    if (!sent) co_return false;
    bytes += size;
    std::function<void()> call;
    {
      const std::lock_guard lock(stream.mutex);
      stream.unsent -= std::min(size, stream.unsent);
      if (stream.unsent == 0 && !stream.finished) call = stream.when_ready;
    }
    if (call) call();
  }
}

/// A reader that goes away is noticed, also while there is nothing to send.
void HttpServer::Impl::watch_reader(const std::shared_ptr<Connection>& connection) {
  connection->socket.async_wait(tcp::socket::wait_read, [this, connection](const error_code& error) {
    if (error || !connection->stream) return;
    char byte;
    const ssize_t count = ::recv(connection->socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count > 0) return;  // the next request, which waits for its turn
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return watch_reader(connection);
    connection->close();
  });
}

std::string_view HttpServer::Impl::date() {
  if (const std::time_t now = std::time(nullptr); date_of_ != now) {
    date_of_ = now;
    date_ = http_date(now);
  }
  return date_;
}

// --- the end -------------------------------------------------------------------------------------------------------------------

void HttpServer::Impl::stop_listening() {
  draining_ = true;
  std::promise<void> closed;
  asio::post(loop_, [&] {
    error_code ignored;
    for (Listener& listener : listeners_) listener.acceptor.close(ignored);
    for (const std::shared_ptr<Connection>& connection : busy_)
      if (connection->stream) connection->stream->end_politely();
    closed.set_value();
  });
  closed.get_future().wait();
}

bool HttpServer::Impl::wait_for_requests(std::chrono::milliseconds most) {
  std::unique_lock lock(running_mutex_);
  return none_runs_.wait_for(lock, most, [this] { return running_ == 0; });
}

void HttpServer::Impl::stop() {
  if (!thread_.running()) return;
  if (!draining_) stop_listening();
  stopping_ = true;
  asio::post(loop_, [this] {
    for (const Connections* connections : {&idle_, &busy_})
      for (const std::shared_ptr<Connection>& connection : *connections) connection->close();
    sweep_.cancel();
  });
  workers_.stop();
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
