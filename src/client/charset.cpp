#include <iconv.h>

#include <cerrno>

#include "base/error.h"
#include "base/text.h"
#include "client/http.h"

namespace digdag::client {
namespace {

/// The `charset` of a content type; nothing where it has none.
std::optional<std::string> charset_of(std::string_view content_type) {
  const std::string text(content_type);
  const std::size_t at = lower(text).find("charset=");
  if (at == std::string::npos) return std::nullopt;
  std::string_view charset = std::string_view(text).substr(at + 8);
  charset = trim(charset.substr(0, charset.find(';')));
  if (charset.size() >= 2 && charset.front() == '"' && charset.back() == '"') charset = charset.substr(1, charset.size() - 2);
  return charset.empty() ? std::nullopt : std::optional(std::string(charset));
}

}  // namespace

std::string decode_text(std::string_view bytes, std::string_view charset) {
  const std::string name = lower(charset);
  if (name == "utf-8" || name == "utf8" || name == "us-ascii" || name == "ascii") return to_valid_utf8(bytes);
  const iconv_t converter = iconv_open("UTF-8", name.c_str());
  // NOLINTNEXTLINE(performance-no-int-to-ptr): what POSIX says that iconv_open returns
  if (converter == reinterpret_cast<iconv_t>(-1)) throw Error("unsupported charset", std::string(charset));
  std::string text;
  char buffer[4096];
  char* in = const_cast<char*>(bytes.data());
  std::size_t in_left = bytes.size();
  while (in_left > 0) {
    char* out = buffer;
    std::size_t out_left = sizeof buffer;
    const bool failed = iconv(converter, &in, &in_left, &out, &out_left) == static_cast<std::size_t>(-1);
    text.append(buffer, sizeof buffer - out_left);
    if (!failed || errno == E2BIG) continue;
    text += "\xEF\xBF\xBD";  // a malformed byte
    ++in;
    --in_left;
  }
  iconv_close(converter);
  return text;
}

std::string body_text(const HttpResponse& response) {
  const auto charset = charset_of(response.header("content-type").value_or(""));
  return decode_text(response.body, charset.value_or("UTF-8"));
}

}  // namespace digdag::client
