// Project archives as they are pushed: any bytes give an error or a directory that holds what was told, with no way out of it.

#include <zlib.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "store/project_archive.h"
#include "store/tar.h"

namespace {

namespace fs = std::filesystem;

/// With the checksums that its headers should have, so that headers can change.
std::string corrected(std::string tar) {
  digdag::store::TarHeader header;
  for (std::size_t at = 0; at + sizeof header <= tar.size(); at += sizeof header) {
    std::memcpy(&header, tar.data() + at, sizeof header);
    if (std::memcmp(header.magic, "ustar", 5) != 0) continue;
    std::snprintf(header.checksum, sizeof header.checksum, "%06o", digdag::store::tar_checksum(header));
    std::memcpy(tar.data() + at, &header, sizeof header);
  }
  return tar;
}

std::string gzip(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 1, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string packed(deflateBound(&stream, bytes.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

}  // namespace

/// The first byte says whether the rest is a tar file, packed here, or gzip as it comes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fs::path root = [] {
    std::string name = "/dev/shm/digdag-fuzz-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
  if (size == 0) return 0;
  const std::string rest(reinterpret_cast<const char*>(data + 1), size - 1);
  const std::string bytes = data[0] % 2 == 0 ? gzip(corrected(rest)) : rest;
  fs::remove_all(root);
  fs::create_directories(root / "project");
  try {
    const auto entries = digdag::store::extract_archive(bytes, {.bytes = 1 << 16, .entries = 100, .ratio = 1000}, root / "project");
    std::set<std::string> told, found;
    for (const auto& entry : entries) told.insert(entry.path);
    for (const auto& file : fs::recursive_directory_iterator(root)) {
      if (!digdag::is_inside(file.path(), root / "project")) {
        std::error_code loops;
        if (fs::exists(file.path(), loops) || !loops) std::abort();
      }
      if (file.is_symlink() || !file.is_directory()) found.insert(file.path().lexically_relative(root / "project").string());
    }
    if (told != found) std::abort();
  } catch (const digdag::Error&) {
  }
  return 0;
}
