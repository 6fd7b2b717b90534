#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <memory>

#include "server/asio.h"
#include "server/connection.h"

namespace digdag::server {

/// All open connections: the idle ones, which wait for a request, and the busy ones. Closes those whose deadline has passed. Of the I/O
/// thread.
class Connections {
 public:
  /// A deadline that passes is noticed after at most a quarter of `shortest_timeout`, and a second.
  Connections(asio::io_context& loop, std::chrono::milliseconds shortest_timeout);

  std::size_t size() const { return idle_.size() + busy_.size(); }
  /// As an idle one.
  void add(const std::shared_ptr<Connection>& connection);
  /// Where its coroutine has ended.
  void remove(Connection& connection);
  void now_busy(Connection& connection);
  void now_idle(Connection& connection);

  /// Closes the one that has been idle for longest. False where none is idle.
  bool close_an_idle_one();
  /// Ends the bodies that are being sent (`Connection::end_body`).
  void end_bodies();
  /// At the end of the server: none is added any more.
  void close_all();

 private:
  using List = std::list<std::shared_ptr<Connection>>;

  awaitable<void> close_what_is_late();
  template <typename Use>
  void for_each(Use use);

  List idle_, busy_;  // idle ones in the order in which they became so
  const std::chrono::milliseconds period_;
  asio::io_context& loop_;
  asio::steady_timer sweep_{loop_};
  bool sweeping_ = false;  ///< only while there are connections: an idle server sleeps
  bool closed_ = false;
};

}  // namespace digdag::server
