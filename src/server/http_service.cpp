#include "server/http_service.h"

#include <optional>
#include <utility>

#include "base/text.h"
#include "server/body_channel.h"
#include "server/http_answer.h"

namespace digdag::server {
namespace {

constexpr std::uint64_t most_skipped_body_bytes = 64 << 10;  // larger ones cost the connection where the request is refused

/// Assigning an empty text would keep the memory.
void release(std::string& text) { std::string().swap(text); }

}  // namespace

/// Counts a request while it runs.
class HttpService::Running {
 public:
  explicit Running(HttpService& service) : service_(service) {
    const std::lock_guard lock(service_.running_mutex_);
    ++service_.running_;
  }
  ~Running() {
    const std::lock_guard lock(service_.running_mutex_);
    if (--service_.running_ == 0) service_.none_runs_.notify_all();
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

 private:
  HttpService& service_;
};

/// The part of a request in what all bodies together may hold.
class HttpService::HeldMemory {
 public:
  explicit HeldMemory(HttpService& service) : service_(service) {}
  ~HeldMemory() { hold(0); }
  HeldMemory(const HeldMemory&) = delete;
  HeldMemory& operator=(const HeldMemory&) = delete;
  void hold(std::uint64_t bytes) {
    service_.body_bytes_ += bytes - held_;
    held_ = bytes;
  }

 private:
  HttpService& service_;
  std::uint64_t held_ = 0;
};

struct HttpService::Turn {
  Turn(HttpService& service, Connection& asking, RequestParser& head_taken, Request asked)
      : connection(asking),
        parser(head_taken),
        request(std::move(asked)),
        keep_alive(head_taken.keep_alive()),
        running(service),
        memory(service) {}

  Connection& connection;
  RequestParser& parser;
  Request request;
  bool is_trace() const { return request.method == "TRACE"; }

  Response response;
  std::shared_ptr<BodyChannel> body;  ///< of a response that is written while it is sent
  std::uint64_t bytes_sent = 0;       ///< of the response's body
  bool keep_alive;

