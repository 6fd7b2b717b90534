#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "cli/remote.h"

namespace digdag::cli {

/// How a command goes on after it has started attempts (decisions.md C-30).
struct Waiting {
  std::optional<std::chrono::seconds> limit;
  bool follow = false;  ///< the logs are printed as they come
};

/// --wait[=DURATION] and --follow.
std::vector<Option> waiting_options();
/// Nothing where the command ends as soon as the server has answered. UsageError for what is no duration.
std::optional<Waiting> waiting_of(const Arguments& arguments);

/// Waits until all these attempts have ended. 0: all succeeded, 3: one failed, 4: one was killed, 5: time is up. Standard error tells
/// how each has ended; on a terminal a line shows how far they are.
int wait_for(Remote& remote, const std::vector<std::string>& attempt_ids, const Waiting& waiting);

/// Waits between two questions to a server: from 0.2 s to 2 s, short again after news.
class Pause {
 public:
  void wait();
  void reset() { next_ = shortest; }

 private:
  static constexpr std::chrono::milliseconds shortest{200}, longest{2000};
  std::chrono::milliseconds next_ = shortest;
};

}  // namespace digdag::cli
