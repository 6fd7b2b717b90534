#include <filesystem>

#include "base/error.h"
#include "base/version.h"
#include "cli/remote.h"

namespace digdag::cli {
namespace {

/// Nothing is downloaded or run (decisions.md C-38).
int say_how(const Arguments& arguments) {
  if (const auto endpoint = arguments.text("-e"); endpoint && !endpoint->starts_with("http"))
    throw UsageError{"-e option must be an HTTP URL (http://HOST:PORT or https://HOST:PORT)"};
  std::error_code unknown;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", unknown).string();
  throw task_error("selfupdate does not exist any more: this is digdag " + std::string(version) + ", installed as " + program)
      .hint("update it the way it was installed: with the package manager of the system, or by replacing that file with a newer one");
}

}  // namespace

int selfupdate_command(const Invocation& invocation) {
  return local_command(invocation, "selfupdate", {{{"-e", "--endpoint"}, Option::Kind::text, "URL", "accepted, not used"}}, {0, 1},
                       say_how);
}

}  // namespace digdag::cli
