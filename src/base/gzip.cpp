#include "base/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"

namespace digdag {

std::string gunzip(std::string_view bytes, std::size_t most_bytes) {
  if (!bytes.starts_with("\x1f\x8b")) return std::string(bytes);
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> end(&stream, inflateEnd);
  std::string content;
  char buffer[65536];
  std::size_t given = 0;
  while (given < bytes.size() || stream.avail_in > 0) {
    if (stream.avail_in == 0) {
      const std::size_t piece = std::min<std::size_t>(bytes.size() - given, std::numeric_limits<int>::max());
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data() + given));
      stream.avail_in = static_cast<uInt>(piece);
      given += piece;
    }
    int result = Z_OK;
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer);
      stream.avail_out = sizeof buffer;
      result = inflate(&stream, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        throw Error("io", std::string("broken gzip data: ") + (stream.msg ? stream.msg : "unknown cause"));
      content.append(buffer, sizeof buffer - stream.avail_out);
      if (content.size() > most_bytes) throw Error("io", "gzip data of more than " + std::to_string(most_bytes) + " bytes");
    } while (result == Z_OK && stream.avail_out == 0);
    if (result == Z_STREAM_END) inflateReset(&stream);
  }
  return content;
}

}  // namespace digdag
