#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "server/asio.h"
#include "server/http.h"
#include "server/limited_body.h"

namespace digdag::server {

/// One request, from its bytes: first the head, then, where its reader wants it, the body.
///
/// Bytes are given as they come and are taken from the front of the text; what stays belongs to what comes next.
class RequestParser {
 public:
  RequestParser();

  /// The refusal where this is no head that HTTP knows, or one that is too long.
  std::optional<Response> take_head(std::string& bytes);
  bool has_head() const { return parser_.is_header_done(); }

  // With a head:
  /// Without its body. Nothing where its target is no path.
  std::optional<Request> request(ListenerKind listener, const std::string& peer) const;
  bool keep_alive() const { return parser_.keep_alive(); }
  /// All of the request came, also its body.
  bool is_complete() const { return parser_.is_done(); }

  /// Before the first byte of the body: how much of it is taken at most, and whether to keep it.
  void expect_body(std::uint64_t most, bool kept);
  /// The refusal where the body is malformed, or larger than expected (`limit` says how that is answered).
  std::optional<Response> take_body(std::string& bytes, const BodyLimit& limit);
  /// What has come of a body that is kept.
  std::string& body() { return parser_.get().body().bytes; }

 private:
  boost::beast::http::request_parser<LimitedBody> parser_;
};

}  // namespace digdag::server
