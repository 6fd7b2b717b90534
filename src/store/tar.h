#pragma once

#include <cstdint>

namespace digdag::store {

/// The header block of a tar entry (POSIX ustar).
struct TarHeader {
  char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link_name[100];
  char magic[6], version[2], user[32], group[32], device_major[8], device_minor[8], prefix[155], padding[12];
};
inline constexpr std::size_t tar_block = 512;
static_assert(sizeof(TarHeader) == tar_block);

/// The sum of the header's bytes, its own field counted as blanks.
inline std::uint32_t tar_checksum(const TarHeader& header) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&header);
  const auto* const own = reinterpret_cast<const unsigned char*>(header.checksum);
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < tar_block; ++i) {
    const bool in_checksum = bytes + i >= own && bytes + i < own + sizeof header.checksum;
    sum += in_checksum ? ' ' : bytes[i];
  }
  return sum;
}

}  // namespace digdag::store
