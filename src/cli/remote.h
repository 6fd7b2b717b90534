#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/properties.h"
#include "base/value.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "client/rest_client.h"

namespace digdag::cli {

/// The server that a client command talks to, as its options and the configuration name it (spec/cli.md 7).
class Remote {
 public:
  /// Throws UsageError and Error for wrong options; nothing is sent.
  Remote(const Arguments& arguments, const std::optional<std::string>& config_before);

  /// The first call asks whether the server takes this version, unless --disable-version-check is given (spec/cli.md 7.4).
  client::RestClient& server();
  client::RestClient& unchecked_server() { return client_; }
  const SystemConfig& system() const { return system_; }
  /// Its lines go to standard error unless --log-to says otherwise (decisions.md C-05).
  Log& log() { return log_; }
  /// Whether the server may name another host that has an archive or a log file.
  bool direct_download() const { return direct_download_; }

 private:
  void check_version();

  SystemConfig system_;
  Log log_;
  client::RestClient client_;
  const bool direct_download_;
  const std::string version_check_mode_;
  bool version_is_fine_;
};

/// Positional words that do not fit each other: the usage and this message, with the exit code of `wrong_words`.
struct WrongWords {
  std::string message;
};

/// How many positional words a command takes.
struct WordCount {
  std::size_t least = 0;
  std::size_t most = 0;
};

/// What every client command does: it shows its usage where that is asked for or the words are wrong, else calls `run`, whose
/// exit code it gives. `own_options` come before those of section 7.1.
int client_command(const Invocation& invocation, std::string_view name, std::vector<Option> own_options, WordCount words,
                   const std::function<int(const Arguments&, Remote&)>& run);

/// The same for a command that needs no server: `run` is called with the arguments alone.
int local_command(const Invocation& invocation, std::string_view name, std::vector<Option> own_options, WordCount words,
                  const std::function<int(const Arguments&)>& run);

/// A positional word as an id, as it goes into a path. UsageError `For input string: "abc"`, with usage.
std::string id_word(const std::string& word);
bool is_id(std::string_view word, std::int64_t most);

/// The text at `project.name` of an answer; empty where there is none.
std::string text_at(const Value& answer, std::string_view dotted_path);
/// The same as it may be shown: it does nothing to a terminal.
std::string shown_at(const Value& answer, std::string_view dotted_path);
/// The list under `name` of an answer; empty where there is none.
Array list_at(const Value& answer, std::string_view name);
/// What is at `lastAttempt.params`; null where there is nothing.
Value value_at(const Value& answer, std::string_view dotted_path);

}  // namespace digdag::cli
