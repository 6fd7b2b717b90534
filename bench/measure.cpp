// Runs a command and prints its wall seconds, the CPU seconds of all its processes and its maximal resident set in kB, on
// descriptor 3. A program of its own because a child starts with the resident set of its parent as its maximum: a script's is
// larger than what is measured.
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>

extern char** environ;

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  prctl(PR_SET_CHILD_SUBREAPER, 1);  // what the command leaves behind is counted too
  const auto start = std::chrono::steady_clock::now();
  pid_t child = 0;
  if (posix_spawnp(&child, argv[1], nullptr, nullptr, argv + 1, environ) != 0) return 127;
  int status = 0;
  rusage own{};
  wait4(child, &status, 0, &own);
  const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  while (wait(nullptr) > 0) {
  }
  rusage all{};
  getrusage(RUSAGE_CHILDREN, &all);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; };
  dprintf(3, "%.6f %.6f %ld\n", wall, seconds(all.ru_utime) + seconds(all.ru_stime), own.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
