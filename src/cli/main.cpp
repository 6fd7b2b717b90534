#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <streambuf>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/log_output.h"
#include "base/memory_end.h"
#include "base/text.h"
#include "base/time.h"
#include "base/version.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/settings.h"
#include "command/command.h"
#include "dig/script_worker.h"

namespace digdag::cli {
namespace {

/// What stands before the command: only `-c FILE` and help are known there (spec/cli.md 1.3), behind words for the Java machine of
/// the original, of which the properties count (decisions.md C-07).
struct Head {
  std::vector<std::string> properties;  ///< `KEY=VALUE` of `-J-DKEY=VALUE`
  std::optional<std::string> config;
  bool help = false;
  std::string unknown_option;
  std::string command;
  std::vector<std::string> rest;
};

Head take_head(const std::vector<std::string>& words) {
  Head head;
  std::size_t i = 0;
  for (; i < words.size() && words[i].starts_with("-J"); ++i) {
    if (words[i] == "-J") {
      ++i;  // a file of options
    } else if (words[i].starts_with("-J-D")) {
      const std::string property = words[i].substr(4);
      head.properties.push_back(property.find('=') == std::string::npos ? property + "=" : property);
    }
  }
  for (; i < words.size(); ++i) {
    const std::string word = trim_word(words[i]);
    if ((word == "-c" || word == "--config") && i + 1 < words.size()) {
      head.config = trim_word(words[++i]);
    } else if (word == "--help" || word == "-help") {
      head.help = true;
    } else if (word.starts_with('-')) {
      head.unknown_option = word;
      return head;
    } else {
      head.command = word;
      head.rest.assign(words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      return head;
    }
  }
  return head;
}

std::string unknown_command(const std::string& name) {
  std::vector<std::string> have;
  for (const Command& command : commands()) have.emplace_back(command.names.front());
  std::vector<std::string> meant = similar_words(name, have);
  std::copy_if(have.begin(), have.end(), std::back_inserter(meant), [&](const std::string& command) {
    return std::is_permutation(name.begin(), name.end(), command.begin(), command.end());  // `rnu`: too short for similar_words
  });
  return "available commands are: [" + join(have, ", ") + "]; '" + name + "' is none of them" +
         (meant.empty() ? "" : ", did you mean '" + meant.front() + "'?");
}

void print_banner() { std::cerr << format_log_time(now(), TimeZone::system(), false) << ": Digdag v" << version << "\n"; }

int dispatch(const std::vector<std::string>& words) {
  for (const std::string& word : words) {
    if (word == "--version") {
      std::cout << version << "\n";
      return 0;
    }
  }
  const Head head = take_head(words);
  const Command* command = find_command(head.command);
  const bool quiet = std::find(head.rest.begin(), head.rest.end(), "-q") != head.rest.end() ||
                     std::find(head.rest.begin(), head.rest.end(), "--quiet") != head.rest.end() ||
                     (head.command == "check" && std::find(head.rest.begin(), head.rest.end(), "--json") != head.rest.end());
  if (!quiet && (!command || command->banner)) print_banner();
  if (!head.unknown_option.empty()) return wrong_words(global_usage(), "Unknown option before the command: " + head.unknown_option);
  if (head.help || head.command.empty()) return print_usage(global_usage());
  if (!command) {
    std::cerr << global_usage();
    return report(task_error(unknown_command(head.command)));
  }
  std::vector<std::string> own_words;
  if (command->configured) {
    for (const std::string& property : head.properties) own_words.insert(own_words.end(), {"-X", property});
  }
  own_words.insert(own_words.end(), head.rest.begin(), head.rest.end());
  try {
    return command->main({own_words, head.config});
  } catch (const UsageError& error) {
    if (error.usage) std::cerr << global_usage();
    return report(task_error(error.message));
  }
}

/// What commands print through std::cout, which itself forgets why it could not be written.
class PrintedOutput : public std::streambuf {
 public:
  /// Why something of it did not arrive, else empty; a reader that went away is no trouble.
  std::string finish() {
    out_.flush();
    return out_.take_trouble();
  }

 protected:
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    out_.append({text, static_cast<std::size_t>(size)});
    return size;
  }
  int_type overflow(int_type character) override {
    if (traits_type::eq_int_type(character, traits_type::eof())) return traits_type::not_eof(character);
    const char text = traits_type::to_char_type(character);
    out_.append({&text, 1});
    return character;
  }
  int sync() override {
    out_.flush();
    return out_.reader_is_gone() ? -1 : 0;  // for those who would go on for long
  }

 private:
  LogOutput out_{STDOUT_FILENO};
};

/// Where a caller has closed a standard stream, its number must not become that of a file of ours.
void fill_closed_streams() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) open("/dev/null", O_RDWR);
  }
}

}  // namespace
}  // namespace digdag::cli

int main(int argc, char** argv) {
  using namespace digdag;
  if (argc > 1 && std::strcmp(argv[1], "--guard") == 0) return command::guard_main();
  if (argc > 1 && std::strcmp(argv[1], "--js-worker") == 0) return dig::script_worker_main();
  cli::fill_closed_streams();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error to be told
  tell_when_memory_ends();
  cli::PrintedOutput printed;
  std::cout.rdbuf(&printed);
  int code = 1;
  try {
    code = cli::dispatch({argv + 1, argv + argc});
  } catch (const cli::Errors& errors) {
    code = cli::report(errors);
  } catch (const Error& error) {
    code = cli::report(error);
  } catch (const std::bad_alloc&) {
    end_for_lack_of_memory();
  } catch (const std::exception& error) {
    code = cli::report(task_error(error.what()));
  }
  if (const std::string trouble = printed.finish(); !trouble.empty()) {
    code = std::max(code, cli::report(task_error("cannot write to standard output: " + trouble)));
  }
  std::fflush(nullptr);
  _exit(code);
}