  const Running running;
  HeldMemory memory;
};

HttpService::HttpService(const HttpServer::Options& options, Handler& handler, Log& log, asio::io_context& loop, Connections& connections)
    : options_(options),
      handler_(handler),
      log_(log),
      loop_(loop),
      connections_(connections),
      workers_(options.worker_threads, options.waiting_requests) {}

awaitable<void> HttpService::serve(std::shared_ptr<Connection> connection) {
  std::string& unparsed = connection->unparsed;
  for (;;) {
    const Clock::time_point deadline = Clock::now() + options_.no_request_timeout;
    std::size_t blank_lines = unparsed.find_first_not_of("\r\n");
    while (blank_lines == std::string::npos) {
      release(unparsed);
      const bool more = co_await connection->receive(deadline);
      if (!more) co_return;
      blank_lines = unparsed.find_first_not_of("\r\n");
    }
    unparsed.erase(0, blank_lines);

    connections_.now_busy(*connection);
    const Next next = co_await serve_request(*connection);
    if (next == Next::leave) co_await connection->take_leave();
    if (next != Next::request) co_return;
    connections_.now_idle(*connection);
  }
}

awaitable<HttpService::Next> HttpService::serve_request(Connection& connection) {
  RequestParser parser;
  const Next head_read = co_await read_head(connection, parser);
  if (head_read != Next::request) co_return head_read;
  const Clock::time_point begin = Clock::now();
  std::optional<Request> request = parser.request(connection.listener, connection.peer);
  if (!request) co_return co_await send_refusal(connection, error_response(400, "Malformed HTTP request: its target is no path"));

  Turn turn(*this, connection, parser, *std::move(request));
  Admission admission = admit(turn);
  const bool body_taken = co_await take_body(turn, admission);
  if (!body_taken) co_return Next::drop;
  if (admission.refusal)
    turn.response = *std::move(admission.refusal);
  else
    co_await ask_handler(turn, admission.limit);
  release(turn.request.body);
  turn.memory.hold(0);
  const bool sent = co_await send_answer(turn);

  if (options_.on_finished) {
    const auto duration = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
    options_.on_finished(
        {std::move(turn.request), turn.response.status, std::move(turn.response.headers), turn.bytes_sent, duration, now()});
  }
  co_return !sent ? Next::drop : turn.keep_alive ? Next::request : Next::leave;
}

/// `request` where it has come.
awaitable<HttpService::Next> HttpService::read_head(Connection& connection, RequestParser& parser) {
  const Clock::time_point deadline = Clock::now() + options_.request_parse_timeout;
  for (;;) {
    std::optional<Response> refusal = parser.take_head(connection.unparsed);
    if (refusal) co_return co_await send_refusal(connection, *std::move(refusal));
    if (parser.has_head()) co_return Next::request;
    const bool more = co_await connection.receive(deadline);
    if (!more) co_return Next::drop;
  }
}

Admission HttpService::admit(Turn& turn) {
  Admission admission;
  if (turn.is_trace()) {
    admission.refusal = trace_of(turn.request);
  } else if (draining_) {
    admission.refusal = unavailable("The server is shutting down");
  } else {
    admission = handler_.admit(turn.request);
  }
  if (!admission.refusal && turn.request.content_length.value_or(0) > admission.limit.bytes) admission.refusal = too_large(admission.limit);
  return admission;
}

/// Reads it, skips it where that costs little, or leaves it alone, and with it the connection. Puts the refusal into `admission` where it
/// is one that nobody takes. False where it did not come.
awaitable<bool> HttpService::take_body(Turn& turn, Admission& admission) {
  RequestParser& parser = turn.parser;
  if (parser.is_complete()) co_return true;
  const bool kept = !admission.refusal;
  const bool asks_first = lower(turn.request.headers.joined("Expect")) == "100-continue" && turn.connection.unparsed.empty();
  const auto& length = turn.request.content_length;
  parser.expect_body(kept ? admission.limit.bytes : most_skipped_body_bytes, kept);
  if (kept || (!asks_first && length && *length <= most_skipped_body_bytes)) {
    if (asks_first) {
      const bool told = co_await turn.connection.send("HTTP/1.1 100 Continue\r\n\r\n");
      if (!told) co_return false;
    }
    std::optional<Response> refusal = co_await read_body(turn, admission.limit);
    if (refusal)
      admission.refusal = std::move(refusal);
    else if (!parser.is_complete())
      co_return false;
  }
  if (!parser.is_complete()) turn.keep_alive = false;
  turn.request.body = std::move(parser.body());
  co_return true;
}

/// The refusal where it is one; `parser.is_complete()` where all of it came.
awaitable<std::optional<Response>> HttpService::read_body(Turn& turn, const BodyLimit& limit) {
  std::string& unparsed = turn.connection.unparsed;
  for (;;) {
    std::optional<Response> refusal = turn.parser.take_body(unparsed, limit);
    if (refusal) co_return refusal;
    if (unparsed.empty()) release(unparsed);
    turn.memory.hold(turn.parser.body().size());
    if (body_bytes_ > options_.body_bytes_in_memory) co_return unavailable("Too much is being uploaded at the same time; try again");
    if (turn.parser.is_complete()) co_return std::nullopt;
    const bool more = co_await turn.connection.receive(Clock::now() + options_.io_idle_timeout);
    if (!more) co_return std::nullopt;
  }
}

awaitable<void> HttpService::ask_handler(Turn& turn, const BodyLimit& limit) {
  turn.connection.lift_deadline();
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(
      [&](auto done) {
        const auto shared = std::make_shared<decltype(done)>(std::move(done));
        const auto go_on = [this, shared] { asio::post(loop_, [shared] { std::move (*shared)(); }); };
        const bool taken = workers_.submit([this, &turn, &limit, go_on] {
          handle(turn, limit);
          go_on();
        });
        if (taken) return;
        turn.response = unavailable("Too many requests are waiting; try again");
        go_on();
      },
      asio::use_awaitable);
}

/// On a worker thread.
void HttpService::handle(Turn& turn, const BodyLimit& limit) {
  Request& request = turn.request;
  try {
    if (stopping_) {
      turn.response = unavailable("The server is shutting down");
      return;
    }
    std::optional<Response> refusal = undo_content_encoding(request, limit);
    turn.response = refusal ? *std::move(refusal) : handler_.answer(request);
    if (!turn.response.stream) {
      compress(turn.response, request);
    } else if (request.method != "HEAD") {
      turn.body = std::make_shared<BodyChannel>(loop_);
      turn.response.stream(turn.body->writer());
    }
  } catch (const std::exception& error) {
    log_.write(LogLevel::error, "http", "server", request.method + ' ' + request.path + " failed: " + error.what());
    turn.body = nullptr;
    turn.response = error_response(500, "Internal error");
  }
}

/// False where it did not get through.
awaitable<bool> HttpService::send_answer(Turn& turn) {
  const bool chunked = turn.request.protocol == "HTTP/1.1";
  if (draining_ || (turn.body && !chunked)) turn.keep_alive = false;
  if (!turn.is_trace()) handler_.add_headers(turn.request, turn.response);
  const std::string head = head_of(turn.request, turn.response, turn.keep_alive, date());
  const bool with_body = turn.request.method != "HEAD" && has_body(turn.response.status);
  const std::string_view body = with_body ? std::string_view(turn.response.body) : std::string_view();
  turn.bytes_sent = body.size();
  bool sent = co_await turn.connection.send(head, body);
  if (!turn.body) co_return sent;
  if (draining_) turn.body->end();
  if (sent) sent = co_await turn.connection.send_body(turn.body, chunked, turn.bytes_sent);
  turn.body->close();
  co_return sent;
}

/// Says why the connection ends, to whom may still be sending.
awaitable<HttpService::Next> HttpService::send_refusal(Connection& connection, Response response) {
  const std::string head = head_of({}, response, false, date());
  const bool sent = co_await connection.send(head, response.body);
  co_return sent ? Next::leave : Next::drop;
}

std::string_view HttpService::date() {
  if (const std::time_t now = std::time(nullptr); date_of_ != now) {
    date_of_ = now;
    date_ = http_date(now);
  }
  return date_;
}

bool HttpService::wait_for_requests(std::chrono::milliseconds most) {
  std::unique_lock lock(running_mutex_);
  return none_runs_.wait_for(lock, most, [this] { return running_ == 0; });
}

void HttpService::stop() {
  stopping_ = true;
  workers_.stop();
}

}  // namespace digdag::server
