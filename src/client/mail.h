#pragma once

#include <atomic>
#include <string>
#include <vector>

namespace digdag::client {

struct SmtpServer {
  std::string host;
  int port = 25;
  bool starttls = true;            ///< where the server offers it
  bool tls = false;                ///< from the first byte
  std::string username, password;  ///< no authentication where the name is empty
};

/// A message of one text. Addresses are `a@b` or `Name <a@b>`.
struct MailMessage {
  std::string from;
  std::vector<std::string> to, cc, bcc;
  std::string subject;
  std::string body;
  bool html = false;
};

/// The message in the form of RFC 5322 (no Bcc). Error(config) `Invalid address: …`.
std::string mail_text(const MailMessage& message, const std::string& date);

/// Sends it; blocks (at most 10 s to connect, 60 s for each answer). Error(config) `Invalid address: …`; Error(kind "io") with
/// host and cause else, also where `stopped` became true. Thread-safe.
void send_mail(const SmtpServer& server, const MailMessage& message, const std::atomic<bool>* stopped = nullptr);

}  // namespace digdag::client
