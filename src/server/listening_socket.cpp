#include "server/listening_socket.h"

#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/error.h"

namespace digdag::server {
namespace {

int port_of(const sockaddr_storage& address) {
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

Error cannot_bind(const HttpServer::Address& address, std::string_view why) {
  return config_error("Cannot listen at " + address_text(address) + ": " + std::string(why))
      .hint(
          "choose another address with --bind and --port (server.bind, server.port), that of the admin interface with --admin-bind and "
          "--admin-port, or port 0 for any free one");
}

}  // namespace

std::string host_text(const sockaddr_storage& address, socklen_t size) {
  std::array<char, NI_MAXHOST> host{};
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST);
  std::string text = host.data();
  return text.starts_with("::ffff:") && text.find('.') != std::string::npos ? text.substr(7) : text;
}

Fd listen_at(HttpServer::Address& address) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* results = nullptr;
  if (const int problem = getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &wanted, &results); problem != 0)
    throw cannot_bind(address, gai_strerror(problem));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> found(results, freeaddrinfo);
  const addrinfo* chosen = found.get();
  for (const addrinfo* one = chosen; one != nullptr && chosen->ai_family != AF_INET; one = one->ai_next)
    if (one->ai_family == AF_INET) chosen = one;  // as Java does with a name that has both
  Fd listening(socket(chosen->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  setsockopt(listening.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  sockaddr_storage real{};
  socklen_t size = sizeof real;
  if (!listening || bind(listening.get(), chosen->ai_addr, chosen->ai_addrlen) != 0 || listen(listening.get(), 4096) != 0 ||
      getsockname(listening.get(), reinterpret_cast<sockaddr*>(&real), &size) != 0)
    throw cannot_bind(address, std::strerror(errno));
  address.port = port_of(real);
  return listening;
}

}  // namespace digdag::server
