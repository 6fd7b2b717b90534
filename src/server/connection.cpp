#include "server/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

namespace digdag::server {
namespace {

constexpr std::chrono::seconds most_time_to_leave{10};

}  // namespace

Connection::Connection(tcp::socket socket, ListenerKind listener_kind, std::string peer_address, std::chrono::milliseconds idle_timeout,
                       Received& received)
    : listener(listener_kind),
      peer(std::move(peer_address)),
      socket_(std::move(socket)),
      idle_timeout_(idle_timeout),
      received_(received) {}

awaitable<bool> Connection::receive(Clock::time_point deadline) {
  deadline_ = deadline;
  while (socket_.is_open()) {
    const ssize_t count = ::recv(socket_.native_handle(), received_.data(), received_.size(), MSG_DONTWAIT);
    if (count > 0) {
      unparsed.append(received_.data(), static_cast<std::size_t>(count));
      co_return true;
    }
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) co_return false;
    error_code error;
    co_await socket_.async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return false;
  }
  co_return false;
}

awaitable<bool> Connection::send(std::string_view head, std::string_view body) {
  std::array<iovec, 2> parts{{{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}}};
  while (socket_.is_open()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const ssize_t count = ::sendmsg(socket_.native_handle(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
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
    deadline_ = Clock::now() + idle_timeout_;
    error_code error;
    co_await socket_.async_wait(tcp::socket::wait_write, asio::redirect_error(asio::use_awaitable, error));
    if (error) co_return false;
  }
  co_return false;
}

awaitable<bool> Connection::send_body(std::shared_ptr<BodyChannel> body, bool chunked, std::uint64_t& bytes) {
  body_ = std::move(body);
  const struct Sending {
    ~Sending() {
      connection.body_ = nullptr;
      error_code ignored;
      connection.socket_.cancel(ignored);  // the watch
    }
    Connection& connection;
  } sending{*this};
  watch_reader();
  for (;;) {
    lift_deadline();
    std::optional<std::string> part = co_await body_->next();
    if (!part) co_return false;
    if (part->empty()) break;
    const std::size_t size = part->size();
    std::string head;
    if (chunked) {
      std::array<char, 24> text;
      head.assign(text.data(), static_cast<std::size_t>(std::snprintf(text.data(), text.size(), "%zx\r\n", size)));
      *part += "\r\n";
    }
    const bool sent = co_await send(head, *part);
    if (!sent) co_return false;
    bytes += size;
    body_->sent(size);
  }
  if (!chunked) co_return true;
  co_return co_await send("0\r\n\r\n");
}

void Connection::watch_reader() {
  socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const error_code& error) {
    if (error || !self->body_) return;
    char byte;
    const ssize_t count = ::recv(self->socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (count > 0) return;  // the next request, which waits for its turn
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return self->watch_reader();
    self->close();
  });
}

awaitable<void> Connection::take_leave() {
  ::shutdown(socket_.native_handle(), SHUT_WR);
  const Clock::time_point end = Clock::now() + std::min<Clock::duration>(most_time_to_leave, idle_timeout_);
  for (bool more = true; more;) {
    unparsed.clear();
    more = co_await receive(end);
  }
}

void Connection::end_body() {
  if (body_) body_->end();
}

void Connection::close() {
  error_code ignored;
  socket_.close(ignored);
  if (body_) body_->close();
}

}  // namespace digdag::server
