#include "base/version.h"

#include <iostream>

#include "cli/remote.h"

namespace digdag::cli {

int version_command(const Invocation& invocation) {
  return client_command(invocation, "version", {}, {0, SIZE_MAX}, [](const Arguments&, Remote& remote) {
    std::cout << "Client version: " << version << "\n";
    try {
      const Value answer = remote.unchecked_server().get("/api/version");
      std::cout << "Server version: " << shown_at(answer, "version") << "\n";
    } catch (const Error&) {
      std::cout << "An error happened during getting Server version.\n" << std::flush;
      throw;
    }
    return 0;
  });
}

}  // namespace digdag::cli
