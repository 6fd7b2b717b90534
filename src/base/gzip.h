#pragma once

#include <string>
#include <string_view>

namespace digdag {

/// The content of a gzip file: of all its members, one after the other, and of the last one as far as it is there, since files
/// that are still written to are read too. Bytes that are no gzip at all are given back. Error(kind "io") where it is broken or has more
/// than `most_bytes`.
std::string gunzip(std::string_view bytes, std::size_t most_bytes = std::size_t{1} << 30);

}  // namespace digdag
