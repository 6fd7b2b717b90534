#include <iostream>

#include "base/error.h"
#include "cli/remote.h"
#include "cli/waiting.h"

namespace digdag::cli {
namespace {

int kill_attempt(const Arguments& arguments, Remote& remote) {
  const std::string id = id_word(arguments.positional()[0]);
  const auto waiting = waiting_of(arguments);
  remote.server().post("/api/attempts/" + id + "/kill", Value::object());
  std::cout << "Kill requested for session attempt " << id << "\n";
  return waiting ? wait_for(remote, {id}, *waiting) : 0;
}

}  // namespace

int kill_command(const Invocation& invocation) { return client_command(invocation, "kill", waiting_options(), {1, 1}, kill_attempt); }

}  // namespace digdag::cli
