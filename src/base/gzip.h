#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace digdag {

/// Unpacks what `deflate` has packed, as much at a time as is asked for.
class Inflate {
 public:
  enum class Frame : std::uint8_t { gzip, zlib, none };
  explicit Inflate(Frame frame);
  ~Inflate();
  Inflate(const Inflate&) = delete;
  Inflate& operator=(const Inflate&) = delete;

  /// What is read next. It must stay until it is read, and what was given before must have been.
  void give(std::string_view bytes);
  /// How much came: less than `size` only where what was given is used up or a member ends. Error(kind "io") where it is damaged.
  std::size_t read(char* to, std::size_t size);
  /// Whether the whole member was read. A file may have several, one after the other.
  bool at_end() const { return at_end_; }
  /// What was given and not used yet: what stands behind the member at its end.
  std::string_view rest() const;
  /// Reads on behind the end of a member.
  void begin_member();

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
  std::string_view later_;  ///< of what was given: not given to zlib yet, which counts in 32 bits
  bool at_end_ = false;
};

/// Whether these are the first bytes of a gzip file, or of a member of one.
bool begins_gzip(std::string_view bytes);

/// The content of a gzip file: of all its members, one after the other, and of the last one as far as it is there, since files
/// that are still written to are read too. Bytes that are no gzip at all are given back. Error(kind "io") where it is broken or has more
/// than `most_bytes`.
std::string gunzip(std::string_view bytes, std::size_t most_bytes = std::size_t{1} << 30);

/// The same for a file that comes in pieces.
class Gunzip {
 public:
  /// `content` is given what the piece yields, until it says false: then false, and no more pieces may come. Error(kind "io").
  bool add(std::string_view bytes, const std::function<bool(std::string_view)>& content);

 private:
  Inflate inflate_{Inflate::Frame::gzip};
};

}  // namespace digdag
