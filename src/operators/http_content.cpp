#include "operators/http_content.h"

#include <array>
#include <utility>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

namespace digdag::operators {
namespace {

std::string text_of(const Value& scalar, std::string_view key) { return scalar.is_null() ? "null" : convert_to_string(scalar, key); }

std::string form_body(const Value& fields) {
  std::string body;
  for (const auto& field : fields.as_object()) {
    if (!field.value.is_scalar()) throw config_error("Invalid form content field value: " + to_json(field.value)).at(field.position);
    if (!body.empty()) body += '&';
    body += form_urlencode(field.key) + '=' + form_urlencode(text_of(field.value, field.key));
  }
  return body;
}

}  // namespace

HttpContent http_content(const Value& content, const std::optional<std::string>& format, const std::optional<std::string>& type) {
  const bool structured = !content.is_scalar();
  const std::string as = format ? lower(*format) : structured ? "json" : "text";
  if (as == "json") return {to_json(content), type.value_or("application/json")};
  if (as == "text" && !structured) return {text_of(content, "content"), type.value_or("plain/text")};  // the original's spelling
  if (as == "form" && content.is_object()) return {form_body(content), "application/x-www-form-urlencoded"};
  throw config_error("Invalid content format for " + std::string(kind_word(content)) + "s: '" + as + "'")
      .hint("content_format is text, json or form; form needs an object");
}

std::string http_query(const Value& query) {
  Value fields = query;
  if (query.is_string()) {
    try {
      fields = parse_json(query.as_string());
    } catch (const Error&) {
      return query.as_string();
    }
  }
  if (!fields.is_object()) {
    if (query.is_scalar()) return text_of(query, "query");
    throw unexpected_type("object type", "query", query);
  }
  std::string text;
  for (const auto& field : fields.as_object()) {
    if (!text.empty()) text += '&';
    const std::string value = field.value.is_scalar() ? text_of(field.value, field.key) : to_json(field.value);
    text += form_urlencode(field.key) + '=' + form_urlencode(value);
  }
  return text;
}

std::string http_reason(int status) {
  static constexpr std::array<std::pair<int, std::string_view>, 58> reasons{{
      {100, "Continue"},
      {101, "Switching Protocols"},
      {102, "Processing"},
      {200, "OK"},
      {201, "Created"},
      {202, "Accepted"},
      {203, "Non Authoritative Information"},
      {204, "No Content"},
      {205, "Reset Content"},
      {206, "Partial Content"},
      {207, "Multi-Status"},
      {300, "Multiple Choices"},
      {301, "Moved Permanently"},
      {302, "Found"},
      {303, "See Other"},
      {304, "Not Modified"},
      {305, "Use Proxy"},
      {307, "Temporary Redirect"},
      {308, "Permanent Redirect"},
      {400, "Bad Request"},
      {401, "Unauthorized"},
      {402, "Payment Required"},
      {403, "Forbidden"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {407, "Proxy Authentication Required"},
      {408, "Request Timeout"},
      {409, "Conflict"},
      {410, "Gone"},
      {411, "Length Required"},
      {412, "Precondition Failed"},
      {413, "Payload Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {416, "Range Not Satisfiable"},
      {417, "Expectation Failed"},
      {418, "Im a teapot"},
      {420, "Enhance your Calm"},
      {421, "Misdirected Request"},
      {422, "Unprocessable Entity"},
      {423, "Locked"},
      {424, "Failed Dependency"},
      {426, "Upgrade Required"},
      {428, "Precondition Required"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {451, "Unavailable for Legal Reason"},
      {500, "Server Error"},
      {501, "Not Implemented"},
      {502, "Bad Gateway"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {505, "HTTP Version Not Supported"},
      {507, "Insufficient Storage"},
      {508, "Loop Detected"},
      {510, "Not Extended"},
      {511, "Network Authentication Required"},
  }};
  for (const auto& [code, reason] : reasons)
    if (code == status) return std::string(reason);
  return std::to_string(status);
}

}  // namespace digdag::operators
