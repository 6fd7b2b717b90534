#pragma once

#include <cstdint>

namespace digdag {

/// Raises our soft limit of open files to the hard one, once; returns the soft limit as it was, which programs that we start get.
std::uint64_t raise_open_files_limit();

}  // namespace digdag
