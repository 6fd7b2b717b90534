#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace digdag {

/// The content of a gzip file: of all its members, one after the other, and of the last one as far as it is there, since files
/// that are still written to are read too. Bytes that are no gzip at all are given back. Error(kind "io") where it is broken or has more
/// than `most_bytes`.
std::string gunzip(std::string_view bytes, std::size_t most_bytes = std::size_t{1} << 30);

/// The same for a file that comes in pieces.
class Gunzip {
 public:
  Gunzip();
  ~Gunzip();
  Gunzip(const Gunzip&) = delete;
  Gunzip& operator=(const Gunzip&) = delete;
  /// `content` is given what the piece yields, until it says false: then false, and no more pieces may come. Error(kind "io").
  bool add(std::string_view bytes, const std::function<bool(std::string_view)>& content);

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace digdag
