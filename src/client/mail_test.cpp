#include "client/mail.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "base/error.h"

namespace digdag::client {
namespace {

using testing::HasSubstr;

/// Takes one mail and remembers what was said; refuses recipients with `refused` in their name.
class SmtpDouble {
 public:
  SmtpDouble() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, generic, size) != 0 || listen(socket_, 1) != 0 || getsockname(socket_, generic, &size) != 0) abort();
    port = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(accept(socket_, nullptr, nullptr)); });
  }
  ~SmtpDouble() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  std::string said() {
    shutdown(socket_, SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
    thread_ = std::thread([] {});
    return said_;
  }
  int port = 0;

 private:
  void serve(int connection) {
    if (connection < 0) return;
    const auto say = [&](const std::string& line) { send(connection, line.data(), line.size(), MSG_NOSIGNAL); };
    say("220 test\r\n");
    std::string buffer;
    bool in_data = false;
    char bytes[4096];
    ssize_t n;
    while ((n = recv(connection, bytes, sizeof bytes, 0)) > 0) {
      buffer.append(bytes, static_cast<std::size_t>(n));
      for (std::size_t end; (end = buffer.find("\r\n")) != std::string::npos; buffer.erase(0, end + 2)) {
        const std::string line = buffer.substr(0, end);
        said_ += line + "\n";
        if (in_data) {
          if (line == ".") {
            in_data = false;
            say("250 queued\r\n");
          }
        } else if (line.starts_with("EHLO")) {
          say("250-test\r\n250 AUTH PLAIN\r\n");
        } else if (line == "AUTH PLAIN") {
          say("334 \r\n");
        } else if (line == "AHUAcA==") {
          say("235 ok\r\n");
        } else if (line == "DATA") {
          in_data = true;
          say("354 go\r\n");
        } else if (line.find("refused") != std::string::npos) {
          say("550 nobody here\r\n");
        } else {
          say("250 ok\r\n");
        }
      }
    }
    close(connection);
  }

  int socket_;
  std::string said_;
  std::thread thread_;
};

TEST(Mail, GoesToAllRecipientsWithAuthentication) {
  SmtpDouble server;
  send_mail({.host = "127.0.0.1", .port = server.port, .username = "u", .password = "p"}, {.from = "Digdag <d@x.org>",
                                                                                           .to = {"a@x.org", "B <b@x.org>"},
                                                                                           .cc = {"c@x.org"},
                                                                                           .bcc = {"e@x.org"},
                                                                                           .subject = "Es schlägt fehl",
                                                                                           .body = "hello"});
  const std::string said = server.said();
  EXPECT_THAT(said, HasSubstr("AUTH PLAIN"));
  EXPECT_THAT(said, HasSubstr("MAIL FROM:<d@x.org>"));
  for (const char* recipient : {"a", "b", "c", "e"}) EXPECT_THAT(said, HasSubstr("RCPT TO:<" + std::string(recipient) + "@x.org>"));
  EXPECT_THAT(said, HasSubstr("From: Digdag <d@x.org>"));
  EXPECT_THAT(said, HasSubstr("Subject: =?UTF-8?B?RXMgc2NobMOkZ3QgZmVobA==?="));
  EXPECT_THAT(said, HasSubstr("aGVsbG8="));
  EXPECT_THAT(said, Not(HasSubstr("Bcc")));
}

TEST(Mail, ARefusedRecipientIsAnError) {
  SmtpDouble server;
  try {
    send_mail({.host = "127.0.0.1", .port = server.port}, {.from = "d@x.org", .to = {"refused@x.org"}, .subject = "s", .body = "b"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("Cannot send mail through 127.0.0.1:" + std::to_string(server.port)));
  }
}

TEST(Mail, AddressesCannotSmuggleHeaders) {
  for (const char* address : {"", "nobody", "a@x\r\nBcc: e@x", "A <a@x", "ä@x.org", "a@", "@b"})
    EXPECT_THROW(mail_text({.from = "d@x.org", .to = {address}, .subject = "s", .body = "b"}, "now"), Error) << address;
  EXPECT_THAT(mail_text({.from = "d@x.org", .to = {"a@x"}, .subject = "one\r\nBcc: e@x", .body = "b"}, "now"), Not(HasSubstr("\r\nBcc")));
}

TEST(Mail, LongTextsAreFolded) {
  const std::string text =
      mail_text({.from = "d@x.org", .to = {"a@x"}, .subject = std::string(100, 'a') + "ä", .body = std::string(1000, 'x')}, "now");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find("\r\n", begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - begin, 78u);
    begin = end + 2;
  }
}

TEST(Mail, CanBeStopped) {
  SmtpDouble server;
  const std::atomic<bool> stopped = true;
  try {
    send_mail({.host = "127.0.0.1", .port = server.port}, {.from = "a@b.c", .to = {"d@e.f"}}, &stopped);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Sending mail through 127.0.0.1:" + std::to_string(server.port) + " was stopped");
  }
}

}  // namespace
}  // namespace digdag::client
