#include "server/content_coding.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <new>
#include <vector>

#include "base/error.h"
#include "base/gzip.h"
#include "base/text.h"

namespace digdag::server {
namespace {

/// The bits of zlib's window, which choose the frame as well: plus 16 is gzip's, negative is none.
int window(Coding coding, int bits) { return coding == Coding::gzip ? bits + 16 : -bits; }

double quality(const std::vector<std::string>& parameters) {
  for (std::size_t i = 1; i < parameters.size(); ++i) {
    const std::string_view text = trim(parameters[i]);
    double q = 1;
    if (text.starts_with("q=")) return std::from_chars(text.data() + 2, text.data() + text.size(), q).ec == std::errc() ? q : 0;
  }
  return 1;
}

/// Nothing where it would be more than `most`; Error where `bytes` are not packed so.
std::optional<std::string> unpacked(std::string_view bytes, Inflate::Frame frame, std::uint64_t most) {
  Inflate inflate(frame);
  inflate.give(bytes);
  std::string result;
  for (;;) {
    const std::size_t before = result.size();
    if (before > most) return std::nullopt;
    const std::size_t room = std::min<std::uint64_t>(most + 1 - before, std::clamp<std::size_t>(before, 4096, 1 << 20));
    result.resize(before + room);
    const std::size_t got = inflate.read(result.data() + before, room);
    result.resize(before + got);
    if (got == room) continue;
    if (!inflate.at_end()) throw Error("io", "the packed data ends too early");
    if (inflate.rest().empty() || frame == Inflate::Frame::none) return result;
    inflate.begin_member();
  }
}

}  // namespace

Coding preferred_coding(std::string_view accept_encoding) {
  double gzip = -1, deflate = -1, any = -1, identity = 0;
  for (const std::string& choice : split(accept_encoding, ',')) {
    const std::vector<std::string> parts = split(choice, ';');
    const std::string name = lower(trim(parts[0]));
    double& said = name == "gzip" || name == "x-gzip" ? gzip : name == "deflate" ? deflate : name == "*" ? any : identity;
    if (&said != &identity || name == "identity") said = quality(parts);
  }
  if (gzip < 0) gzip = any;
  if (deflate < 0) deflate = any;
  if (gzip > 0 && gzip >= deflate && gzip >= identity) return Coding::gzip;
  return deflate > 0 && deflate >= identity ? Coding::deflate : Coding::identity;
}

std::string_view coding_name(Coding coding) { return coding == Coding::gzip ? "gzip" : "deflate"; }

std::string encode(std::string_view bytes, Coding coding) {
  const bool small = bytes.size() <= 4096;  // then a small window does, which is ten times cheaper to set up
  z_stream stream{};
  if (deflateInit2(&stream, 4, Z_DEFLATED, window(coding, small ? 12 : 15), small ? 5 : 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&deflateEnd)> end(&stream, deflateEnd);
  std::string result(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(result.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw std::bad_alloc();
  result.resize(stream.total_out);
  return result;
}

std::optional<std::string> decode(std::string_view bytes, Coding coding, std::uint64_t most) {
  using Frame = Inflate::Frame;
  const std::vector<Frame> frames = coding == Coding::gzip ? std::vector{Frame::gzip} : std::vector{Frame::zlib, Frame::none};
  for (const Frame frame : frames) {
    try {
      return unpacked(bytes, frame, most);
    } catch (const Error&) {
      continue;
    }
  }
  throw Error("illegal argument", "The request body is not what its Content-Encoding says: " + std::string(coding_name(coding)));
}

}  // namespace digdag::server
