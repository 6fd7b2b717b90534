#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "server/asio.h"
#include "server/http.h"

namespace digdag::server {

/// A body whose parts come later, on its way from whoever writes it (any thread) to the connection that sends it (the I/O thread).
///
/// Both hold it; a writer may have it longer than the server lives, and is told that nobody reads any more.
class BodyChannel : public std::enable_shared_from_this<BodyChannel> {
 public:
  explicit BodyChannel(asio::io_context& loop) : loop_(loop) {}

  /// The end for the writer. When it goes away the body is finished.
  std::shared_ptr<BodyStream> writer();

  // The end for the connection, of the I/O thread.
  /// Waits for what is written. An empty text where the body is finished, nothing where nobody reads any more.
  awaitable<std::optional<std::string>> next();
  /// So many bytes of what `next` gave have been handed to the network.
  void sent(std::size_t bytes);
  /// Nobody reads any more: nothing is taken, and nothing more is given. The writer is told.
  void close();
  /// Nothing more is taken, but what was written is still given. The writer is told.
  void end();

 private:
  class Writer;

  void tell_writer_of(bool& flag);
  /// Under the lock.
  void wake();

  std::mutex mutex_;
  std::string pending_;
  std::size_t unsent_ = 0;
  bool finished_ = false;  ///< nothing more is taken
  bool closed_ = false;    ///< nothing more is given, and `loop_` is not touched: it may be gone
  std::function<void()> when_ready_;
  asio::io_context& loop_;
  asio::steady_timer* sleeping_ = nullptr;  ///< of the I/O thread; no member, because it must not outlive the loop
};

}  // namespace digdag::server
