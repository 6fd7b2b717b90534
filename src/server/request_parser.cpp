#include "server/request_parser.h"

#include <string_view>

#include "server/http_answer.h"

namespace digdag::server {

namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr std::size_t most_head_bytes = 64 << 10;

}  // namespace

RequestParser::RequestParser() {
  parser_.header_limit(most_head_bytes);
  parser_.body_limit(boost::none);  // `expect_body` says it
}

std::optional<Response> RequestParser::take_head(std::string& bytes) {
  error_code error;
  bytes.erase(0, parser_.put(boost::asio::buffer(bytes), error));
  if (has_head()) return std::nullopt;
  if (error == http::error::header_limit) return error_response(431, "The request line and headers exceed the limit of 65536 bytes");
  if (error && error != http::error::need_more) return error_response(400, "Malformed HTTP request: " + error.message());
  return std::nullopt;
}

std::optional<Request> RequestParser::request(ListenerKind listener, const std::string& peer) const {
  const auto& message = parser_.get();
  Request request;
  request.method = std::string_view(message.method_string().data(), message.method_string().size());
  request.protocol = "HTTP/" + std::to_string(message.version() / 10) + '.' + std::to_string(message.version() % 10);
  for (const auto& field : message)
    request.headers.add({field.name_string().data(), field.name_string().size()}, {field.value().data(), field.value().size()});
  if (const auto length = parser_.content_length()) request.content_length = *length;
  request.listener = listener;
  request.peer = peer;
  if (!set_target(request, {message.target().data(), message.target().size()})) return std::nullopt;
  return request;
}

void RequestParser::expect_body(std::uint64_t most, bool kept) {
  parser_.eager(true);
  parser_.get().body().most = most;
  parser_.get().body().kept = kept;
}

std::optional<Response> RequestParser::take_body(std::string& bytes, const BodyLimit& limit) {
  if (bytes.empty()) return std::nullopt;
  error_code error;
  bytes.erase(0, parser_.put(boost::asio::buffer(bytes), error));
  if (error == http::error::body_limit) return too_large(limit);
  if (error && error != http::error::need_more) return error_response(400, "Malformed request body: " + error.message());
  return std::nullopt;
}

}  // namespace digdag::server
