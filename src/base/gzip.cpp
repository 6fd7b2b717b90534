#include "base/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <memory>
#include <new>

#include "base/error.h"

namespace digdag {
namespace {

constexpr std::size_t most_at_once = std::size_t{1} << 30;

/// The bits of zlib's window, which choose the frame as well.
int window(Inflate::Frame frame) {
  switch (frame) {
    case Inflate::Frame::gzip: return 16 + MAX_WBITS;
    case Inflate::Frame::zlib: return MAX_WBITS;
    case Inflate::Frame::none: break;
  }
  return -MAX_WBITS;
}

}  // namespace

struct Inflate::Stream {
  z_stream state{};
};

Inflate::Inflate(Frame frame) : stream_(std::make_unique<Stream>()) {
  if (inflateInit2(&stream_->state, window(frame)) != Z_OK) throw std::bad_alloc();
}
Inflate::~Inflate() { inflateEnd(&stream_->state); }

void Inflate::give(std::string_view bytes) {
  stream_->state.avail_in = 0;
  later_ = bytes;
}

std::size_t Inflate::read(char* to, std::size_t size) {
  z_stream& stream = stream_->state;
  size = std::min(size, most_at_once);
  stream.next_out = reinterpret_cast<Bytef*>(to);
  stream.avail_out = static_cast<uInt>(size);
  while (stream.avail_out > 0 && !at_end_) {
    if (stream.avail_in == 0) {
      const std::string_view piece = later_.substr(0, most_at_once);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(piece.data()));
      stream.avail_in = static_cast<uInt>(piece.size());
      later_.remove_prefix(piece.size());
    }
    const int code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_BUF_ERROR) break;  // it wants more than was given
    if (code != Z_OK && code != Z_STREAM_END)
      throw Error("io", std::string("the packed data is damaged: ") + (stream.msg != nullptr ? stream.msg : zError(code)));
    at_end_ = code == Z_STREAM_END;
  }
  return size - stream.avail_out;
}

std::string_view Inflate::rest() const {
  const z_stream& stream = stream_->state;
  // Both lie in the same text, the one before the other.
  return stream.avail_in == 0 ? later_ : std::string_view(reinterpret_cast<const char*>(stream.next_in), stream.avail_in + later_.size());
}

void Inflate::begin_member() {
  inflateReset(&stream_->state);
  at_end_ = false;
}

bool begins_gzip(std::string_view bytes) { return bytes.starts_with("\x1f\x8b"); }

bool Gunzip::add(std::string_view bytes, const std::function<bool(std::string_view)>& content) {
  char buffer[65536];
  inflate_.give(bytes);
  for (;;) {
    if (inflate_.at_end()) {
      if (inflate_.rest().empty()) return true;
      inflate_.begin_member();
    }
    const std::string_view got(buffer, inflate_.read(buffer, sizeof buffer));
    if (!got.empty() && !content(got)) return false;
    if (got.size() < sizeof buffer && !inflate_.at_end()) return true;
  }
}

std::string gunzip(std::string_view bytes, std::size_t most_bytes) {
  if (!begins_gzip(bytes)) return std::string(bytes);
  std::string content;
  Gunzip().add(bytes, [&](std::string_view piece) {
    content += piece;
    if (content.size() > most_bytes) throw Error("io", "gzip data of more than " + std::to_string(most_bytes) + " bytes");
    return true;
  });
  return content;
}

}  // namespace digdag
