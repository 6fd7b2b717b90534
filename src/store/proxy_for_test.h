#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <filesystem>
#include <list>
#include <string>
#include <thread>

#include "base/fd.h"

namespace digdag::store {

/// For tests: stands between a client and a PostgreSQL server and cuts a connection when the client commits, once.
class ProxyForTest {
 public:
  enum class Cut {
    never,
    before_commit,  ///< the server never gets it
    at_commit,      ///< the server gets it, and the client is cut off while it may be under way
    before_answer,  ///< the server has answered it, the client never gets that
  };
  explicit ProxyForTest(std::filesystem::path server)
      : server_(std::move(server)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(listener_.get(), 16), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~ProxyForTest() {
    ending_ = true;
    shutdown(listener_.get(), SHUT_RDWR);
    acceptor_.join();
    for (std::thread& each : connections_) each.join();
  }

  int port() const { return port_; }
  /// When the client sends `at`: COMMIT, as it prepares that statement, where nothing else is said.
  void cut_next(Cut how, std::string at = std::string("\0commit\0", 8)) {
    at_ = std::move(at);
    cut_ = how;
  }
  bool has_cut() const { return has_cut_; }

 private:
  void accept_all() {
    while (!ending_) {
      Fd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!client) return;
      Fd server(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      server_.string().copy(address.sun_path, sizeof address.sun_path - 1);
      if (connect(server.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) continue;
      connections_.emplace_back([this, from = std::move(client), to = std::move(server)] { forward(from.get(), to.get()); });
    }
  }

  void forward(int client, int server) {
    while (!ending_) {
      pollfd files[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
      if (poll(files, 2, 20) <= 0) continue;
      std::string bytes;
      if (files[0].revents != 0) {
        if (!receive(client, bytes)) break;
        const bool is_there = cut_ != Cut::never && bytes.find(at_) != std::string::npos;
        const Cut cut = is_there ? cut_.exchange(Cut::never) : Cut::never;
        if (cut != Cut::before_commit) send(server, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (cut == Cut::before_answer) {
          pollfd answered{server, POLLIN, 0};
          poll(&answered, 1, 60'000);
        }
        if (cut != Cut::never) {
          has_cut_ = true;
          break;
        }
      }
      if (files[1].revents != 0) {
        bytes.clear();
        if (!receive(server, bytes)) break;
        send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      }
    }
    shutdown(client, SHUT_RDWR);
    shutdown(server, SHUT_RDWR);
  }

  static bool receive(int socket, std::string& bytes) {
    bytes.resize(1 << 16);
    const ssize_t size = recv(socket, bytes.data(), bytes.size(), 0);
    if (size <= 0) return false;
    bytes.resize(static_cast<std::size_t>(size));
    return true;
  }

  const std::filesystem::path server_;
  Fd listener_;
  int port_ = 0;
  std::string at_;  ///< written while nothing is to be cut
  std::atomic<Cut> cut_ = Cut::never;
  std::atomic<bool> ending_ = false, has_cut_ = false;
  std::thread acceptor_;
  std::list<std::thread> connections_;
};

}  // namespace digdag::store
