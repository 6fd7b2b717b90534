#pragma once

#include <optional>
#include <string>

#include "base/value.h"

namespace digdag::operators {

/// The body of a request and its type.
struct HttpContent {
  std::string body, type;
};

/// What `content`, `content_format` and `content_type` of http> make (the matrix of spec/operators.md 5.1). Error(config)
/// `Invalid content format for arrays: 'form'`, `Invalid form content field value: …`.
HttpContent http_content(const Value& content, const std::optional<std::string>& format, const std::optional<std::string>& type);

/// `query` of http>: an object, a text that holds a JSON object, or a query string. Names and values are form-encoded.
std::string http_query(const Value& query);

/// The reason phrase of a status as the original's HTTP client words it: `500 Server Error`; unknown ones by number: `600`.
std::string http_reason(int status);

}  // namespace digdag::operators
