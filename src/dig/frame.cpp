#include "dig/frame.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace digdag::dig {
namespace {

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
  char head[sizeof length];
  std::memcpy(head, &length, sizeof length);
  return write_all(fd, {head, sizeof head}, channel) && write_all(fd, content, channel);
}

FrameEnd read_frame(int fd, std::string& content, std::optional<std::chrono::steady_clock::time_point> deadline, int other,
                    std::size_t most_bytes) {
  std::uint32_t length = 0;
  char head[sizeof length];
  std::size_t have = 0;
  content.clear();
  bool has_length = false;
  while (!has_length || have < length) {
    if (const FrameEnd end = wait_for(fd, deadline, other); end != FrameEnd::complete) return end;
    char* const into = has_length ? content.data() + have : head + have;
    const std::size_t wanted = (has_length ? length : sizeof head) - have;
    const ssize_t n = read(fd, into, wanted);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (n <= 0) return FrameEnd::closed;
    have += static_cast<std::size_t>(n);
    if (!has_length && have == sizeof head) {
      std::memcpy(&length, head, sizeof length);
      if (length > most_bytes) return FrameEnd::too_long;
      content.resize(length);
      has_length = true;
      have = 0;
    }
  }
  return FrameEnd::complete;
}

}  // namespace digdag::dig
