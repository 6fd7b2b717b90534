#include "dig/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace digdag::dig {
namespace {

/// Most messages are shorter, and read at once.
constexpr std::size_t most_at_first = 4096;

bool write_all(int fd, std::string_view bytes, Channel channel) {
  while (!bytes.empty()) {
    const ssize_t n =
        channel == Channel::socket ? send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) : write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// Waits until `fd` can be read.
FrameEnd wait_for(int fd, const std::optional<std::chrono::steady_clock::time_point>& deadline, int other) {
  for (;;) {
    int millis = -1;
    if (deadline) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()).count();
      if (left < 0) return FrameEnd::timeout;
      millis = static_cast<int>(std::min<std::int64_t>(left + 1, 1'000'000));
    }
    // Of `other` only its end is of interest, which is always reported.
    pollfd polled[2] = {{fd, POLLIN, 0}, {other, POLLRDHUP, 0}};
    const int ready = poll(polled, other < 0 ? 1 : 2, millis);
    if (ready < 0 && errno != EINTR) return FrameEnd::closed;
    if (ready <= 0) continue;
    if (other >= 0 && polled[1].revents != 0) return FrameEnd::other_closed;
    if (polled[0].revents != 0) return FrameEnd::complete;
  }
}

}  // namespace

bool write_frame(int fd, std::string_view content, Channel channel) {
  const auto length = static_cast<std::uint32_t>(content.size());
  std::string frame(sizeof length, '\0');
  std::memcpy(frame.data(), &length, sizeof length);
  frame += content;
  return write_all(fd, frame, channel);
}

FrameEnd read_frame(int fd, std::string& content, std::optional<std::chrono::steady_clock::time_point> deadline, int other,
                    std::size_t most_bytes) {
  std::uint32_t length = 0;
  std::string frame(most_at_first, '\0');
  std::size_t have = 0;
  while (have < sizeof length || have < sizeof length + length) {
    // Without anything else to wait for, reading waits by itself; a sandboxed process cannot wait otherwise.
    if (deadline || other >= 0) {
      if (const FrameEnd end = wait_for(fd, deadline, other); end != FrameEnd::complete) return end;
    }
    const ssize_t n = read(fd, frame.data() + have, frame.size() - have);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return FrameEnd::closed;
    const bool had_length = have >= sizeof length;
    have += static_cast<std::size_t>(n);
    if (!had_length && have >= sizeof length) {
      std::memcpy(&length, frame.data(), sizeof length);
      if (length > most_bytes || have > sizeof length + length) return FrameEnd::too_long;
      frame.resize(sizeof length + length);
    }
  }
  content.assign(frame, sizeof length);
  return FrameEnd::complete;
}

}  // namespace digdag::dig
