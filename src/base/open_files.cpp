#include "base/open_files.h"

#include <sys/resource.h>

namespace digdag {

std::uint64_t raise_open_files_limit() {
  static const std::uint64_t before = [] {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const auto soft = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return std::uint64_t{soft};
  }();
  return before;
}

}  // namespace digdag
