#include "base/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "base/error.h"

namespace digdag {

struct Gunzip::Stream {
  z_stream state{};
};

Gunzip::Gunzip() : stream_(std::make_unique<Stream>()) {
  if (inflateInit2(&stream_->state, 15 + 16) != Z_OK) throw std::bad_alloc();
}
Gunzip::~Gunzip() { inflateEnd(&stream_->state); }

bool Gunzip::add(std::string_view bytes, const std::function<bool(std::string_view)>& content) {
  z_stream& stream = stream_->state;
  char buffer[65536];
  while (!bytes.empty()) {
    const std::size_t piece = std::min<std::size_t>(bytes.size(), std::numeric_limits<int>::max());
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream.avail_in = static_cast<uInt>(piece);
    int result = Z_OK;
    do {
      stream.next_out = reinterpret_cast<Bytef*>(buffer);
      stream.avail_out = sizeof buffer;
      result = inflate(&stream, Z_NO_FLUSH);
      if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        throw Error("io", std::string("broken gzip data: ") + (stream.msg ? stream.msg : "unknown cause"));
      const std::string_view got(buffer, sizeof buffer - stream.avail_out);
      if (!got.empty() && !content(got)) return false;
    } while (result == Z_OK && stream.avail_out == 0);
    if (result == Z_STREAM_END) inflateReset(&stream);
    bytes.remove_prefix(piece - stream.avail_in);
  }
  return true;
}

std::string gunzip(std::string_view bytes, std::size_t most_bytes) {
  if (!bytes.starts_with("\x1f\x8b")) return std::string(bytes);
  std::string content;
  Gunzip().add(bytes, [&](std::string_view piece) {
    content += piece;
    if (content.size() > most_bytes) throw Error("io", "gzip data of more than " + std::to_string(most_bytes) + " bytes");
    return true;
  });
  return content;
}

}  // namespace digdag
