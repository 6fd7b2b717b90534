#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/text.h"

namespace digdag::client {

/// For tests: an HTTP server on a free port of 127.0.0.1. The handler gives the whole answer, bytes as they are, so that
/// it can also be a wrong one; every connection serves one request, on its own thread.
class TestServer {
 public:
  struct Request {
    std::string method, target;
    std::map<std::string, std::string> headers;  ///< names in lower case; repeated ones joined by `, `
    std::string body;
    /// `METHOD target`, for expectations.
    std::string line() const { return method + ' ' + target; }
  };
  using Handler = std::function<std::string(const Request&)>;

  explicit TestServer(Handler handler) : handler_(std::move(handler)), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, generic, size) != 0 || listen(socket_, 64) != 0 || getsockname(socket_, generic, &size) != 0)
      throw std::runtime_error("no test server");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~TestServer() {
    shutdown(socket_, SHUT_RDWR);
    acceptor_.join();
    close(socket_);
    for (std::thread& thread : connections_) thread.join();
  }

  int port() const { return port_; }
  std::string url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::vector<std::string> request_lines() const {
    std::vector<std::string> lines;
    for (const Request& request : requests()) lines.push_back(request.line());
    return lines;
  }

  /// In place of an answer, or of its rest: nothing, until the client goes away.
  static inline const std::string silence = "silence";
  /// A complete answer. `headers`: `Name: value` lines.
  static std::string answer(const std::string& status, const std::vector<std::string>& headers, const std::string& body) {
    std::string text = "HTTP/1.1 " + status + "\r\n";
    for (const std::string& header : headers) text += header + "\r\n";
    return text + "Content-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
  }

 private:
  void accept_all() {
    while (true) {
      const int connection = accept(socket_, nullptr, nullptr);
      if (connection < 0) return;
      connections_.emplace_back([this, connection] {
        serve(connection);
        close(connection);
      });
    }
  }

  void serve(int connection) {
    std::string received;
    char buffer[4096];
    const auto receive = [&] {
      const ssize_t n = recv(connection, buffer, sizeof buffer, 0);
      if (n > 0) received.append(buffer, static_cast<std::size_t>(n));
      return n > 0;
    };
    while (received.find("\r\n\r\n") == std::string::npos)
      if (!receive()) return;
    const std::size_t head_end = received.find("\r\n\r\n");
    Request request;
    for (const std::string& line : split(replace_all(received.substr(0, head_end), "\r\n", "\n"), '\n')) {
      if (request.method.empty()) {
        request.method = line.substr(0, line.find(' '));
        request.target = line.substr(line.find(' ') + 1, line.rfind(' ') - line.find(' ') - 1);
        continue;
      }
      std::string& value = request.headers[lower(line.substr(0, line.find(':')))];
      value += (value.empty() ? "" : ", ") + std::string(trim(line.substr(line.find(':') + 1)));
    }
    const std::string length = request.headers.count("content-length") != 0 ? request.headers["content-length"] : "0";
    while (received.size() < head_end + 4 + std::stoul(length))
      if (!receive()) return;
    request.body = received.substr(head_end + 4);
    {
      const std::lock_guard lock(mutex_);
      requests_.push_back(request);
    }
    std::string answer = handler_(request);
    const bool is_silent = answer.ends_with(silence);
    if (is_silent) answer.resize(answer.size() - silence.size());
    for (std::size_t sent = 0; sent < answer.size();) {
      const ssize_t n = send(connection, answer.data() + sent, answer.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return;
      sent += static_cast<std::size_t>(n);
    }
    while (is_silent && receive()) {
    }
  }

  Handler handler_;
  int socket_;
  int port_ = 0;
  std::thread acceptor_;
  std::vector<std::thread> connections_;  ///< touched by the acceptor until it ended
  mutable std::mutex mutex_;
  std::vector<Request> requests_;
};

}  // namespace digdag::client
