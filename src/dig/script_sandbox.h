#pragma once

#include <cstdint>
#include <vector>

#include <linux/filter.h>

#include "base/fd.h"

namespace digdag::dig {

/// What an evaluating process may still do: compute, take memory up to a limit, read from and write to one file descriptor, and
/// end.
///
/// Made once by the worker; entered by each process that evaluates. A sanitized build limits and filters nothing (the
/// sanitizers need more), there the engine's own memory limit and the deadline hold.
class ScriptSandbox {
 public:
  struct Limits {
    std::int64_t memory_bytes;  ///< beyond what the process has mapped when it enters
    std::int64_t cpu_seconds;
  };

  /// Prepares the filter for forks of this process that speak with it through `channel`. Throws Error(runtime).
  explicit ScriptSandbox(int channel);
  ScriptSandbox(const ScriptSandbox&) = delete;
  ScriptSandbox& operator=(const ScriptSandbox&) = delete;

  /// Confines this process, for good, and closes all its descriptors but `channel` and the standard ones. False with errno where
  /// the system refuses it; then nothing must be evaluated.
  bool enter(const Limits& limits) const;

  /// The system calls that stay possible; all others answer EPERM. mmap is anonymous and never executable, read and write take
  /// `channel` only.
  static const std::vector<int>& allowed_system_calls();

 private:
  int channel_;
  Fd memory_file_;  ///< statm of the process that made this, which its forks resemble; opened once, for it takes as long as the rest
  std::vector<sock_filter> filter_;
};

}  // namespace digdag::dig
