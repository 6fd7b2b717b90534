#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace digdag::dig {

// Messages between us, the JavaScript worker and its forks: a length of four bytes in the machine's order, then so many bytes.
// Each side waits for the answer to its message before it sends another.

/// How to write to a socket: so that it never raises SIGPIPE, or with the only system call that a sandboxed process has.
enum class Channel { socket, sandboxed };
/// False where the other end is gone.
bool write_frame(int fd, std::string_view content, Channel channel);

enum class FrameEnd { complete, closed, timeout, other_closed, too_long };
/// Reads one message; `too_long` where it has more than `most_bytes`, or another one follows. `deadline`: when to give up; `other`: a
/// descriptor whose hang-up ends the waiting too (-1 = none).
FrameEnd read_frame(int fd, std::string& content, std::optional<std::chrono::steady_clock::time_point> deadline = {}, int other = -1,
                    std::size_t most_bytes = std::size_t{1} << 31);

}  // namespace digdag::dig
