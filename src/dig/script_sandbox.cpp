#include "dig/script_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "base/error.h"

namespace digdag::dig {
namespace {

#ifndef DIGDAG_SANITIZED
/// Bytes that a process has mapped, whose statm is open as `file`; 0 where they cannot be told.
std::int64_t mapped_bytes(int file) {
  char text[64] = "";
  return pread(file, text, sizeof text - 1, 0) > 0 ? std::strtoll(text, nullptr, 10) * sysconf(_SC_PAGESIZE) : 0;
}
#endif

/// At most `value`; a limit that stands below it already stays.
bool limit(__rlimit_resource resource, rlim_t value) {
  rlimit both{};
  if (getrlimit(resource, &both) != 0) return false;
  both.rlim_max = std::min(both.rlim_max, value);
  both.rlim_cur = std::min(both.rlim_cur, value);
  return setrlimit(resource, &both) == 0;
}

/// Opens a file to read it, with a descriptor above `least`.
Fd open_above(const char* path, int least) {
  const Fd file(open(path, O_RDONLY | O_CLOEXEC));
  return Fd(fcntl(file.get(), F_DUPFD_CLOEXEC, least + 1));
}

/// A condition on an argument of a system call; with a mask, `wanted` is what its bits must be.
scmp_arg_cmp equals(unsigned argument, scmp_datum_t value) { return {argument, SCMP_CMP_EQ, value, 0}; }
scmp_arg_cmp masked(unsigned argument, scmp_datum_t mask, scmp_datum_t wanted) { return {argument, SCMP_CMP_MASKED_EQ, mask, wanted}; }

/// Under which conditions an allowed call is allowed.
std::vector<scmp_arg_cmp> conditions_of(int call, int channel) {
  switch (call) {
    case SYS_read:
    case SYS_write: return {equals(0, static_cast<scmp_datum_t>(channel))};
    case SYS_futex: return {masked(1, static_cast<std::uint32_t>(FUTEX_CMD_MASK), FUTEX_WAKE)};
    case SYS_mmap: return {masked(2, PROT_EXEC, 0), masked(3, MAP_ANONYMOUS, MAP_ANONYMOUS)};
    default: return {};
  }
}

}  // namespace

const std::vector<int>& ScriptSandbox::allowed_system_calls() {
  static const std::vector<int> calls = {
      SYS_brk,           SYS_mmap,         SYS_munmap,       SYS_mremap, SYS_madvise,  // memory
      SYS_clock_gettime, SYS_gettimeofday,  // the clock, where the kernel offers no shortcut to it
      SYS_read,          SYS_write,         // texts and answers
      SYS_futex,                            // waking nobody: what the first C++ exception of a process does
      SYS_exit,          SYS_exit_group,   SYS_rt_sigreturn,
  };
  return calls;
}

ScriptSandbox::ScriptSandbox(int channel) : channel_(channel), memory_file_(open_above("/proc/self/statm", channel)) {
  const std::unique_ptr<void, void (*)(void*)> context(seccomp_init(SCMP_ACT_ERRNO(EPERM)), seccomp_release);
  bool ok = context != nullptr;
  for (const int call : allowed_system_calls()) {
    if (!ok) break;
    const std::vector<scmp_arg_cmp> conditions = conditions_of(call, channel);
    ok = seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, call, static_cast<unsigned>(conditions.size()), conditions.data()) == 0;
  }
  // The library can only write the finished program to a file.
  const int file = ok ? memfd_create("filter", MFD_CLOEXEC) : -1;
  ok = file >= 0 && seccomp_export_bpf(context.get(), file) == 0;
  const off_t size = ok ? lseek(file, 0, SEEK_END) : 0;
  if (size > 0) {
    filter_.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
    ok = pread(file, filter_.data(), static_cast<std::size_t>(size), 0) == size;
  }
  if (file >= 0) close(file);
  if (!ok || filter_.empty() || !memory_file_) throw Error("runtime", "the sandbox of the JavaScript worker cannot be prepared");
}

bool ScriptSandbox::enter(const Limits& limits) const {
#ifndef DIGDAG_SANITIZED
  const std::int64_t mapped = mapped_bytes(memory_file_.get());
  if (mapped == 0) return false;
#endif
  for (int fd = STDERR_FILENO + 1; fd < channel_; ++fd) close(fd);
  if (syscall(SYS_close_range, channel_ + 1, ~0u, 0) != 0) return false;
  if (!limit(RLIMIT_CORE, 0) || !limit(RLIMIT_CPU, static_cast<rlim_t>(limits.cpu_seconds))) return false;
#ifndef DIGDAG_SANITIZED
  if (!limit(RLIMIT_FSIZE, 0) || !limit(RLIMIT_AS, static_cast<rlim_t>(mapped + limits.memory_bytes))) return false;
  const sock_fprog program{static_cast<unsigned short>(filter_.size()), const_cast<sock_filter*>(filter_.data())};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
#else
  return true;
#endif
}

}  // namespace digdag::dig
