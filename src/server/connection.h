#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "server/asio.h"
#include "server/body_channel.h"
#include "server/http.h"

namespace digdag::server {

/// A client's connection: bytes in, bytes out, and by when some must have moved. Of the I/O thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  /// What one `recv` may bring; all connections share it, for a silent one must cost little.
  using Received = std::array<char, 64 << 10>;

  /// Without a byte that leaves for `idle_timeout` it is closed.
  Connection(tcp::socket socket, ListenerKind listener, std::string peer, std::chrono::milliseconds idle_timeout, Received& received);

  const ListenerKind listener;
  const std::string peer;
  std::string unparsed;  ///< came, and was not parsed yet

  /// Waits for more and adds it to `unparsed`. False where the other end has hung up, or the connection was closed.
  awaitable<bool> receive(Clock::time_point deadline);
  /// Hands all of it to the network. False where the other end has hung up, or the connection was closed.
  awaitable<bool> send(std::string_view head, std::string_view body = {});
  /// Sends a body as it is written, until it ends, and adds to `bytes` what went. False where it was cut off: also as soon as a reader
  /// goes away while there is nothing to send.
  awaitable<bool> send_body(std::shared_ptr<BodyChannel> body, bool chunked, std::uint64_t& bytes);
  /// Says that nothing more comes, and waits a little for the other end to do the same: closing while bytes still come would make it
  /// lose the last answer.
  awaitable<void> take_leave();

  /// While others work on an answer: nothing has to move.
  void lift_deadline() { deadline_ = Clock::time_point::max(); }
  bool is_late(Clock::time_point now) const { return deadline_ < now; }
  /// What was written of a body that is being sent is still sent, and then its end.
  void end_body();
  /// At once; what waits in it returns.
  void close();

 private:
  friend class Connections;

  void watch_reader();

  tcp::socket socket_;
  const std::chrono::milliseconds idle_timeout_;
  Received& received_;
  Clock::time_point deadline_ = Clock::time_point::max();
  std::shared_ptr<BodyChannel> body_;  ///< while it is being sent

  // Of `Connections`.
  std::list<std::shared_ptr<Connection>>::iterator place_;
  bool idle_ = true;
};

}  // namespace digdag::server
