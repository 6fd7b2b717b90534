#pragma once

#include <sys/socket.h>

#include <string>

#include "base/fd.h"
#include "server/http_server.h"

namespace digdag::server {

/// A listening socket that does not block; `address` gets the real port. Error(config) where it cannot be bound.
Fd listen_at(HttpServer::Address& address);

/// `127.0.0.1`, `::1`; an IPv4 address in IPv6 as IPv4.
std::string host_text(const sockaddr_storage& address, socklen_t size);

}  // namespace digdag::server
