#include "client/mail.h"

#include <algorithm>
#include <cstring>
#include <ctime>

#include "base/base64.h"
#include "base/error.h"
#include "base/text.h"
#include "client/curl.h"

namespace digdag::client {
namespace {

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c < 0x7f; });
}

Error invalid_address(const std::string& address) { return config_error("Invalid address: " + address); }

/// The `a@b` of an address.
std::string mailbox_of(const std::string& address) {
  const std::size_t open = address.rfind('<');
  std::string_view mailbox = trim(address);
  if (open != std::string::npos) {
    if (!mailbox.ends_with('>')) throw invalid_address(address);
    mailbox = trim(std::string_view(address).substr(open + 1, address.rfind('>') - open - 1));
  }
  const std::size_t at = mailbox.find('@');
  const bool good = is_ascii(mailbox) && at != std::string_view::npos && at > 0 && at + 1 < mailbox.size() &&
                    mailbox.find_first_of(" <>,") == std::string_view::npos;
  if (!good) throw invalid_address(address);
  return std::string(mailbox);
}

/// A header text as it is, or as encoded words (RFC 2047) of whole characters.
std::string encoded_words(std::string_view text) {
  if (is_ascii(text)) return std::string(text);
  constexpr std::size_t most_bytes = 42;  // 75 characters with what stands around them
  std::string words;
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(1, first_bytes(text, most_bytes).size());
    words += (words.empty() ? "=?UTF-8?B?" : "\r\n =?UTF-8?B?") + base64(text.substr(0, length)) + "?=";
    text.remove_prefix(length);
  }
  return words;
}

std::string header_address(const std::string& address) {
  const std::string mailbox = mailbox_of(address);
  const std::size_t open = address.rfind('<');
  const std::string_view name = open == std::string::npos ? std::string_view() : trim(std::string_view(address).substr(0, open));
  return name.empty() ? mailbox : encoded_words(name) + " <" + mailbox + '>';
}

std::string address_list(const std::vector<std::string>& addresses) {
  std::vector<std::string> texts;
  texts.reserve(addresses.size());
  for (const std::string& address : addresses) texts.push_back(header_address(address));
  return join(texts, ",\r\n ");
}

/// base64 in lines of 76.
std::string encoded_body(const std::string& body) {
  const std::string encoded = base64(body);
  std::string lines;
  for (std::size_t i = 0; i < encoded.size(); i += 76) lines += encoded.substr(i, 76) + "\r\n";
  return lines;
}

std::string current_date() {
  const std::time_t time = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&time, &utc);
  char text[64];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S +0000", &utc);
  return text;
}

struct Upload {
  std::string_view rest;

  static std::size_t read(char* buffer, std::size_t size, std::size_t count, void* self) {
    std::string_view& rest = static_cast<Upload*>(self)->rest;
    const std::size_t length = std::min(size * count, rest.size());
    std::memcpy(buffer, rest.data(), length);
    rest.remove_prefix(length);
    return length;
  }
};

}  // namespace

std::string mail_text(const MailMessage& message, const std::string& date) {
  std::string text = "Date: " + date + "\r\n";
  text += "From: " + header_address(message.from) + "\r\n";
  text += "Sender: " + header_address(message.from) + "\r\n";
  text += "To: " + address_list(message.to) + "\r\n";
  if (!message.cc.empty()) text += "Cc: " + address_list(message.cc) + "\r\n";
  text += "Subject: " + encoded_words(message.subject) + "\r\n";
  text += "MIME-Version: 1.0\r\n";
  text += std::string("Content-Type: ") + (message.html ? "text/html" : "text/plain") + "; charset=utf-8\r\n";
  text += "Content-Transfer-Encoding: base64\r\n\r\n";
  return text + encoded_body(message.body);
}

void send_mail(const SmtpServer& server, const MailMessage& message, const std::atomic<bool>* stopped) {
  const std::string text = mail_text(message, current_date());
  std::vector<std::string> recipients;
  for (const auto* list : {&message.to, &message.cc, &message.bcc})
    for (const std::string& address : *list) recipients.push_back('<' + mailbox_of(address) + '>');

  const Curl& library = curl("mail");
  CurlHandle handle(library);
  char error[CURL_ERROR_SIZE] = "";
  Upload upload{text};
  const std::string place = server.host + ':' + std::to_string(server.port);
  handle.set(CURLOPT_URL, (server.tls ? "smtps://" : "smtp://") + place);
  handle.set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  handle.set(CURLOPT_PROXY, "");
  handle.set(CURLOPT_NOSIGNAL, 1L);
  handle.set(CURLOPT_ERRORBUFFER, error);
  handle.set(CURLOPT_CONNECTTIMEOUT, 10L);
  handle.set(CURLOPT_SERVER_RESPONSE_TIMEOUT, 60L);
  if (server.starttls && !server.tls) handle.set(CURLOPT_USE_SSL, static_cast<long>(CURLUSESSL_TRY));
  if (!server.username.empty()) {
    handle.set(CURLOPT_USERNAME, server.username);
    handle.set(CURLOPT_PASSWORD, server.password);
  }
  handle.set(CURLOPT_MAIL_FROM, '<' + mailbox_of(message.from) + '>');
  handle.set(CURLOPT_MAIL_RCPT, recipients);
  handle.set(CURLOPT_UPLOAD, 1L);
  handle.set(CURLOPT_READFUNCTION, Upload::read);
  handle.set(CURLOPT_READDATA, &upload);
  handle.stop_when(stopped);
  const CURLcode code = library.easy_perform(handle.get());
  if (code == CURLE_ABORTED_BY_CALLBACK) throw Error("io", "Sending mail through " + place + " was stopped");
  if (code != CURLE_OK)
    throw Error("io", std::string("Cannot send mail through ") + place + ": " + (error[0] != '\0' ? error : library.easy_strerror(code)));
}

}  // namespace digdag::client
