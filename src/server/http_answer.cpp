#include "server/http_answer.h"

#include <array>
#include <boost/beast/http/status.hpp>
#include <utility>

#include "base/text.h"
#include "server/content_coding.h"

namespace digdag::server {
namespace {

std::string_view reason_of(int status) {
  const boost::beast::string_view reason = boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {reason.data(), reason.size()};
}

void add_field(std::string& head, std::string_view name, std::string_view value) {
  head.append(name).append(": ");
  for (const char c : value) head += c == '\r' || c == '\n' || c == '\0' ? ' ' : c;  // a value must not begin a line of its own
  head += "\r\n";
}

}  // namespace

std::string http_date(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 40> text;
  return {text.data(), std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts)};
}

bool has_body(int status) { return status >= 200 && status != 204 && status != 304; }

Response unavailable(std::string_view message) {
  Response response = error_response(503, message);
  response.headers.add("Retry-After", "1");
  return response;
}

Response too_large(const BodyLimit& limit) {
  if (!limit.message.empty()) return error_response(limit.status, limit.message);
  return error_response(limit.status, "The request body exceeds the limit of " + std::to_string(limit.bytes) + " bytes");
}

Response trace_of(const Request& request) {
  std::string echo = request.method + ' ' + request.target + ' ' + request.protocol + "\r\n";
  for (const auto& [name, value] : request.headers) {
    const std::string known = lower(name);
    if (known == "authorization" || known == "cookie" || known.starts_with("proxy-")) continue;
    add_field(echo, name, value);
  }
  return Response::bytes("message/http", echo + "\r\n");
}

std::optional<Response> undo_content_encoding(Request& request, const BodyLimit& limit) {
  const std::string name = lower(trim(request.headers.joined("Content-Encoding")));
  if (name.empty() || name == "identity" || request.body.empty()) return std::nullopt;
  if (name != "gzip" && name != "x-gzip" && name != "deflate")
    return error_response(415, "Content-Encoding '" + name + "' is not supported; send gzip, deflate or none");
  try {
    std::optional<std::string> body = decode(request.body, name == "deflate" ? Coding::deflate : Coding::gzip, limit.bytes);
    if (!body) return too_large(limit);
    request.body = *std::move(body);
  } catch (const Error& error) {
    return error_response(400, error.message());
  }
  return std::nullopt;
}

void compress(Response& response, const Request& request) {
  if (response.body.empty() || response.content_type == "application/gzip" || response.headers.find("Content-Encoding") != nullptr) return;
  const std::string accepted = request.headers.joined("Accept-Encoding");
  const Coding coding = accepted.empty() ? Coding::identity : preferred_coding(accepted);
  if (coding == Coding::identity) return;
  response.body = encode(response.body, coding);
  response.headers.set("Content-Encoding", coding_name(coding));
}

std::string head_of(const Request& request, const Response& response, bool keep_alive, std::string_view date) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + ' ' + std::string(reason_of(response.status)) + "\r\n";
  head += keep_alive ? "Connection: keep-alive\r\n" : "Connection: close\r\n";
  add_field(head, "Date", date);
  for (const auto& [name, value] : response.headers) add_field(head, name, value);
  if (!response.content_type.empty()) add_field(head, "Content-Type", response.content_type);
  if (response.stream && request.protocol == "HTTP/1.1")
    head += "Transfer-Encoding: chunked\r\n";
  else if (!response.stream && has_body(response.status))
    add_field(head, "Content-Length", std::to_string(response.body.size()));
  return head + "\r\n";
}

}  // namespace digdag::server
