#include "server/connections.h"

#include <algorithm>
#include <utility>

namespace digdag::server {

using std::chrono::milliseconds;

Connections::Connections(asio::io_context& loop, milliseconds shortest_timeout)
    : period_(std::clamp(shortest_timeout / 4, milliseconds(5), milliseconds(1000))), loop_(loop) {}

void Connections::add(const std::shared_ptr<Connection>& connection) {
  connection->place_ = idle_.insert(idle_.end(), connection);
  if (!std::exchange(sweeping_, true)) asio::co_spawn(loop_, close_what_is_late(), [](const std::exception_ptr&) {});
}

void Connections::remove(Connection& connection) { (connection.idle_ ? idle_ : busy_).erase(connection.place_); }

void Connections::now_busy(Connection& connection) {
  busy_.splice(busy_.end(), idle_, connection.place_);
  connection.idle_ = false;
}

void Connections::now_idle(Connection& connection) {
  idle_.splice(idle_.end(), busy_, connection.place_);
  connection.idle_ = true;
}

bool Connections::close_an_idle_one() {
  if (idle_.empty()) return false;
  const std::shared_ptr<Connection> oldest = idle_.front();
  now_busy(*oldest);  // the next time it is another's turn
  oldest->close();
  return true;
}

void Connections::end_bodies() {
  for_each([](Connection& connection) { connection.end_body(); });
}

void Connections::close_all() {
  closed_ = true;
  for_each([](Connection& connection) { connection.close(); });
  sweep_.cancel();
}

awaitable<void> Connections::close_what_is_late() {
  while (!closed_ && size() > 0) {
    for_each([now = Clock::now()](Connection& connection) {
      if (connection.is_late(now)) connection.close();
    });
    error_code error;
    sweep_.expires_after(period_);
    co_await sweep_.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
  sweeping_ = false;
}

template <typename Use>
void Connections::for_each(Use use) {
  for (const List* connections : {&idle_, &busy_})
    for (const std::shared_ptr<Connection>& connection : *connections) use(*connection);
}

}  // namespace digdag::server
