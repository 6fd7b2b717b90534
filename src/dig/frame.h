#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace digdag::dig {

// Messages between us and the JavaScript worker: a length of four bytes in the machine's order, then so many bytes.

/// Writing to a socket never raises SIGPIPE; a sandboxed process may only write to a pipe.
enum class Channel { socket, pipe };
/// False where the other end is gone.
bool write_frame(int fd, std::string_view content, Channel channel);

enum class FrameEnd { complete, closed, timeout, other_closed, too_long };
/// Reads one message. `deadline`: when to give up; `other`: a descriptor whose hang-up ends the waiting too (-1 = none).
FrameEnd read_frame(int fd, std::string& content, std::optional<std::chrono::steady_clock::time_point> deadline = {}, int other = -1,
                    std::size_t most_bytes = std::size_t{1} << 31);

}  // namespace digdag::dig
