#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "server/http.h"

/// What every answer of the HTTP server has in common, whoever gives it.
namespace digdag::server {

/// Status line and header fields, up to the empty line.
std::string head_of(const Request& request, const Response& response, bool keep_alive, std::string_view date);
/// `Sat, 21 Nov 2026 00:19:19 GMT`.
std::string http_date(std::time_t time);
bool has_body(int status);

/// 503, to be tried again.
Response unavailable(std::string_view message);
Response too_large(const BodyLimit& limit);
/// Of a TRACE: what came, but nothing that grants access (spec/decisions.md R-17).
Response trace_of(const Request& request);

/// Decompresses the body; nothing where all is well with it, else the refusal.
std::optional<Response> undo_content_encoding(Request& request, const BodyLimit& limit);
/// In the coding that the client likes best.
void compress(Response& response, const Request& request);

}  // namespace digdag::server
