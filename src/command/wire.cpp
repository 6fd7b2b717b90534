#include "command/wire.h"

#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <type_traits>

namespace digdag::command {
namespace {

/// Writes fields one after the other: numbers as they lie in memory (both ends are the same program), texts and lists with
/// their length before them.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void operator()(const auto&... values) { (write(values), ...); }

 private:
  template <typename T>
    requires std::is_arithmetic_v<T>
  void write(T number) {
    out_.append(reinterpret_cast<const char*>(&number), sizeof number);
  }
  void write(const std::string& text) {
    write(static_cast<std::uint32_t>(text.size()));
    out_ += text;
  }
  void write(const std::vector<std::string>& list) {
    write(static_cast<std::uint32_t>(list.size()));
    for (const auto& text : list) write(text);
  }
  std::string& out_;
};

class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  void operator()(auto&... values) { (read(values), ...); }

 private:
  std::string_view bytes(std::size_t count) {
    if (count > in_.size()) throw std::runtime_error("truncated message");
    auto taken = in_.substr(0, count);
    in_.remove_prefix(count);
    return taken;
  }
  template <typename T>
    requires std::is_arithmetic_v<T>
  void read(T& number) {
    std::memcpy(&number, bytes(sizeof number).data(), sizeof number);
  }
  void read(std::string& text) {
    std::uint32_t size = 0;
    read(size);
    text = bytes(size);
  }
  void read(std::vector<std::string>& list) {
    std::uint32_t size = 0;
    read(size);
    if (size > in_.size()) throw std::runtime_error("truncated message");
    list.resize(size);
    for (auto& text : list) read(text);
  }
  std::string_view in_;
};

template <typename Variant, std::size_t I = 0>
Variant decode(std::size_t tag, Reader& reader) {
  if constexpr (I == std::variant_size_v<Variant>) {
    throw std::runtime_error("unknown message");
  } else {
    if (tag != I) return decode<Variant, I + 1>(tag, reader);
    std::variant_alternative_t<I, Variant> message;
    message.fields(message, reader);
    return message;
  }
}

constexpr std::size_t header_bytes = sizeof(std::uint32_t) + 1;  // length of the fields, tag

template <typename Variant>
std::string encode(const Variant& message) {
  std::string bytes(header_bytes, '\0');
  Writer writer(bytes);
  std::visit([&](const auto& m) { m.fields(m, writer); }, message);
  const auto size = static_cast<std::uint32_t>(bytes.size() - header_bytes);
  std::memcpy(bytes.data(), &size, sizeof size);
  bytes[sizeof size] = static_cast<char>(message.index());
  return bytes;
}

}  // namespace

Channel::Channel(Fd socket) : socket_(std::move(socket)), buffer_(65536) {}

void Channel::send(const ToGuard& message, Fd attached) { enqueue(encode(message), std::move(attached)); }
void Channel::send(const FromGuard& message) { enqueue(encode(message), Fd()); }

void Channel::enqueue(std::string bytes, Fd attached) {
  const bool idle = outgoing_.empty();
  outgoing_.push_back({std::move(bytes), 0, std::move(attached)});
  if (idle) flush();
}

void Channel::flush() {
  while (!outgoing_.empty()) {
    auto& next = outgoing_.front();
    iovec part{next.bytes.data() + next.sent, next.bytes.size() - next.sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    if (next.attached) {
      header.msg_control = control.data();
      header.msg_controllen = control.size();
      auto* rights = CMSG_FIRSTHDR(&header);
      rights->cmsg_level = SOL_SOCKET;
      rights->cmsg_type = SCM_RIGHTS;
      rights->cmsg_len = CMSG_LEN(sizeof(int));
      const int fd = next.attached.get();
      std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    const ssize_t count = sendmsg(socket_.get(), &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != ETOOMANYREFS) outgoing_.clear();  // the other side is gone: nobody reads it any more
      return;
    }
    next.attached.reset();
    next.sent += static_cast<std::size_t>(count);
    if (next.sent == next.bytes.size()) outgoing_.pop_front();
  }
}

bool Channel::receive() {
  // What was taken is dropped only here, so that a decoded message may refer to it until then.
  incoming_.erase(0, taken_);
  taken_ = 0;
  if (incoming_.empty() && incoming_.capacity() > std::size_t{1} << 20) incoming_.shrink_to_fit();
  for (;;) {
    iovec part{buffer_.data(), buffer_.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(8 * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    const ssize_t count = recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    for (auto* part_of = CMSG_FIRSTHDR(&header); part_of != nullptr; part_of = CMSG_NXTHDR(&header, part_of)) {
      if (part_of->cmsg_level != SOL_SOCKET || part_of->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t fds = (part_of->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < fds; ++i) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(part_of) + i * sizeof(int), sizeof fd);
        incoming_fds_.emplace_back(fd);
      }
    }
    if (count == 0) return false;
    incoming_.append(buffer_.data(), static_cast<std::size_t>(count));
    // One buffer at a time: whoever sends fast must not keep us from our other duties, nor make us hold many descriptors.
    if (next_message() || static_cast<std::size_t>(count) < buffer_.size()) return true;
  }
}

std::optional<std::string_view> Channel::next_message() {
  const auto rest = std::string_view(incoming_).substr(taken_);
  std::uint32_t size = 0;
  if (rest.size() < header_bytes) return std::nullopt;
  std::memcpy(&size, rest.data(), sizeof size);
  if (size > most_message_bytes) throw std::runtime_error("message too large");
  if (rest.size() - header_bytes < size) return std::nullopt;
  return rest.substr(0, header_bytes + size);
}

template <typename Variant>
std::optional<Variant> Channel::take() {
  const auto message = next_message();
  if (!message) return std::nullopt;
  taken_ += message->size();
  Reader reader(message->substr(header_bytes));
  return decode<Variant>(static_cast<unsigned char>((*message)[header_bytes - 1]), reader);
}

Fd Channel::take_fd() {
  if (incoming_fds_.empty()) return Fd();
  Fd fd = std::move(incoming_fds_.front());
  incoming_fds_.pop_front();
  return fd;
}

template std::optional<ToGuard> Channel::take();
template std::optional<FromGuard> Channel::take();

}  // namespace digdag::command
